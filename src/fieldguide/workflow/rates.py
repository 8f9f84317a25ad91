"""The learning-rate finder: which rate suits a recipe on these pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from fieldguide.data.cache import Cache
from fieldguide.data.copies import find_copies
from fieldguide.data.index import index_folder
from fieldguide.data.scan import keep_pixels
from fieldguide.data.split import split_images
from fieldguide.errors import RecipeError
from fieldguide.recipes.recipe import Recipe
from fieldguide.recipes.settings import plan_of
from fieldguide.records import LearningRates, Preprocessing
from fieldguide.training.session import Session
from fieldguide.workflow.following import fitted_to_pictures, training_data
from fieldguide.workflow.scanning import scan_pixels, scan_with_progress


def lr_find(
    source: str | os.PathLike[str],
    *,
    recipe: str | os.PathLike[str] | Recipe = "classic",
    seed: int | None = None,
    lowest: float = 1e-6,
    highest: float = 1.0,
    num_batches: int = 120,
    progress: bool = True,
    **folder: Any,
) -> LearningRates:
    """Tries learning rates from the lowest to the highest, one a batch, on the training part of a folder.

    The suggestion is where the loss falls steepest, a good peak for the schedule; `fieldguide.plots.lr_find` shows
    whether it deserves trust. Validation and test pictures are not looked at, and nothing is kept.

    Args:
        source: as in `train`.
        recipe: as in `train`; one that trains a network.
        seed: as in `train`.
        lowest: rate of the first batch.
        highest: rate of the last one; the search ends before it where the loss explodes.
        num_batches: that are learned from.
        progress: as in `train`.
        **folder: how the folder is read: `group_by`, `exclude_classes`, `merge_subfolders`, `sixteen_bit_max`, as in `train`.

    Raises:
        DatasetError: if the folder cannot be used.
        RecipeError: if the recipe has no learning rate, or if the range is none.
    """
    recipe, seed = plan_of(recipe, seed)
    if not hasattr(recipe, "find_learning_rate"):
        raise RecipeError(
            f"The recipe {recipe.name} has no learning rate.\nhint: classic, scratch and finetune train a network."
        )
    if not 0 < lowest < highest or num_batches < 20:
        raise RecipeError(
            f"lowest must be above 0 and below highest, num_batches 20 or more; received {lowest}, {highest}, {num_batches}."
        )
    white = folder.pop("sixteen_bit_max", None)
    index = index_folder(source, **folder)
    with Cache() as cache:
        preprocessing = Preprocessing(recipe.image_size, sixteen_bit_max=white)
        consumer = keep_pixels(preprocessing)
        scanned = scan_with_progress(index, preprocessing, cache, consumer=consumer, title="reading", progress=progress)
        recipe, _ = fitted_to_pictures(recipe, scanned)
        if recipe.image_size != preprocessing.image_size:  # small pictures, which are read again in no time
            preprocessing = Preprocessing(recipe.image_size, sixteen_bit_max=white)
            scanned = scan_pixels(index, scanned, preprocessing, cache, progress=progress)
    split = split_images(scanned.images, index.class_names, pixel_hashes=find_copies(scanned).keys, seed=seed, root=index.root)
    data = training_data(scanned, split, seed=seed, session=Session())
    find: Callable[..., LearningRates] = getattr(recipe, "find_learning_rate")  # noqa: B009 - not of every recipe
    return find(data, lowest=lowest, highest=highest, num_batches=num_batches)
