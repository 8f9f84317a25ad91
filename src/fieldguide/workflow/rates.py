"""The learning-rate finder: which rate suits a recipe on these pictures."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fieldguide.data.pictures import load_pictures
from fieldguide.errors import RecipeError
from fieldguide.recipes.recipe import Examples, Recipe, TrainingData
from fieldguide.recipes.settings import plan_of
from fieldguide.records import LearningRates


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
    find = getattr(recipe, "find_learning_rate", None)
    if find is None:
        raise RecipeError(
            f"The recipe {recipe.name} has no learning rate.\nhint: classic, scratch and finetune train a network."
        )
    if not 0 < lowest < highest or num_batches < 20:
        raise RecipeError(
            f"lowest must be above 0 and below highest, num_batches 20 or more; received {lowest}, {highest}, {num_batches}."
        )
    pictures = load_pictures(source, image_size=recipe.image_size, seed=seed, progress=progress, **folder)
    train, val = (Examples(part.pixels, part.labels, np.arange(len(part.labels))) for part in (pictures.train, pictures.val))
    data = TrainingData(train, val, num_classes=len(pictures.class_names), seed=seed)
    found: LearningRates = find(data, lowest=lowest, highest=highest, num_batches=num_batches)
    return found
