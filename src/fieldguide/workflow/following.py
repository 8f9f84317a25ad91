"""What a recipe says should be tried next: another recipe, on the pixels of the same pictures; the better of the two stays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.scan import Scan, take
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import RecipeError
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.from_scratch import FromScratch
from fieldguide.recipes.recipe import Examples, Recipe, TrainingData
from fieldguide.records import Preprocessing, Split
from fieldguide.training.session import Session

MOST_BYTES = 4_000_000_000  # of pixels that nobody asked for


@dataclass(frozen=True, eq=False)
class Learned:
    """What was learned, and from what.

    Attributes:
        recipe: that made it.
        fitted: what it made.
        scanned: the pictures as it saw them: embeddings by `frozen`, or pixels where that is None.
        used: the split as the recipe uses it.
        preprocessing: of the scan.
        frozen: the `network.xml` that ships, where the recipe trained none.
    """

    recipe: Recipe
    fitted: Fitted
    scanned: Scan
    used: Split
    preprocessing: Preprocessing
    frozen: Path | None


def used_split(split: Split, recipe: Recipe) -> Split:
    """The split as the recipe uses it: one that needs no validation part learns from the one that we carved."""
    if recipe.needs_val or split.val_is_given:
        return split
    return dataclasses.replace(split, train=np.union1d(split.train, split.val), val=np.empty(0, np.int64))


def fitted_to_pictures(recipe: Recipe, scanned: Scan) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with the `image_size` that suits such pictures, and a note where that is another than it has."""
    if not isinstance(recipe, FromScratch):
        return recipe, ()
    sizes = np.array([facts.size for facts in scanned.facts])
    fitted = recipe.fitted_to_pictures(sizes)
    if fitted.image_size == recipe.image_size:
        return recipe, ()
    usual, now, before = (
        f"{height:.0f} x {width:.0f}" for height, width in (np.median(sizes, axis=0), fitted.image_size, recipe.image_size)
    )
    note = (
        f"The pictures are small, {usual} pixels in the median: learned from at {now} instead of {before}, which takes "
        f"less time. A larger max_enlargement than {recipe.max_enlargement:g} allows more."
    )
    return fitted, (note,)


def training_data(scanned: Scan, used: Split, *, seed: int, session: Session) -> TrainingData:
    """What a recipe learns from: the training and validation parts of what was scanned."""

    def examples(positions: NDArray[np.int64]) -> Examples:
        return Examples(take(scanned.values, positions), used.labels[positions], used.groups[positions])

    return TrainingData(examples(used.train), examples(used.val), num_classes=len(used.class_names), seed=seed, session=session)


def follow(
    first: Learned, split: Split, *, scan_pixels: Callable[[Preprocessing], Scan], seed: int, session: Session
) -> Learned:
    """Learns once more as `first.fitted.follow_up` says; gives `first` back where that did no better on validation.

    Args:
        first: whose recipe learned from embeddings.
        split: as it was made, before a recipe used it.
        scan_pixels: gives the same pictures, with their pixels at another size.
        seed: as of the first recipe.
        session: of the run.

    Raises:
        DatasetError: if the pictures have changed meanwhile.
    """
    recipe = first.fitted.follow_up
    if recipe is None:
        return first
    num_images, (height, width) = len(first.scanned.images), recipe.image_size
    size_bytes = num_images * height * width * 3
    if size_bytes > MOST_BYTES:
        reason = (
            f"{recipe.name} was left out: {num_images:,} pictures of {height} x {width} pixels take {size_bytes / 1e9:.1f} GB "
            f"of disk and more than a few minutes. `--recipe {recipe.name}` does it all the same."
        )
        return _without(first, reason, session)
    preprocessing = dataclasses.replace(first.preprocessing, image_size=recipe.image_size)
    scanned = scan_pixels(preprocessing)
    used = used_split(split, recipe)
    try:
        fitted = recipe.fit(training_data(scanned, used, seed=seed, session=session))
    except RecipeError as error:  # what was learned before is not lost for it
        return _without(first, f"{recipe.name} was left out: {str(error).splitlines()[0]}", session)
    before, after = _val_accuracy(first, used), (fitted.num_correct or 0) / len(used.val)
    name = recipe.name
    outcome = (
        f"{name if after > before else 'The frozen network'} was kept: of {len(used.val):,} validation pictures "
        f"{name} names {after:.1%} rightly, the frozen network {before:.1%}."
    )
    session.say(outcome)
    if after > before:
        notes = (*first.fitted.notes, outcome, *fitted.notes[1:])
        fitted = dataclasses.replace(fitted, notes=notes, learning_curve=first.fitted.learning_curve)
        return Learned(recipe, fitted, scanned, used, preprocessing, None)
    kept = dataclasses.replace(
        first.fitted,
        notes=(*first.fitted.notes, outcome),
        interrupted=fitted.interrupted,
        work=fitted.work,
    )
    return dataclasses.replace(first, fitted=kept)


def _without(first: Learned, reason: str, session: Session) -> Learned:
    session.say(reason)
    notes = (*first.fitted.notes, reason)
    return dataclasses.replace(first, fitted=dataclasses.replace(first.fitted, notes=notes, follow_up=None))


def _val_accuracy(first: Learned, used: Split) -> float:
    """Of the first recipe on the validation pictures of the second: out-of-fold where it has learned from them."""
    head = LinearHead(first.fitted.head_kernel, first.fitted.head_bias)
    predicted = head.logits(take(first.scanned.values, used.val)).argmax(axis=1)
    is_fair = ~np.isin(used.val, first.used.train)
    if first.fitted.out_of_fold is not None:
        held_out = first.used.train[first.fitted.out_of_fold.positions]
        _, in_val, in_held_out = np.intersect1d(used.val, held_out, return_indices=True)
        predicted[in_val] = first.fitted.out_of_fold.probabilities[in_held_out].argmax(axis=1)
        is_fair[in_val] = True
    return float((predicted == used.labels[used.val])[is_fair].mean())
