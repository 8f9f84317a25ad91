"""Verbs that look at a folder and learn from it: `demo`, `audit`, `train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldguide.cli.options import (
    ExcludeClass,
    GroupBy,
    Json,
    MergeSubfolders,
    Out,
    Precision,
    Recipe,
    Reject,
    Review,
    Seed,
    Settings,
    SixteenBitMax,
    Source,
    TensorBoard,
    Time,
)
from fieldguide.cli.printing import certainty_lines, print_json, printable, say, score_line, what_if_lines
from fieldguide.errors import RecipeError
from fieldguide.recipes.registry import DEFAULT_RECIPE

if TYPE_CHECKING:
    from fieldguide.recipes.settings import Plan


def train(
    source: Source,
    out: Out = None,
    recipe: Recipe = DEFAULT_RECIPE,
    settings: Settings = None,
    time: Time = None,
    seed: Seed = None,
    review: Review = None,
    also: Annotated[
        Path | None, typer.Option(metavar="DIR2", help="Also learn from these class folders; they are never scored on.")
    ] = None,
    group_by: GroupBy = None,
    exclude_class: ExcludeClass = None,
    merge_subfolders: MergeSubfolders = False,
    sixteen_bit_max: SixteenBitMax = None,
    reject: Reject = None,
    precision: Precision = "auto",
    tensorboard: TensorBoard = False,
    as_json: Json = False,
) -> None:
    """Train a classifier on DIR: audit, split, train, evaluate, report."""
    from fieldguide import workflow
    from fieldguide.workflow.provenance import shell_command

    plan = _plan(recipe, settings or (), seed)
    run = workflow.train(
        source,
        out=out,
        recipe=plan.recipe,
        seed=plan.seed,
        review=review,
        also=also,
        group_by=group_by,
        exclude_classes=exclude_class or (),
        merge_subfolders=merge_subfolders,
        sixteen_bit_max=sixteen_bit_max,
        precision=precision,
        reject=reject,
        time_seconds=time,
        tensorboard=tensorboard,
        say=say,
    )
    if as_json:
        values = run.to_json()
        names = ("recipe", "chosen", "class_names", "seconds", "data_fingerprint", "notes", "interrupted", "certainty")
        print_json({"run": run.directory, **{name: values[name] for name in names}, **values["scores"]})
    else:
        for part in ("train", "val", "test"):
            print(f"{part:>5}: {score_line(run.scores[part])}")
        for line in certainty_lines(run.certainty, run.scores["test"]):
            print(line)
        stages = ", ".join(f"{name} {seconds:.1f}" for name, seconds in run.seconds.items() if name != "total")
        print(f"{run.seconds['total']:.1f} s ({stages})")
        print(f"report: {Path(run.directory, 'report.html')}")
        print(f"next:   {shell_command('fieldguide', 'predict', run.directory, 'PICTURE')}")
    if run.interrupted:
        say("training was ended early; the same command goes on with it")
        raise typer.Exit(143 if run.interrupted == "SIGTERM" else 130)


def _plan(recipe: str, assignments: Sequence[str], seed: int | None) -> Plan:
    """The recipe with the settings of the command line; what is wrong with them is a matter of usage."""
    from fieldguide.recipes.settings import parse_assignments, plan_of, with_settings

    try:
        plan = plan_of(recipe, seed)
        return plan._replace(recipe=with_settings(plan.recipe, parse_assignments(assignments)))
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from error


def audit(
    source: Source,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for audit.html, audit.json, review.csv; runs/NAME-audit by default, none with --json."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Without embeddings: files, copies, odd pictures; nothing about labels.")
    ] = False,
    review: Review = None,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Measure accuracy with and without the actions of --review, or those proposed.")
    ] = False,
    seed: Seed = None,
    group_by: GroupBy = None,
    exclude_class: ExcludeClass = None,
    merge_subfolders: MergeSubfolders = False,
    sixteen_bit_max: SixteenBitMax = None,
    precision: Precision = "auto",
    as_json: Json = False,
) -> None:
    """Read every picture of DIR and say what to look at; nothing in DIR is changed."""
    from fieldguide import workflow
    from fieldguide.auditing.summary import summarised
    from fieldguide.workflow.inspection import audit_folder
    from fieldguide.workflow.provenance import train_command

    directory = None if as_json and out is None else audit_folder(source, out)
    result = workflow.audit(
        source,
        out=directory,
        quick=quick,
        review=review,
        what_if=what_if,
        seed=seed or 0,
        group_by=group_by,
        exclude_classes=exclude_class or (),
        merge_subfolders=merge_subfolders,
        sixteen_bit_max=sixteen_bit_max,
        precision=precision,
        say=say,
    )
    if as_json:
        print_json(result.to_json())
        return
    assert directory is not None  # noqa: S101 - only JSON goes without; tells the type checker
    for name, count in result.images_per_class.items():
        print(f"{count:8,}  {printable(name)}")
    for finding in summarised(result.findings):
        print(printable(f"{finding.severity}: {finding.message}"))
        for path in finding.paths[:5]:
            print(f"    {printable(path)}")
        if len(finding.paths) > 5:
            print(f"    ... and {len(finding.paths) - 5:,} more (--json lists them all)")
    for line in what_if_lines(result.what_if):
        print(line)
    print(f"pictures: {directory / 'audit.html'}")
    print(f"decide:   {directory / 'review.csv'} (keep, exclude, relabel)")
    command = train_command(
        source,
        review=directory / "review.csv",
        seed=seed,
        group_by=group_by,
        exclude_class=tuple(exclude_class or ()),
        merge_subfolders=merge_subfolders,
        sixteen_bit_max=sixteen_bit_max,
        precision=None if precision == "auto" else precision,
    )
    print(f"next:     {command}")


def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="The pictures, if they are no longer where they were.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="New run folder; RUN-again by default.")] = None,
    as_json: Json = False,
) -> None:
    """Train RUN again from its record; exit status 1 unless weights and predictions are equal to the bit."""
    from fieldguide import workflow

    found = workflow.reproduce(run, data=data, out=out, say=say)
    if as_json:
        print_json(found.to_json())
    elif found.is_equal:
        print("equal to the bit: every file of the bundle and every prediction")
    else:
        print(f"not equal; of the bundle differ: {', '.join(found.differing_files) or 'no file'}")
        if found.largest_difference is not None:
            changed = f"{found.num_changed:,} pictures got another class"
            print(f"{changed}; largest difference of a probability {found.largest_difference:.1e}")
    if not as_json:
        for reason in found.reasons or (() if found.is_equal else ("the two runs' records name no difference",)):
            print(f"differs: {reason}")
        print(f"run:     {found.directory}")
    if not found.is_equal:
        raise typer.Exit(1)


def lr_find(
    source: Source,
    recipe: Recipe = "classic",
    settings: Settings = None,
    seed: Seed = None,
    group_by: GroupBy = None,
    exclude_class: ExcludeClass = None,
    merge_subfolders: MergeSubfolders = False,
    sixteen_bit_max: SixteenBitMax = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the losses into a PNG, SVG or PDF file.")] = None,
    as_json: Json = False,
) -> None:
    """Try learning rates on DIR, one a batch, and say at which one the loss falls steepest."""
    from fieldguide import workflow
    from fieldguide.workflow.provenance import train_command

    plan = _plan(recipe, settings or (), seed)
    if plot is not None and (plot.suffix.lower() not in (".png", ".svg", ".pdf") or not plot.parent.is_dir()):
        raise typer.BadParameter(f"--plot {str(plot)!r} should end in .png, .svg or .pdf and lie in a folder that exists.")
    found = workflow.lr_find(
        source,
        recipe=plan.recipe,
        seed=plan.seed,
        group_by=group_by,
        exclude_classes=exclude_class or (),
        merge_subfolders=merge_subfolders,
        sixteen_bit_max=sixteen_bit_max,
    )
    if plot is not None:
        from fieldguide.reporting.plots import lr_find as figure

        figure(found).savefig(plot)
    if as_json:
        print_json(found.to_json())
    else:
        print(f"learning_rate {found.suggestion:.2g} (the loss falls steepest there; {len(found.losses)} batches)")
        others = [setting for setting in settings or () if setting.partition("=")[0].strip() != "learning_rate"]
        command = train_command(
            source,
            recipe=recipe,
            set=(*others, f"learning_rate={found.suggestion:.2g}"),
            seed=seed,
            group_by=group_by,
            exclude_class=tuple(exclude_class or ()),
            merge_subfolders=merge_subfolders,
            sixteen_bit_max=sixteen_bit_max,
        )
        print(f"next:   {command}")


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the pictures and runs go.")] = Path("demo"),
) -> None:
    """Train on the embedded handwritten digits, both ways, and say where the reports are."""
    from fieldguide import demonstration

    demonstration.demo(directory, say=print)
