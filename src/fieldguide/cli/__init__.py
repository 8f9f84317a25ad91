"""The command line: parses, calls the public function of the same name, prints. Answers go to stdout, progress to stderr."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldguide.errors import FieldguideError

app = typer.Typer(
    name="fieldguide",
    help="A folder of labelled pictures becomes a classifier that can be trusted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
GroupBy = Annotated[
    str | None,
    typer.Option(help="Regular expression on the path; what it matches names the group, kept on one side of a split."),
]
ExcludeClass = Annotated[list[str] | None, typer.Option(help="Class folder to leave out; may be given several times.")]
MergeSubfolders = Annotated[
    bool, typer.Option("--merge-subfolders", help="Subfolders belong to the class above, even where names repeat.")
]
SixteenBitMax = Annotated[
    int | None, typer.Option(min=1, max=65535, help="The value of white in 16-bit pictures (4095 for 12 bits).")
]


class RecipeName(StrEnum):
    """The recipes."""

    transfer = "transfer"
    classic = "classic"


class Precision(StrEnum):
    """What the engine computes in."""

    auto = "auto"
    f32 = "f32"
    bf16 = "bf16"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print_json(values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False))


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


@app.command()
def train(
    source: Annotated[str, typer.Argument(metavar="DIR", help="Folder of class folders, or a CSV file.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; runs/NAME by default. Never overwritten.")] = None,
    recipe: Annotated[RecipeName, typer.Option(help="transfer: pretrained network; classic: CNN from scratch.")] = (
        RecipeName.transfer
    ),
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same machine, same bytes.")] = 0,
    group_by: GroupBy = None,
    exclude_class: ExcludeClass = None,
    merge_subfolders: MergeSubfolders = False,
    sixteen_bit_max: SixteenBitMax = None,
    precision: Annotated[Precision, typer.Option(help="Of the engine.")] = Precision.auto,
    as_json: Json = False,
) -> None:
    """Train a classifier on DIR: audit, split, train, evaluate, report."""
    from fieldguide import workflow

    run = workflow.train(
        source,
        out=out,
        recipe=recipe.value,
        seed=seed,
        group_by=group_by,
        exclude_classes=exclude_class or (),
        merge_subfolders=merge_subfolders,
        sixteen_bit_max=sixteen_bit_max,
        precision=precision.value,
        say=_say,
    )
    if as_json:
        values = run.to_json()
        names = ("recipe", "class_names", "seconds", "data_fingerprint", "notes", "interrupted")
        _print_json({"run": run.directory, **{name: values[name] for name in names}, **values["scores"]})
    else:
        for part in ("train", "val", "test"):
            print(f"{part:>5}: {_score_line(run.scores[part])}")
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in run.seconds.items() if name != "total")
        print(f"{run.seconds['total']:.1f} s ({stages})")
        print(f"report: {Path(run.directory, 'report.html')}")
        print(f"next:   fieldguide predict {run.directory} PICTURE")
    if run.interrupted:
        raise typer.Exit(130)


@app.command()
def audit(
    source: Annotated[str, typer.Argument(metavar="DIR", help="Folder of class folders, or a CSV file.")],
    group_by: GroupBy = None,
    exclude_class: ExcludeClass = None,
    merge_subfolders: MergeSubfolders = False,
    sixteen_bit_max: SixteenBitMax = None,
    as_json: Json = False,
) -> None:
    """Read every picture of DIR and say what is wrong; nothing is changed."""
    from fieldguide import workflow

    result = workflow.audit(
        source,
        group_by=group_by,
        exclude_classes=exclude_class or (),
        merge_subfolders=merge_subfolders,
        sixteen_bit_max=sixteen_bit_max,
        say=_say,
    )
    if as_json:
        _print_json(result.to_json())
        return
    for name, count in result.images_per_class.items():
        print(f"{count:8,}  {name}")
    for finding in result.findings:
        print(f"{finding.severity}: {finding.message}")
        for path in finding.paths[:5]:
            print(f"    {path}")
        if len(finding.paths) > 5:
            print(f"    ... and {len(finding.paths) - 5:,} more (--json lists them all)")
    print(f"next:   fieldguide train {source}")


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, bundle folder, or zip of one.")],
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Other labelled pictures, sorted by class.")] = None,
    precision: Annotated[Precision, typer.Option(help="Of the engine, with --data.")] = Precision.auto,
    as_json: Json = False,
) -> None:
    """Show the test scores of RUN, or score it on other labelled pictures."""
    from fieldguide import workflow
    from fieldguide.evaluation import metrics

    evaluation = workflow.evaluate(run, data=data, precision=precision.value)
    summary, details = metrics.summarize(evaluation), metrics.details(evaluation)
    if as_json:
        _print_json({"part": evaluation.part, **summary, **details})
        return
    print(f"{evaluation.part}: {_score_line(summary)}")
    width = max(len(name) for name in evaluation.class_names)
    print(f"{'':{width}}  precision  recall      F1  pictures")
    for row in details["per_class"]:
        cells = "".join(f"{'-' if row[k] is None else format(row[k], '.3f'):>9}" for k in ("precision", "recall", "f1"))
        print(f"{row['class_name']:{width}} {cells}  {row['support']:8,}")


@app.command()
def predict(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, bundle folder, or zip of one.")],
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs; - reads a list.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, safe to open in a spreadsheet.")] = False,
    top: Annotated[int | None, typer.Option(min=1, help="How many classes to show.")] = None,
    sort_into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy each picture into DIR/CLASS; originals stay.")
    ] = None,
    precision: Annotated[Precision, typer.Option(help="Of the engine.")] = Precision.auto,
) -> None:
    """Classify pictures with RUN. Exit status 1 if one could not be read, after all others are done."""
    from fieldguide.classifier import copy_into_class_folder, find_pictures, load

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    classifier = load(run, precision=precision.value)
    given = list(find_pictures(_paths(paths)))
    num_failed = 0
    if as_csv:
        from fieldguide.storage import csv_text

        fixed = ["path", "class_name", "nearest_class", "probability", "novelty", "none_of_these", "error"]
        columns = [*fixed, *(f"probability: {name}" for name in classifier.class_names)]
        print(csv_text([], columns), end="")
    for prediction in classifier.predict_many(given):
        num_failed += prediction.error is not None
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
        shown = dict(ranked[:top]) if top else dict(prediction.probabilities)
        if as_json:
            _print_json({**prediction.to_json(), "probabilities": shown})
        elif as_csv:
            row = {**vars(prediction), **{f"probability: {name}": value for name, value in shown.items()}}
            print(csv_text([row], columns).split("\n", 1)[1], end="")
        elif prediction.error is not None:
            print(f"{prediction.path}: error: {prediction.error}")
        else:
            print(f"{prediction.path}: " + ", ".join(f"{n} {p:.1%}" for n, p in ranked[: top or 1]))
        if sort_into is not None and prediction.error is None:
            copy_into_class_folder(prediction, sort_into)
    if not given:
        _say("no pictures found")
    if num_failed:
        _say(f"{num_failed} of {len(given)} could not be read")
        raise typer.Exit(1)


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
) -> None:
    """Write the report of RUN again, from its records."""
    from fieldguide import workflow

    print(workflow.report(run))


@app.command()
def verify(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, bundle folder, or zip of one.")],
) -> None:
    """Check every file of the bundle by its hash and let the network answer its own probe."""
    from fieldguide.classifier import load

    print(f"the bundle is whole; largest difference of a probability {load(run).verify():.1e}")


@app.command()
def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the pictures and runs go.")] = Path("demo"),
) -> None:
    """Train on the embedded handwritten digits, both ways, and say where the reports are."""
    from fieldguide import demonstration

    demonstration.demo(directory, say=print)


def _score_line(score: dict[str, Any] | None) -> str:
    if score is None:
        return "no pictures"
    low, high = score["interval"]
    text = f"{score['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, {score['num_images']:,} pictures"
    without = score.get("without_leaks")
    text += f", {score['method']})"
    if without:
        text += f"; {without['accuracy']:.2%} without {score['num_leaked']} copies of training pictures"
    if (score.get("times_scored") or 0) > 1:
        text += f"; scored {score['times_scored']} times on this machine"
    return text


def _paths(given: Sequence[str]) -> Iterator[str]:
    for path in given:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield path


def _print_error(error: FieldguideError) -> None:
    _say(f"error: {error}")


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
        _print_error(error)
        sys.exit(1)
    except _Terminated:
        _say("terminated")
        sys.exit(143)
    except KeyboardInterrupt:
        _say("interrupted")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


if __name__ == "__main__":
    main()
