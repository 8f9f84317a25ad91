"""The command line: parses, calls the public function of the same name, prints. Answers go to stdout, progress to stderr.

A family of verbs is a module; `VERBS` lists them in the order of `--help`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from fieldguide.cli.asking import evaluate, predict, report, verify
from fieldguide.cli.learning import audit, demo, train
from fieldguide.cli.printing import say
from fieldguide.errors import FieldguideError

VERBS = (demo, audit, train, evaluate, predict, report, verify)

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


class _Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is."""


def _on_sigterm(number: int, frame: Any) -> None:
    raise _Terminated


def main(arguments: Iterable[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 data or bundle at fault, 2 usage, 130 / 143 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        app(given, standalone_mode=True)
    except FieldguideError as error:
        if "--debug" in given:
            raise
        say(f"error: {error}")
        sys.exit(1)
    except _Terminated:
        say("terminated")
        sys.exit(143)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
