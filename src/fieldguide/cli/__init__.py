"""The command line: parses, calls the public function of the same name, prints. Answers go to stdout, progress to stderr.

A family of verbs is a module; `VERBS` lists them in the order of `--help`.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from fieldguide.cli.asking import compare, evaluate, explain, predict, report, verify
from fieldguide.cli.learning import audit, demo, lr_find, reproduce, train
from fieldguide.cli.printing import say
from fieldguide.cli.serving import serve
from fieldguide.cli.shipping import bench_export, card, export
from fieldguide.errors import FieldguideError

VERBS = (
    demo,
    audit,
    lr_find,
    train,
    evaluate,
    predict,
    explain,
    report,
    compare,
    reproduce,
    serve,
    export,
    bench_export,
    card,
    verify,
)

app = typer.Typer(
    name="fieldguide",
    help="A folder of labelled pictures becomes a classifier that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _verb in VERBS:
    app.command()(_verb)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from fieldguide import __version__

        print(f"fieldguide {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass  # both are read elsewhere: --debug by main(), which has to work where parsing fails as well


def main(arguments: Iterable[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 data or bundle at fault, 2 usage, 130 / 143 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    terminations: list[int] = []

    def on_sigterm(number: int, frame: Any) -> None:
        terminations.append(number)
        raise KeyboardInterrupt  # from here on SIGTERM is handled as Ctrl-C is, but for the exit status

    signal.signal(signal.SIGTERM, on_sigterm)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that cannot be printed is no reason to stop
    try:
        app(given)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # the reader of our output, such as `head`, has seen enough
            sys.exit(0)
        if end.code == 130:
            say("terminated" if terminations else "interrupted")
            sys.exit(143 if terminations else 130)
        raise
    except Exception as error:
        if "--debug" in given:
            raise
        say(f"error: {error}" if isinstance(error, FieldguideError) else _unexpected(error))
        sys.exit(1)


def _unexpected(error: Exception) -> str:
    if isinstance(error, OSError):  # the system's own message names the file
        return f"error: {error}\nhint: check the path, its permissions and the free space."
    return (
        f"error: {type(error).__name__}: {error}\n"
        "hint: this is a fault of fieldguide, not yours; the same command with --debug after `fieldguide` shows where it is."
    )
