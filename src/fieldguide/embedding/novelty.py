"""How strange a picture is: the distance of its embedding from the nearest class, on a scale where 1 is the border.

Each class is a Gaussian around its mean, and all share one covariance. Distances (Mahalanobis's) are measured in units of
the spread that pictures of one class have in that direction, so a step that no picture of any class ever took counts for
much. The probabilities cannot tell that: they say which class is nearest, however far away all of them are.

Where the border lies is learned from pictures that were held out, never from those the Gaussians were fitted to: to these
everything lies close, and a border drawn there would turn most new pictures of the user's own away.

Sources: Lee et al. 2018, https://arxiv.org/abs/1807.03888, for the distance; Ledoit and Wolf 2004,
https://doi.org/10.1016/S0047-259X(03)00096-4, for the shrinkage, which follows from the spread itself and needs no search.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.parallel import own_threads
from fieldguide.embedding.remembering import remembers_last
from fieldguide.errors import BundleError, RecipeError

DEFAULT_REJECT = 0.01
MIN_KNOWN = 200  # held-out pictures; with fewer the share that will be turned away is not known
_ROWS_PER_CHUNK = 8_192


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
        for rows in _chunks(len(embeddings)):
            result[rows] = _distances(unit_length(embeddings[rows]) - self.center, self.whitening, self.class_means)
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
    center, whitening, class_means, positions, held_out = _fitted(embeddings, labels, folds, num_classes)
    nearest = held_out.min(axis=1)
    novelty = Novelty(center, whitening, class_means, np.sort(nearest), reject)
    return FittedNovelty(
        novelty=novelty,
        positions=positions,
        scores=np.asarray(nearest / novelty.threshold, np.float32),
        distances=held_out,
        caught=_caught(held_out, labels[positions], reject or DEFAULT_REJECT),
    )


@remembers_last
def _fitted(
    embeddings: NDArray[Any], labels: NDArray[np.int64], folds: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Center, whitening, class means, positions of what was held out, and its distances from each class."""
    center = _mean(embeddings)
    positions = np.flatnonzero(folds >= 0)
    held_out = np.empty((len(positions), num_classes), np.float32)
    with own_threads() as pool:
        fold_numbers = range(-1, int(folds.max()) + 1)
        sums = list(pool.map(lambda fold: _Sums.of(embeddings, labels, folds == fold, center, num_classes), fold_numbers))
        total = functools.reduce(_Sums.__add__, sums)
        shrinkage = _shrinkage(embeddings, labels, center, total)

        def measure(fold: int) -> None:
            mine = folds[positions] == fold
            whitening, class_means = (total - sums[fold + 1]).gaussians(shrinkage)
            held_out[mine] = _distances(unit_length(embeddings[positions[mine]]) - center, whitening, class_means)

        numbers = np.unique(folds[positions]).tolist()
        everything = pool.submit(total.gaussians, shrinkage)
        fewer = pool.submit((total - sums[numbers[0] + 1] - sums[numbers[1] + 1]).gaussians, shrinkage) if numbers[1:] else None
        list(pool.map(measure, numbers))
        whitening, class_means = everything.result()
        if fewer is not None:
            mine = folds[positions] == numbers[0]
            farther = _distances(unit_length(embeddings[positions[mine]]) - center, *fewer.result()).min(axis=1)
            num_images = [total.counts.sum() - sum(sums[n + 1].counts.sum() for n in numbers[:k]) for k in range(3)]
            held_out *= _nearer_with_all(held_out[mine].min(axis=1), farther, num_images)
    return center, whitening, class_means, positions, held_out


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


