"""How strange a picture is: the distance of its embedding from the nearest class, on a scale where 1 is the border.

Each class is a Gaussian around its mean, and all share one covariance. Distances (Mahalanobis's) are measured in units of
the spread that pictures of one class have in that direction, so a step that no picture of any class ever took counts for
much. The probabilities cannot tell that: they say which class is nearest, however far away all of them are.

Where the border lies is learned from pictures that were held out, never from those the Gaussians were fitted to: to these
everything lies close, and a border drawn there would turn most new pictures of the user's own away. The Gaussians, and their
sources, are in `embedding.gaussians`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.parallel import slices
from fieldguide.embedding.gaussians import ROWS_PER_CHUNK, distances_between, hold_out, unit_length
from fieldguide.errors import BundleError, RecipeError

DEFAULT_REJECT = 0.01
MIN_KNOWN = 200  # held-out pictures; with fewer the share that will be turned away is not known


@dataclass(frozen=True, eq=False)
class Novelty:
    """The classes' Gaussians, and what was held out says about distances from them.

    Attributes:
        center: (embedding_size,); subtracted first, so that single precision suffices.
        whitening: (embedding_size, embedding_size); turns a step into one whose length is Mahalanobis's.
        class_means: (num_classes, embedding_size), centred and whitened.
        held_out: (num_held_out,) ascending; distances of held-out pictures of the user's own from the nearest class.
        reject: share of the user's own pictures that may be turned away; 0: no picture is.
    """

    center: NDArray[np.float32]
    whitening: NDArray[np.float32]
    class_means: NDArray[np.float32]
    held_out: NDArray[np.float32]
    reject: float = DEFAULT_REJECT

    def __post_init__(self) -> None:
        check_reject(self.reject)

    @property
    def threshold(self) -> float:
        """The distance at which novelty is 1: that of the default share where no picture is to be turned away."""
        return border(self.held_out, self.reject or DEFAULT_REJECT)

    @property
    def is_share_known(self) -> bool:
        """Whether there were pictures enough to say what share will be turned away."""
        return len(self.held_out) >= MIN_KNOWN

    def scores(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images,): distance from the nearest class, 1 at the border."""
        nearest = self.distances(embeddings).min(axis=1)
        return np.asarray(nearest / self.threshold, np.float32)

    def is_strange(self, scores: NDArray[Any]) -> NDArray[np.bool_]:
        """(num_images,): which pictures are none of the classes."""
        return np.asarray((scores > 1) & (self.reject > 0))

    def distances(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes): from each class."""
        result = np.empty((len(embeddings), len(self.class_means)), np.float32)
        for rows in slices(len(embeddings), ROWS_PER_CHUNK):
            whitened = np.asarray((unit_length(embeddings[rows]) - self.center) @ self.whitening, np.float32)
            result[rows] = distances_between(whitened, self.class_means)
        return result

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All but `reject`, by name: what `from_tensors` takes."""
        return {name: getattr(self, name) for name in ("center", "whitening", "class_means", "held_out")}

    @classmethod
    def from_tensors(cls, tensors: dict[str, NDArray[Any]], *, reject: float, embedding_size: int, num_classes: int) -> Self:
        """What `tensors` gave; the values may come from a stranger.

        Raises:
            BundleError: if one is missing, of another shape, or not finite.
        """
        shapes = {"center": (embedding_size,), "whitening": (embedding_size,) * 2, "class_means": (num_classes, embedding_size)}
        values = {}
        for name in ("center", "whitening", "class_means", "held_out"):
            value = tensors.get(name)
            if value is None or value.dtype != np.float32 or value.shape != shapes.get(name, (value.size,)):
                found = "it is missing" if value is None else f"received {value.dtype} {value.shape}"
                raise BundleError(f"The novelty's {name} should be float32 {shapes.get(name, ('any',))}; {found}.")
            if not value.size or not np.isfinite(value).all():
                raise BundleError(f"The novelty's {name} is empty or not finite.")
            values[name] = value
        if values["held_out"][0] < 0 or (np.diff(values["held_out"]) < 0).any():
            raise BundleError("The novelty's held_out should be ascending distances.")
        return cls(**values, reject=reject)


