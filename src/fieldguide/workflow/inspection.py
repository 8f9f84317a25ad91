"""What one asks of a folder without training: what is in it, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from fieldguide.auditing.audit import audit_scan
from fieldguide.data.cache import Cache
from fieldguide.data.index import describe, index_folder
from fieldguide.recipes.registry import DEFAULT_RECIPE, recipe_of
from fieldguide.records import Audit, Preprocessing
from fieldguide.workflow.scanning import scan_with_progress


def audit(
    source: str | os.PathLike[str],
    *,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
    sixteen_bit_max: int | None = None,
    progress: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Audit:
    """Reads every picture of a folder and says what it found; nothing is changed.

    Arguments and errors as in `train`.
    """
    index = index_folder(source, group_by=group_by, exclude_classes=exclude_classes, merge_subfolders=merge_subfolders)
    say(describe(index))
    # The size of the default recipe: what is decoded here need not be decoded by the training that follows.
    preprocessing = Preprocessing(recipe_of(DEFAULT_RECIPE).image_size, sixteen_bit_max=sixteen_bit_max)
    with Cache() as cache:
        scanned = scan_with_progress(index, preprocessing, cache, consumer=None, title="scan", progress=progress)
    return audit_scan(index, scanned)