def unit_length(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Rows divided by their length: how bright or contrasted a picture is counts for less then."""
    rows = np.asarray(embeddings, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12))


def _distances(
    centred: NDArray[np.float32], whitening: NDArray[np.float32], class_means: NDArray[np.float32]
) -> NDArray[np.float32]:
    """|w - m|^2 = |w|^2 - 2 w.m + |m|^2: no array of (images, classes, embedding_size) is made."""
    w = centred @ whitening
    squared = np.square(w).sum(axis=1)[:, None] - 2 * (w @ class_means.T) + np.square(class_means).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), np.float32)


@dataclass(frozen=True, eq=False)
class _Sums:
    """What the Gaussians of some pictures need: sums that can be added and taken apart, fold by fold."""

    counts: NDArray[np.float64]  # (num_classes,)
    totals: NDArray[np.float64]  # (num_classes, embedding_size)
    products: NDArray[np.float64]  # (embedding_size, embedding_size)

    @classmethod
    def of(
        cls,
        embeddings: NDArray[Any],
        labels: NDArray[np.int64],
        is_mine: NDArray[np.bool_],
        center: NDArray[np.float32],
        num_classes: int,
    ) -> Self:
        size = embeddings.shape[1]
        counts = np.bincount(labels[is_mine], minlength=num_classes).astype(np.float64)
        totals, products = np.zeros((num_classes, size)), np.zeros((size, size))
        for rows in _chunks(len(labels)):
            mine = is_mine[rows]
            if mine.any():
                x, y = unit_length(embeddings[rows][mine]) - center, labels[rows][mine]
                for label in np.unique(y):
                    totals[label] += x[y == label].sum(axis=0, dtype=np.float64)
                products += x.T @ x
        return cls(counts, totals, products)

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(self.counts + other.counts, self.totals + other.totals, self.products + other.products)

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.counts - other.counts, self.totals - other.totals, self.products - other.products)

    def means(self) -> NDArray[np.float64]:
        """(num_classes, embedding_size); 0 for a class without a picture."""
        return self.totals / np.maximum(self.counts, 1.0)[:, None]

    def covariance(self) -> NDArray[np.float64]:
        """Of the pictures around the mean of their class."""
        means = self.means()
        return np.asarray((self.products - (means.T * self.counts) @ means) / max(self.counts.sum(), 1.0))

    def gaussians(self, shrinkage: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The whitening of the shrunk covariance, and the whitened means; that of a class without a picture is far away."""
        from scipy.linalg.lapack import dtrtri

        covariance = self.covariance()
        size = len(covariance)
        mean_variance = max(float(np.trace(covariance)) / size, 1e-12)
        covariance *= 1 - shrinkage
        covariance[np.diag_indices(size)] += max(shrinkage, 1e-6) * mean_variance
        inverse, _ = dtrtri(np.linalg.cholesky(covariance), lower=1)  # of a triangle: half the work of solving for it
        class_means = self.means() @ inverse.T
        class_means[self.counts == 0] = 1e6
        return np.ascontiguousarray(inverse.T, np.float32), np.asarray(class_means, np.float32)


def _shrinkage(embeddings: NDArray[Any], labels: NDArray[np.int64], center: NDArray[np.float32], total: _Sums) -> float:
    """Ledoit and Wolf's share of the round covariance, in [0, 1]: the more, the fewer pictures there are for the numbers."""
    means = total.means().astype(np.float32)
    fourth_powers = 0.0
    for rows in _chunks(len(labels)):
        residual = unit_length(embeddings[rows]) - center - means[labels[rows]]
        fourth_powers += float(np.square(np.square(residual).sum(axis=1, dtype=np.float64)).sum())
    covariance = total.covariance()
    count, size = len(labels), len(covariance)
    norm = float(np.square(covariance).sum())
    distance_from_round = norm - float(np.trace(covariance)) ** 2 / size
    error = (fourth_powers / count - norm) / count
    return float(np.clip(error / max(distance_from_round, 1e-30), 0.0, 1.0))


def _nearer_with_all(near: NDArray[np.float32], far: NDArray[np.float32], num_images: list[float]) -> float:
    """What distances from Gaussians without a fold must be multiplied by, to be distances from those of all pictures.

    A covariance of n pictures in d dimensions takes new ones for farther than they are: their squared distance is about d
    divided by 1 - d / n, whose inverse is linear in 1 / n. So what one more fold changes says what this one did.

    Args:
        near: (n,), distances of a fold's pictures from Gaussians without them.
        far: (n,), from Gaussians without them and those of another fold.
        num_images: that Gaussians of all pictures, those of `near` and those of `far` were fitted to.
    """
    if min(num_images) < 1:
        return 1.0
    steps = np.diff(1 / np.array(num_images))
    ratio = float(np.median(np.square(near / np.maximum(far, 1e-12))))
    return float(np.clip(1 + (1 - ratio) * steps[0] / steps[1], 1.0, 4.0) ** -0.5)


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


def _mean(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    total = np.zeros(embeddings.shape[1])
    for rows in _chunks(len(embeddings)):
        total += unit_length(embeddings[rows]).sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(embeddings), np.float32)


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, _ROWS_PER_CHUNK):
        yield slice(start, min(start + _ROWS_PER_CHUNK, count))