@dataclass(frozen=True, eq=False)
class FittedNovelty:
    """A novelty, and what was measured while it was fitted.

    Attributes:
        novelty: fitted on all the pictures.
        positions: (num_held_out,); of the pictures whose distances were measured by a fit without them.
        scores: (num_held_out,); their novelty by those fits.
        distances: (num_held_out, num_classes); from each class, by those fits.
        caught: (num_classes,); left out as a stranger, the share of each class's pictures that lie beyond the border which
            the others draw. None with fewer than three classes.
    """

    novelty: Novelty
    positions: NDArray[np.int64]
    scores: NDArray[np.float32]
    distances: NDArray[np.float32]
    caught: NDArray[np.float64] | None


def fit_novelty(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    *,
    num_classes: int,
    reject: float = DEFAULT_REJECT,
) -> FittedNovelty:
    """Fits the Gaussians to all pictures, and the border to distances from Gaussians that had not seen the picture.

    Args:
        embeddings: (num_images, embedding_size), of any float type; may be a memory map, it is read in chunks.
        labels: (num_images,).
        folds: (num_images,); the fold that holds each picture out, -1 for one that is never held out.
        num_classes: number of classes.
        reject: share of own pictures that may be turned away, in [0, 0.5].

    Raises:
        RecipeError: if the share is out of range.
    """
    check_reject(reject)
    held_out = hold_out(embeddings, labels, folds, num_classes)
    gaussians, nearer = held_out.of_all(embeddings)
    distances = held_out.distances * np.float32(nearer)
    nearest = distances.min(axis=1)
    novelty = Novelty(gaussians.center, *gaussians.whitening(), np.sort(nearest), reject)
    return FittedNovelty(
        novelty=novelty,
        positions=held_out.positions,
        scores=np.asarray(nearest / novelty.threshold, np.float32),
        distances=distances,
        caught=_caught(distances, labels[held_out.positions], reject or DEFAULT_REJECT),
    )


def border(distances: NDArray[Any], share: float) -> float:
    """The distance beyond which at most that share of new pictures like these will lie; the largest where they are few.

    The rank among one picture more than there are: the new one might come anywhere among the others.

    Args:
        distances: (num_images,) ascending, at least one.
        share: in (0, 1).

    >>> border(np.arange(1, 200), 0.01)
    198.0
    """
    count = len(distances)
    rank = math.ceil((count + 1) * (1 - share) - 1e-9)  # 1e-9: 200 * (1 - 0.01) is not exactly 198
    return max(float(distances[min(rank, count) - 1]), 1e-6)


def check_reject(reject: float) -> None:
    """Refuses a share that makes no sense.

    Raises:
        RecipeError: if it lies outside of [0, 0.5].
    """
    if not 0 <= reject <= 0.5:
        raise RecipeError(
            f"The share of own pictures to turn away must lie between 0 and 0.5; received {reject}.\n"
            "hint: 0.01 is usual; 0 turns no picture away."
        )


def _caught(held_out: NDArray[np.float32], labels: NDArray[np.int64], share: float) -> NDArray[np.float64] | None:
    """Each class in turn as a stranger: its pictures' distances from the other classes, against the border of these.

    The shared covariance still knows how the pictures of that class spread, but not where they lie.
    """
    num_classes = held_out.shape[1]
    if num_classes < 3:
        return None
    caught = np.empty(num_classes)
    for c in range(num_classes):
        nearest = np.delete(held_out, c, axis=1).min(axis=1)
        is_stranger = labels == c
        if not is_stranger.any() or is_stranger.all():
            caught[c] = np.nan
            continue
        caught[c] = (nearest[is_stranger] > border(np.sort(nearest[~is_stranger]), share)).mean()
    return caught
