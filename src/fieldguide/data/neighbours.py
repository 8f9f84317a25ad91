"""Which pictures are nearest to which: the nearest rows of a matrix, by blocks, never all pairs at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.parallel import own_threads, slices

_ROWS_PER_BLOCK = 512
_COLUMNS_PER_BLOCK = 8192
_MOST_FOR_AXES = 2000
_AXIS_STEPS = 4
_COLUMNS_PER_GROUP = 32


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest rows of each row, nearest first."""

    positions: NDArray[np.int64]  # (num_images, k)
    similarities: NDArray[np.float32]  # (num_images, k), descending


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes of a set of embeddings."""

    mean: NDArray[np.float32]  # (embedding_size,)
    axes: NDArray[np.float32]  # (embedding_size, num_axes)

    def vectors(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """Embeddings along the axes, each scaled to length 1: (num_images, num_axes). Read in chunks."""
        vectors = np.empty((len(embeddings), self.axes.shape[1]), np.float32)
        for start in range(0, len(embeddings), _COLUMNS_PER_BLOCK):
            rows = slice(start, start + _COLUMNS_PER_BLOCK)
            vectors[rows] = (np.asarray(embeddings[rows], np.float32) - self.mean) @ self.axes
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors


@dataclass(frozen=True, eq=False)
class Space:
    """Embeddings in few dimensions, and who is near whom there."""

    axes: Axes
    vectors: NDArray[np.float32]  # (num_images, num_axes), of length 1
    neighbours: Neighbours


def principal_space(embeddings: NDArray[Any], *, num_axes: int = 128, num_neighbours: int = 10) -> Space:
    """The embeddings along their principal axes, each scaled to length 1, and the nearest pictures of each.

    Args:
        embeddings: (num_images, embedding_size); read in chunks, may be a file larger than the memory.
        num_axes: fewer where there are fewer pictures or numbers.
        num_neighbours: of each picture.
    """
    axes = principal_axes(embeddings, num_axes=num_axes)
    vectors = axes.vectors(embeddings)
    return Space(axes, vectors, nearest(vectors, vectors, num_neighbours))


def principal_axes(embeddings: NDArray[Any], *, num_axes: int = 128) -> Axes:
    """The axes along which embeddings differ most.

    Products of 128 numbers cost a tenth of those of 1,280, and what is left out is mostly noise. The axes are found on at
    most 2,000 pictures, evenly chosen, by a few steps of subspace iteration: their span matters, not each of them.

    Args:
        embeddings: (num_images, embedding_size).
        num_axes: fewer where there are fewer pictures or numbers.
    """
    sample = np.asarray(embeddings[:: -(-len(embeddings) // _MOST_FOR_AXES)], np.float32)
    mean = sample.mean(axis=0)
    centred = sample - mean
    with own_threads() as pool:
        products = sum(pool.map(lambda rows: centred[rows].T @ centred[rows], slices(len(centred), _MOST_FOR_AXES // 2)))
        axes = np.random.default_rng(0).standard_normal((len(products), min(num_axes, len(products)))).astype(np.float32)
        for _ in range(_AXIS_STEPS):
            axes, _ = np.linalg.qr(products @ axes)
    return Axes(mean, axes)


def nearest(queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, *, skip_self: bool = True) -> Neighbours:
    """The `k` rows of `vectors` with the largest product with each row of `queries`.

    Args:
        queries: (num_queries, size).
        vectors: (num_images, size).
        k: at most num_images, less one if the row itself is skipped.
        skip_self: query i is row i of `vectors`, and no neighbour of itself.
    """
    count = len(vectors)
    k = min(k, count - skip_self)
    positions = np.zeros((len(queries), k), np.int64)
    similarities = np.full((len(queries), k), -np.inf, np.float32)
    if k <= 0:
        return Neighbours(positions, similarities)

    def of_rows(start: int) -> None:
        rows = slice(start, min(start + _ROWS_PER_BLOCK, len(queries)))
        best, best_of = np.full((rows.stop - start, 0), 0, np.float32), np.zeros((rows.stop - start, 0), np.int64)
        for first in range(0, count, _COLUMNS_PER_BLOCK):
            products = queries[rows] @ vectors[first : first + _COLUMNS_PER_BLOCK].T
            if skip_self:
                own = np.arange(max(start, first), min(rows.stop, first + products.shape[1]))
                products[own - start, own - first] = -np.inf
            top = _largest(products, min(k, products.shape[1]))
            best = np.concatenate([best, np.take_along_axis(products, top, axis=1)], axis=1)
            best_of = np.concatenate([best_of, top + first], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :k]
        positions[rows] = np.take_along_axis(best_of, order, axis=1)
        similarities[rows] = np.take_along_axis(best, order, axis=1)

    with own_threads() as pool:
        list(pool.map(of_rows, range(0, len(queries), _ROWS_PER_BLOCK)))
    return Neighbours(positions, similarities)


def _largest(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns of the `k` largest values of each row, in any order; some five times as fast as partitioning whole rows.

    The columns are dealt into groups. The k groups with the largest maxima hold the k largest values, and only they are
    partitioned.
    """
    num_rows, num_columns = values.shape
    num_groups = num_columns // _COLUMNS_PER_GROUP
    if num_groups <= k:
        return np.argpartition(values, -k, axis=1)[:, -k:]
    dealt = num_groups * _COLUMNS_PER_GROUP
    maxima = values[:, :dealt].reshape(num_rows, _COLUMNS_PER_GROUP, num_groups).max(axis=1)
    groups = np.argpartition(maxima, -k, axis=1)[:, -k:]
    columns = (groups[:, :, None] + num_groups * np.arange(_COLUMNS_PER_GROUP)).reshape(num_rows, -1)
    left = np.broadcast_to(np.arange(dealt, num_columns), (num_rows, num_columns - dealt))
    columns = np.concatenate([columns, left], axis=1)
    candidates = np.take_along_axis(values, columns, axis=1)
    return np.take_along_axis(columns, np.argpartition(candidates, -k, axis=1)[:, -k:], axis=1)
