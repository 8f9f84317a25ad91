"""One Gaussian per class, all of one covariance, and how far from them pictures lie that they had not seen.

Sources: Lee et al. 2018, https://arxiv.org/abs/1807.03888, for the distance; Ledoit and Wolf 2004,
https://doi.org/10.1016/S0047-259X(03)00096-4, for the shrinkage, which follows from the spread itself and needs no search.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.parallel import own_threads, slices
from fieldguide.embedding.remembering import remembers_last

_FAR = 1e6
_ROUNDING = 5e-7  # some eight times that of a float32
ROWS_PER_CHUNK = 8_192


@dataclass(frozen=True, eq=False)
class Gaussians:
    """The classes' Gaussians.

    Attributes:
        center: (embedding_size,); subtracted first, so that single precision suffices.
        means: (num_classes, embedding_size) of the classes, centred.
        is_empty: (num_classes,); which classes have no picture; they are far from everything.
        triangle: (embedding_size, embedding_size); the lower Cholesky factor of the covariance, in Fortran's order.
    """

    center: NDArray[np.float32]
    means: NDArray[np.float64]
    is_empty: NDArray[np.bool_]
    triangle: NDArray[np.float64]

    def distances(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes): from each class.

        Solves for the pictures instead of inverting the triangle: less work where they are fewer than numbers in an embedding,
        as those of a fold mostly are.
        """
        from scipy.linalg import solve_triangular

        triangle = np.asfortranarray(self.triangle, np.float32)
        rows = np.concatenate([unit_length(embeddings) - self.center, self.means.astype(np.float32)])
        whitened = solve_triangular(triangle, rows.T, lower=True, overwrite_b=True, check_finite=False).T
        means = whitened[len(embeddings) :]
        means[self.is_empty] = _FAR
        return distances_between(whitened[: len(embeddings)], means)

    def whitening(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(embedding_size, embedding_size), which gives a step the length of Mahalanobis's distance; and the whitened means."""
        from scipy.linalg.lapack import dtrtri

        inverse, _ = dtrtri(self.triangle, lower=1)  # of a triangle: half the work of solving for it
        means = self.means @ inverse.T
        means[self.is_empty] = _FAR
        return np.ascontiguousarray(inverse.T, np.float32), np.asarray(means, np.float32)


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Distances of pictures from Gaussians that had not seen them, and what Gaussians of all the pictures are made from.

    Attributes:
        positions: (num_held_out,); of the pictures that a fold held out.
        distances: (num_held_out, num_classes); from each class, by Gaussians without the picture's fold.
    """

    positions: NDArray[np.int64]
    distances: NDArray[np.float32]
    _center: NDArray[np.float32]
    _total: _Sums
    _shrinkage: float
    _two_folds: tuple[_Sums, ...]  # the first two; fewer where there are fewer
    _of_first: NDArray[np.int64]  # (num_of_first,); positions of the first fold's pictures

    def of_all(self, embeddings: NDArray[Any]) -> tuple[Gaussians, float]:
        """The Gaussians of all pictures, and what `distances` must be multiplied by to be distances from these.

        Args:
            embeddings: (num_images, embedding_size); those that `hold_out` was given.
        """
        with own_threads() as pool:
            everything = pool.submit(self._total.gaussians, self._center, self._shrinkage)
            if len(self._two_folds) < 2:
                return everything.result(), 1.0
            without_one = self._total - self._two_folds[0]
            without_two = without_one - self._two_folds[1]
            if without_two.counts.sum() < 1:
                return everything.result(), 1.0
            farther = without_two.gaussians(self._center, self._shrinkage).distances(embeddings[self._of_first]).min(axis=1)
            nearest = self.distances[np.isin(self.positions, self._of_first)].min(axis=1)
            counts = [float(sums.counts.sum()) for sums in (self._total, without_one, without_two)]
            return everything.result(), _nearer_with_all(nearest, farther, counts)


@remembers_last
def hold_out(embeddings: NDArray[Any], labels: NDArray[np.int64], folds: NDArray[np.int64], num_classes: int) -> HeldOut:
    """Measures distances from Gaussians that were fitted without the fold of the picture.

    Args:
        embeddings: (num_images, embedding_size), of any float type; may be a memory map, it is read in chunks.
        labels: (num_images,).
        folds: (num_images,); the fold that holds each picture out, -1 for one that is never held out.
        num_classes: number of classes.
    """
    center = _mean(embeddings)
    positions = np.flatnonzero(folds >= 0)
    distances = np.empty((len(positions), num_classes), np.float32)
    with own_threads() as pool:
        numbers = np.unique(folds).tolist()
        parts = pool.map(lambda fold: _Sums.of(embeddings, labels, folds == fold, center, num_classes), numbers)
        sums = dict(zip(numbers, parts, strict=True))
        total = _Sums.of_all(list(sums.values()))
        shrinkage = _shrinkage(embeddings, labels, center, total, pool)

        def measure(fold: int) -> None:
            mine = folds[positions] == fold
            others = (total - sums[fold]).gaussians(center, shrinkage)
            distances[mine] = others.distances(embeddings[positions[mine]])

        numbers = [number for number in numbers if number >= 0]
        list(pool.map(measure, numbers))
    two_folds = tuple(sums[number] for number in numbers[:2])
    return HeldOut(positions, distances, center, total, shrinkage, two_folds, np.flatnonzero(folds == numbers[0]))


def distances_between(whitened: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.float32]:
    """(num_images, size), (num_classes, size) -> (num_images, num_classes): Euclid's, of what is whitened."""
    # |w - m|^2 = |w|^2 - 2 w.m + |m|^2: no array of (images, classes, size) is made
    squared = np.square(whitened).sum(axis=1)[:, None] - 2 * (whitened @ means.T) + np.square(means).sum(axis=1)
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)), np.float32)


