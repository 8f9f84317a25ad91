"""Verbs that work with a finished run: `evaluate`, `predict`, `explain`, `report`, `compare`, `verify`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fieldguide.cli.options import Json, Precision, Reject, RunPath
from fieldguide.cli.printing import prediction_line, print_json, printable, say, say_skipped, score_line

_MOST_FLIPS = 10  # listed as text


def evaluate(
    run: RunPath,
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Other labelled pictures, sorted by class.")] = None,
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Show the test scores of RUN, or score it on other labelled pictures."""
    from fieldguide import workflow
    from fieldguide.evaluation import metrics

    evaluation = workflow.evaluate(run, data=data, precision=precision)
    say_skipped(evaluation.skipped)
    summary, details = metrics.summarize(evaluation), metrics.details(evaluation)
    if as_json:
        skipped = [file.to_json() for file in evaluation.skipped]
        print_json({"part": evaluation.part, **summary, **details, "skipped": skipped})
        return
    print(f"{evaluation.part}: {score_line(summary)}")
    width = max(len(printable(name)) for name in evaluation.class_names)
    print(f"{'':{width}}  precision  recall      F1  pictures")
    for row in details["per_class"]:
        cells = "".join(f"{'-' if row[k] is None else format(row[k], '.3f'):>9}" for k in ("precision", "recall", "f1"))
        print(f"{printable(row['class_name']):{width}} {cells}  {row['support']:8,}")


def predict(
    run: RunPath,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders, globs; - reads a list.")],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="CSV, safe to open in a spreadsheet.")] = False,
    top: Annotated[int | None, typer.Option(min=1, help="How many classes to show.")] = None,
    sort_into: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy each picture into DIR/CLASS; originals stay.")
    ] = None,
    reject: Reject = None,
    set_coverage: Annotated[
        float | None,
        typer.Option(metavar="SHARE", help="Also name all classes a picture may well be, right for this share (0.95)."),
    ] = None,
    precision: Precision = "auto",
) -> None:
    """Classify pictures with RUN. Exit status 1 if one could not be read, after all others are done."""
    from fieldguide.classifier import copy_into_class_folder, find_pictures, load

    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    classifier = load(run, precision=precision, reject=reject, set_coverage=set_coverage)
    given = list(find_pictures(_paths(paths)))
    num_failed = 0
    if as_csv:
        from fieldguide.storage import csv_text

        fixed = ["path", "class_name", "nearest_class", "probability", "novelty", "none_of_these", "error"]
        sets = ["prediction_set"] if set_coverage is not None else []
        columns = [*fixed, *sets, *(f"probability: {name}" for name in classifier.class_names)]
        print(csv_text([], columns), end="")
    for prediction in classifier.predict_many(given):
        num_failed += prediction.error is not None
        ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
        shown = dict(ranked[:top]) if top else dict(prediction.probabilities)
        if as_json:
            values = {**prediction.to_json(), "probabilities": shown}
            if set_coverage is None:
                del values["prediction_set"]
            print_json(values)
        elif as_csv:
            row = {**vars(prediction), **{f"probability: {name}": value for name, value in shown.items()}}
            row["prediction_set"] = " | ".join(prediction.prediction_set or ())
            print(csv_text([row], columns).split("\n", 1)[1], end="")
        else:
            print(prediction_line(prediction, ranked[: top or 1]))
        if sort_into is not None and prediction.error is None:
            copy_into_class_folder(prediction, sort_into)
    if not given:
        say("no pictures found")
    if num_failed:
        say(f"{num_failed} of {len(given)} could not be read")
        raise typer.Exit(1)


def explain(
    run: RunPath,
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="A picture file.")],
    class_name: Annotated[
        str | None, typer.Option("--class", metavar="NAME", help="Ask about this class instead of the most probable one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Where to write the figure; NAME-explained.png here by default.")
    ] = None,
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Show why RUN answers as it does: where it looked in PICTURE, and which training pictures that resembles."""
    from fieldguide import workflow
    from fieldguide.reporting import wording
    from fieldguide.workflow.explaining import figure_name

    path = out or figure_name(picture)
    explained = workflow.explain(run, picture, class_name=class_name, out=path, precision=precision)
    if as_json:
        print_json({**explained.to_json(), "figure": str(path)})
        return
    prediction = explained.prediction
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    print(prediction_line(prediction, ranked[:3]))
    if explained.place is not None:
        print(f"looked: {wording.place(explained)}".replace("\xa0", " "))
    for near in explained.nearest:
        print(f"like:   {near.path} ({near.class_name}, distance {near.distance:.2f})")
    if explained.nearest:
        say(wording.usual_distance(explained))
    for note in explained.notes:
        say(f"note:   {note}")
    print(f"figure: {path}")


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
) -> None:
    """Write the report of RUN again, from its records."""
    from fieldguide import workflow

    print(workflow.report(run))


def compare(
    run_a: Annotated[str, typer.Argument(metavar="RUN_A", help="Run folder.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="Run folder; differences are B minus A.")],
    data: Annotated[str | None, typer.Option(metavar="DIR", help="Score both on these labelled pictures instead.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page that shows what flipped.")] = None,
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Say whether RUN_B is better than RUN_A, pair by pair on the same pictures, and which pictures flipped."""
    from fieldguide import workflow
    from fieldguide.reporting import wording

    found = workflow.compare(run_a, run_b, data=data, html=html, precision=precision)
    say_skipped(found.skipped)
    if as_json:
        print_json(found.to_json())
        return
    print(f"A: {found.a_accuracy:.2%}  {run_a}")
    print(f"B: {found.b_accuracy:.2%}  {run_b}")
    print(wording.comparison(found).replace("\xa0", " "))
    width = max(len(printable(row["class_name"])) for row in found.per_class)
    print(f"{'':{width}}  pictures   B - A  gained  lost")
    for row in found.per_class:
        counts = f"{wording.points(row['difference']):>6}  {row['num_gained']:6,}  {row['num_lost']:4,}"
        print(f"{printable(row['class_name']):{width}}  {row['num_images']:8,}  {counts}")
    for flip in found.flips[:_MOST_FLIPS]:
        answers = f"A: {flip.a} {flip.a_probability:.0%}, B: {flip.b} {flip.b_probability:.0%}"
        print(printable(f"{flip.kind:7} {flip.path}: {flip.label}; {answers}"))
    if len(found.flips) > _MOST_FLIPS:
        print(f"... and {len(found.flips) - _MOST_FLIPS:,} more (--json lists them all)")
    print(f"page:   {html}" if html else "next:   --html FILE shows the pictures that flipped")


def verify(
    run: RunPath,
) -> None:
    """Check every file of the bundle by its hash and let the network answer its own probe."""
    from fieldguide import workflow

    print(f"the bundle is whole; largest difference of a probability {workflow.verify(run):.1e}")


def _paths(given: Sequence[str]) -> Iterator[str]:
    for path in given:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield path
