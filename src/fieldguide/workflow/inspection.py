"""What one asks of a folder without training: what is in it, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fieldguide.auditing.review import COLUMNS, Review, apply_review, proposed, read_review, review_rows
from fieldguide.data.cache import Cache
from fieldguide.data.index import describe, index_folder
from fieldguide.data.scan import Scan, thumbnails
from fieldguide.errors import DatasetError, RecipeError
from fieldguide.recipes.registry import DEFAULT_RECIPE, recipe_of
from fieldguide.records import Audit, Preprocessing
from fieldguide.reporting.audit_page import audit_page, shown_in_audit
from fieldguide.storage import csv_text, named, write_json, write_text
from fieldguide.workflow.looking import look_at
from fieldguide.workflow.scanning import Embedder, scan_with_progress
from fieldguide.workflow.what_if import what_if as measure_what_if


def audit(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    quick: bool = False,
    review: str | os.PathLike[str] | None = None,
    what_if: bool = False,
    seed: int = 0,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
    sixteen_bit_max: int | None = None,
    precision: str = "auto",
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Audit:
    """Reads every picture of a folder and says what it found; nothing in the folder is changed.

    Args:
        source: a folder of class folders, or a CSV file.
        out: where `audit.json`, `audit.html` (contact sheets) and `review.csv` are written; None writes nothing.
        quick: without embeddings: files, exact copies and most near-copies, odd pictures, artefacts; no cropped copies, and
            nothing about labels, strangers and classes that look alike.
        review: a `review.csv` to obey.
        what_if: measure by cross-validation what the actions are worth: those of `review`, else those proposed.
        seed: of the folds.
        group_by: as in `train`, like all that follow.
        exclude_classes: class folders to leave out.
        merge_subfolders: subfolders belong to the class above them.
        sixteen_bit_max: the value of white in 16-bit grey pictures.
        precision: of the engine.
        progress: whether to show how far it is.
        say: called with a line at each stage.

    Raises:
        DatasetError: as `train`; also for a review that does not fit the folder, and, once the audit is written, for one whose
            worth cannot be measured.
        RecipeError: if `what_if` is asked of a quick look.
    """
    if quick and what_if:
        raise RecipeError("what_if needs embeddings, which a quick look does without.\nhint: leave out --quick.")
    index = index_folder(source, group_by=group_by, exclude_classes=exclude_classes, merge_subfolders=merge_subfolders)
    say(describe(index))
    decided = read_review(review, index.class_names) if review is not None else None
    not_measured: DatasetError | None = None
    if decided is not None:
        reviewed = apply_review(index, decided)
        index = index if what_if else reviewed
    recipe = recipe_of(DEFAULT_RECIPE)
    # The size of the default recipe: what is decoded here need not be decoded by the training that follows.
    preprocessing = Preprocessing(recipe.image_size, sixteen_bit_max=sixteen_bit_max)
    with Cache() as cache:
        if quick:
            scanned = scan_with_progress(index, preprocessing, cache, consumer=None, title="scan", progress=progress)
        else:
            embedder = Embedder.of(recipe, sixteen_bit_max=sixteen_bit_max, precision=precision)
            scanned = embedder.scan(index, cache, progress=progress)
        embeddings = None if quick else scanned.values
        looked = look_at(index, scanned, embeddings, seed=seed)
        found = looked.audit
        if what_if and embeddings is not None:
            actions = decided or proposed(found)
            if decided is None and not (actions.excluded or actions.labels):
                say("what if: no action is proposed, so there is nothing to measure")
            else:
                try:
                    measured = measure_what_if(scanned, index.class_names, embeddings, looked.groups, actions, seed=seed)
                    found = dataclasses.replace(found, what_if=measured)
                except DatasetError as error:  # the audit is not lost for it
                    not_measured = error
        if out is not None:
            name = Path(source).expanduser().resolve().name
            _write(Path(out).expanduser(), name, Path(index.root), found, decided, scanned, preprocessing, cache)
    if not_measured is not None and decided is not None:
        raise not_measured
    if not_measured is not None:
        say(f"what if: not measured: {str(not_measured).splitlines()[0]}")
    return found


def audit_folder(source: str | os.PathLike[str], out: str | os.PathLike[str] | None = None) -> Path:
    """Where the command line writes an audit: `out`, or `runs/NAME-audit`; another name where that holds something."""
    name = Path(source).expanduser().resolve()
    stem = name.stem if name.suffix.lower() == ".csv" else name.name
    wanted = candidate = named(Path(out).expanduser()) if out is not None else Path("runs") / f"{stem or 'dataset'}-audit"
    number = 1
    while candidate.exists() and not (candidate.is_dir() and not any(candidate.iterdir())):
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")
    return candidate


def _write(
    directory: Path,
    name: str,
    root: Path,
    found: Audit,
    decided: Review | None,
    scanned: Scan,
    preprocessing: Preprocessing,
    cache: Cache,
) -> None:
    position = {image.path: i for i, image in enumerate(scanned.images)}
    shown = [position[path] for path in shown_in_audit(found) if path in position]
    pictures = thumbnails(root, scanned, shown, preprocessing, cache)
    write_json(directory / "audit.json", found.to_json())
    write_text(directory / "review.csv", csv_text(review_rows(found, decided), COLUMNS))
    write_text(directory / "audit.html", audit_page(found, name=name, thumbnails=pictures))