def unit_length(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    """Rows divided by their length: how bright or contrasted a picture is counts for less then."""
    rows = np.asarray(embeddings, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-12))


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
        for rows in slices(len(labels), ROWS_PER_CHUNK):
            mine = is_mine[rows]
            if mine.any():
                x, y = unit_length(embeddings[rows][mine]) - center, labels[rows][mine]
                for label in np.unique(y):
                    totals[label] += x[y == label].sum(axis=0, dtype=np.float64)
                products += x.T @ x
        return cls(counts, totals, products)

    @classmethod
    def of_all(cls, parts: Sequence[_Sums]) -> Self:
        """The sum of several."""
        total = cls(parts[0].counts.copy(), parts[0].totals.copy(), parts[0].products.copy())
        for part in parts[1:]:
            for mine, more in zip(
                (total.counts, total.totals, total.products), (part.counts, part.totals, part.products), strict=True
            ):
                mine += more
        return total

    def __sub__(self, other: _Sums) -> _Sums:
        return _Sums(self.counts - other.counts, self.totals - other.totals, self.products - other.products)

    def means(self) -> NDArray[np.float64]:
        """(num_classes, embedding_size); 0 for a class without a picture."""
        return self.totals / np.maximum(self.counts, 1.0)[:, None]

    def covariance(self) -> NDArray[np.float64]:
        """Of the pictures around the mean of their class."""
        means = self.means()
        covariance = (means.T * -self.counts) @ means
        covariance += self.products
        covariance /= max(self.counts.sum(), 1.0)
        return covariance

    def gaussians(self, center: NDArray[np.float32], shrinkage: float) -> Gaussians:
        """With the covariance shrunk."""
        from scipy.linalg import cholesky

        covariance = self.covariance()
        size = len(covariance)
        mean_variance = max(float(np.trace(covariance)) / size, 1e-12)
        covariance *= 1 - shrinkage
        rounding = _ROUNDING * float(np.trace(self.products)) / max(self.counts.sum(), 1.0)  # of products in float32
        covariance[np.diag_indices(size)] += max(shrinkage * mean_variance, 1e-6 * mean_variance, rounding, 1e-12)
        triangle = cholesky(covariance.T, lower=True, overwrite_a=True, check_finite=False)  # .T: Fortran's order, in place
        return Gaussians(center, self.means(), self.counts == 0, triangle)


def _shrinkage(
    embeddings: NDArray[Any], labels: NDArray[np.int64], center: NDArray[np.float32], total: _Sums, pool: ThreadPoolExecutor
) -> float:
    """Ledoit and Wolf's share of the round covariance, in [0, 1]: the more, the fewer pictures there are for the numbers."""
    means = total.means().astype(np.float32)

    def sum_of_fourth_powers(rows: slice) -> float:
        residual = unit_length(embeddings[rows]) - center - means[labels[rows]]
        return float(np.square(np.square(residual).sum(axis=1, dtype=np.float64)).sum())

    fourth_powers = sum(pool.map(sum_of_fourth_powers, slices(len(labels), 1_024)))
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
    steps = np.diff(1 / np.array(num_images))
    ratio = float(np.median(np.square(near / np.maximum(far, 1e-12))))
    return float(np.clip(1 + (1 - ratio) * steps[0] / steps[1], 1.0, 4.0) ** -0.5)


def _mean(embeddings: NDArray[Any]) -> NDArray[np.float32]:
    total = np.zeros(embeddings.shape[1])
    for rows in slices(len(embeddings), ROWS_PER_CHUNK):
        total += unit_length(embeddings[rows]).sum(axis=0, dtype=np.float64)
    return np.asarray(total / len(embeddings), np.float32)
