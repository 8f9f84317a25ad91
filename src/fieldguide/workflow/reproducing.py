"""Whether a run comes out again: trained once more from its own record, and held against the first, bit by bit."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from fieldguide.bundle import read_bundle
from fieldguide.errors import BundleError
from fieldguide.evaluation.evaluate import read_evaluation
from fieldguide.recipes.registry import recipe_class
from fieldguide.records import PARTS, Record, Run
from fieldguide.storage import named, read_record
from fieldguide.workflow.training import train

_NOT_OF_THE_MACHINE = ("dataset", "date", "command")


@dataclass(frozen=True)
class Reproduction(Record):
    """What came out again.

    Attributes:
        directory: of the new run.
        is_equal: the bundle's files and all predictions are equal to the bit.
        differing_files: those of the bundle that are not.
        num_changed: pictures whose class changed, over all parts.
        largest_difference: of a probability, over all parts; None where the pictures are not the same.
        reasons: what differs between the two runs and may be why: pictures, versions, processor, precision. Empty if nothing
            does.
    """

    directory: str
    is_equal: bool
    differing_files: tuple[str, ...]
    num_changed: int
    largest_difference: float | None
    reasons: tuple[str, ...]


def reproduce(
    run: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Reproduction:
    """Trains again from the record of a run and says whether weights and predictions are the same.

    Args:
        run: the folder of a finished run.
        data: the pictures, where they are no longer where they were.
        out: the new run folder; that of the run with `-again` when None.
        progress: as in `train`.
        say: as in `train`.

    Raises:
        BundleError: if the run is not finished, or too old to say how it was made.
        DatasetError: if the pictures are gone.
        RecipeError: if its recipe is not one of ours.
    """
    directory = named(Path(run).expanduser())
    first = read_record(Run, directory / "run.json", directory=str(directory))
    if not first.arguments:
        raise BundleError(f"{str(directory)!r} does not say how it was made: an older version wrote it.\nhint: train again.")
    given = first.arguments
    review = directory / "review.csv"  # as it was then; the user may have gone on with theirs
    again = train(
        data or given["source"],
        out=out or directory.with_name(f"{directory.name}-again"),
        recipe=cast(Any, recipe_class(first.recipe)).from_json(first.settings),
        seed=first.seed,
        review=review if review.is_file() else given.get("review"),
        also=given.get("also"),
        group_by=given["group_by"],
        exclude_classes=given["exclude_class"],
        merge_subfolders=given["merge_subfolders"],
        sixteen_bit_max=given["sixteen_bit_max"],
        precision=given["precision"] or "auto",
        reject=given["reject"],
        time_seconds=float(given["time"].removesuffix("s")) if given.get("time") else None,
        progress=progress,
        say=say,
    )
    before, after = (read_bundle(r.directory) for r in (first, again))
    names = sorted({*before.hashes, *after.hashes})
    differing = tuple(name for name in names if before.hashes.get(name) != after.hashes.get(name))
    num_changed, largest = _predictions(directory, Path(again.directory))
    return Reproduction(
        directory=again.directory,
        is_equal=not differing and largest == 0.0,
        differing_files=differing,
        num_changed=num_changed,
        largest_difference=largest,
        reasons=_reasons(first, again),
    )


def _predictions(first: Path, again: Path) -> tuple[int, float | None]:
    """Changed classes, and the largest difference of a probability; None where the pictures are not the same."""
    num_changed, largest = 0, 0.0
    for part in PARTS:
        a, b = (read_evaluation(directory / "evaluation", part) for directory in (first, again))
        if a is None and b is None:
            continue
        if a is None or b is None or a.paths != b.paths or a.class_names != b.class_names:
            return num_changed, None
        num_changed += int((a.predicted != b.predicted).sum())
        largest = max(largest, float(np.abs(a.probabilities - b.probabilities).max()))
    return num_changed, largest


def _reasons(first: Run, again: Run) -> tuple[str, ...]:
    reasons = []
    if first.data_fingerprint != again.data_fingerprint:
        reasons.append("the pictures, their names or their labels are not the same (another data fingerprint)")
    if first.interrupted:
        reasons.append("the first run was ended early")
    if first.arguments.get("time"):
        reasons.append("training ended by the clock (--time): how many steps fit changes with what else the machine does")
    names = {*first.environment, *again.environment} - set(_NOT_OF_THE_MACHINE)
    for name in sorted(names):
        before, after = first.environment.get(name), again.environment.get(name)
        if before != after and not isinstance(before, Mapping):
            reasons.append(f"{name.replace('_', ' ')}: {before} then, {after} now")
    return tuple(reasons)
