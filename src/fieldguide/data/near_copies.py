"""Near-copies: the same picture re-encoded, resized, slightly cropped, recoloured or mirrored.

Candidates come from two sides: a perceptual hash (the signs of the sketch's low frequencies; mirroring turns some of them) and,
where there are any, embeddings. A candidate is believed when the two sketches correlate, one of them mirrored or cropped if
need be. The thresholds were chosen on planted copies (`benchmarks/audit.py`, seeds other than the reported ones).
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.looks import SKETCH_SIZE
from fieldguide.data.neighbours import Space
from fieldguide.data.parallel import own_threads

CROPS = (0.96, 0.92, 0.88)  # of each side, that are looked for

_HASH_SIDE = 8  # low frequencies in each direction
_DIFFERENT_BITS = 10  # of 63: up to here the sketches are compared
_MOST_COMPARED, _NUM_PIECES, _MOST_OF_A_PIECE = 20_000, 5, 200  # hashes; above that pieces of them are looked up
_NUM_CANDIDATES = 8  # of one picture in one block; a larger set hangs together through its members

# Two pictures are copies where they fit much better than different pictures of this folder usually do.
_USUAL_RANK = 10  # of a neighbour that is hardly a copy
_USUAL_SHARE = 0.95  # of such neighbours fit less
_MOST_USUAL_FIT, _MOST_USUAL_COSINE = 0.96, 0.9  # silhouettes have 0.95 and 0.89; above, the neighbours are copies themselves
_MOST_SAMPLED = 400  # pictures, to see what is usual
_FIT_ALONE, _FIT_STEP = 0.95, 7 / 8  # at least; and of the way from what is usual to 1
_FIT_WITH_EMBEDDING, _FIT_STEP_WITH_EMBEDDING = 0.86, 4 / 5  # where the embeddings are near each other as well
_COSINE_STEP = 1 / 4  # of embeddings in their principal axes
_FLAT = 2.0  # grey levels: a sketch with less deviation has nothing to compare
_PAIRS_PER_BLOCK, _PAIRS_AT_ONCE = 128, 16_384
_ROWS_PER_BLOCK, _COLUMNS_PER_BLOCK = 64, 4096  # of hashes: what is computed of a block stays in the processor's cache


def near_copy_groups(sketches: Sequence[bytes], space: Space | None = None) -> list[list[int]]:
    """Sets of pictures that are near-copies (or exact copies) of each other.

    Args:
        sketches: one per picture, from `fieldguide.data.looks`.
        space: the embeddings; None compares whole sketches alone, which misses crops.

    Returns:
        Ascending positions, one list for each set of two or more.
    """
    grey = np.frombuffer(b"".join(sketches), np.uint8).reshape(-1, SKETCH_SIZE, SKETCH_SIZE).astype(np.float32)
    not_flat = np.flatnonzero(grey.std(axis=(1, 2)) >= _FLAT)
    if len(not_flat) < 2:
        return []
    hashes, mirrored = perceptual_hashes(grey[not_flat])
    found = [not_flat[alike_hashes(hashes, hashes)], not_flat[alike_hashes(hashes, mirrored)]]
    usual_cosine = 1.0
    if space is not None:
        usual_cosine = min(float(np.quantile(space.neighbours.similarities[:, -1], _USUAL_SHARE)), _MOST_USUAL_COSINE)
        rows, columns = np.nonzero(space.neighbours.similarities >= _above(usual_cosine, _COSINE_STEP))
        found.append(np.sort(np.stack([rows, space.neighbours.positions[rows, columns]], axis=1), axis=1))
    pairs = _unique_pairs(found, len(grey))
    usual_fit = _usual_fit(grey[not_flat], hashes, mirrored)
    enough, enough_with_embedding = (
        max(least, _above(usual_fit, step))
        for least, step in ((_FIT_ALONE, _FIT_STEP), (_FIT_WITH_EMBEDDING, _FIT_STEP_WITH_EMBEDDING))
    )
    copies = [np.empty((0, 2), np.int64)]
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):  # what is compared of a pair takes 9 KiB
        some = pairs[start : start + _PAIRS_AT_ONCE]
        first, second = some[:, 0], some[:, 1]
        is_copy = correlation(grey[first], grey[second], crops=()) >= enough
        if space is not None:
            cosines = np.einsum("pi,pi->p", space.vectors[first], space.vectors[second])
            likely = np.flatnonzero((cosines >= _above(usual_cosine, _COSINE_STEP)) & ~is_copy)
            is_copy[likely] = correlation(grey[first[likely]], grey[second[likely]]) >= enough_with_embedding
        copies.append(some[is_copy])
    return linked(len(grey), np.concatenate(copies).tolist())


def _unique_pairs(found: Sequence[NDArray[np.int64]], count: int) -> NDArray[np.int64]:
    """All pairs (num_pairs, 2) of 0 .. count - 1, each once, in ascending order."""
    keys = np.unique(np.concatenate([pairs[:, 0] * count + pairs[:, 1] for pairs in found]))
    return np.stack(np.divmod(keys, count), axis=1)


def _above(usual: float, step: float) -> float:
    """A limit that lies `step` of the way from what is usual in this folder to 1."""
    return usual + step * (1.0 - usual)


def _usual_fit(grey: NDArray[np.float32], hashes: NDArray[np.uint64], mirrored: NDArray[np.uint64]) -> float:
    """How well the sketches of different pictures fit here: those of a picture and of its tenth nearest by hash.

    Not the nearest: it may be a copy. Photographs hardly fit; silhouettes on one background fit nearly as well as copies do.
    """
    sample = np.arange(0, len(grey), -(-len(grey) // _MOST_SAMPLED))
    different = np.minimum(
        np.bitwise_count(hashes[sample, None] ^ hashes[None]), np.bitwise_count(hashes[sample, None] ^ mirrored[None])
    )
    different[np.arange(len(sample)), sample] = 64
    rank = min(_USUAL_RANK, len(grey) // 2) - 1
    others = np.argpartition(different, rank, axis=1)[:, rank]
    usual = float(np.quantile(correlation(grey[sample], grey[others], crops=()), _USUAL_SHARE))
    return min(max(usual, 0.0), _MOST_USUAL_FIT)


def perceptual_hashes(grey: NDArray[np.float32]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """The 63 bits of each sketch (num_images, 32, 32), and those of its mirror image.

    A bit is the sign of one of the lowest frequencies but the constant one; mirroring turns the sign of every other column.
    """
    frequencies, places = np.arange(_HASH_SIDE)[:, None], np.arange(SKETCH_SIZE) + 0.5
    cosines = np.cos(np.pi / SKETCH_SIZE * frequencies * places).astype(np.float32)  # (8, 32)
    low = (cosines @ grey @ cosines.T).reshape(len(grey), -1)[:, 1:]
    signs = np.tile((-1.0) ** np.arange(_HASH_SIDE), _HASH_SIDE)[1:]
    weights = np.uint64(1) << np.arange(63, dtype=np.uint64)
    return (low > 0) @ weights, (low * signs > 0) @ weights


def alike_hashes(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Pairs (num_pairs, 2), first < second, where at most `_DIFFERENT_BITS` bits differ between hash and other.

    Of the pairs of one picture within one block of others only the nearest few are kept, so that a film of thousands of
    like pictures gives a number of pairs that grows with its length, not with its square. Above some size not all pairs are
    compared but those that agree in one of five pieces of the hash: any with up to four different bits, most with more.
    """
    if len(hashes) > _MOST_COMPARED:
        return _alike_in_a_piece(hashes, others)

    def of_rows(row: int) -> list[NDArray[np.int64]]:
        found = []
        mine = hashes[row : row + _ROWS_PER_BLOCK, None]
        for column in range(row - row % _COLUMNS_PER_BLOCK, len(others), _COLUMNS_PER_BLOCK):
            different = np.bitwise_count(mine ^ others[None, column : column + _COLUMNS_PER_BLOCK])
            is_alike = different <= _DIFFERENT_BITS
            if not is_alike.any():
                continue
            rows, columns = np.nonzero(is_alike)
            is_wanted = rows + row < columns + column
            rows, columns = rows[is_wanted], columns[is_wanted]
            found.append(_nearest_few(rows + row, columns + column, different[rows, columns]))
        return found

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        parts = [part for found in pool.map(of_rows, range(0, len(hashes), _ROWS_PER_BLOCK)) for part in found]
    return np.concatenate([np.empty((0, 2), np.int64), *parts])


def _nearest_few(rows: NDArray[np.int64], columns: NDArray[np.int64], different: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Of the pairs (row, column) of each row those with the fewest different bits."""
    order = np.lexsort((different, rows))
    rows, columns = rows[order], columns[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return np.stack([rows, columns], axis=1)[rank < _NUM_CANDIDATES]


def _alike_in_a_piece(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    found = []
    bounds = np.linspace(0, 63, _NUM_PIECES + 1).astype(np.uint64)
    for low, high in itertools.pairwise(bounds):
        mask = (np.uint64(1) << (high - low)) - np.uint64(1)
        keys, other_keys = (hashes >> low) & mask, (others >> low) & mask
        order = np.lexsort((others, other_keys))
        first = np.searchsorted(other_keys[order], keys, side="left")
        counts = np.minimum(np.searchsorted(other_keys[order], keys, side="right") - first, _MOST_OF_A_PIECE)
        for start in range(0, len(hashes), _COLUMNS_PER_BLOCK):
            some = slice(start, start + _COLUMNS_PER_BLOCK)
            rows = np.repeat(np.arange(len(hashes))[some], counts[some])
            steps = np.arange(len(rows)) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
            columns = order[np.repeat(first[some], counts[some]) + steps]
            different = np.bitwise_count(hashes[rows] ^ others[columns])
            is_alike = (rows < columns) & (different <= _DIFFERENT_BITS)
            found.append(_nearest_few(rows[is_alike], columns[is_alike], different[is_alike]))
    return _unique_pairs(found, len(hashes))


def correlation(first: NDArray[np.float32], second: NDArray[np.float32], crops: Sequence[float] = CROPS) -> NDArray[np.float32]:
    """How well pairs of sketches fit: the largest correlation over mirroring, and over cropping one of the two.

    Args:
        first: (num_pairs, 32, 32).
        second: (num_pairs, 32, 32).
        crops: of each side; nine windows of each are tried. Empty compares whole pictures.

    Returns:
        (num_pairs,), in [-1, 1]; unchanged by brightness and contrast; 0 where a sketch is flat.
    """
    resamplings = [_resampling(crop) for crop in crops]
    result = np.empty(len(first), np.float32)

    def of_block(start: int) -> None:
        rows = slice(start, start + _PAIRS_PER_BLOCK)
        a, b = _unit(first[rows]), _unit(second[rows])
        fits = [np.einsum("pij,pij->p", a, b), np.einsum("pij,pij->p", a[:, :, ::-1], b)]
        for whole, cut in ((a, b), (b, a)):
            for resampling in resamplings:
                windows = (resampling @ cut @ resampling.T).reshape(len(cut), 3, SKETCH_SIZE, 3, SKETCH_SIZE)
                averaging = resampling.reshape(3, SKETCH_SIZE, SKETCH_SIZE).mean(axis=1)
                mean = averaging @ cut @ averaging.T
                squares = np.einsum("pyixj,pyixj->pyx", windows, windows)
                length = np.sqrt(np.maximum(squares - SKETCH_SIZE**2 * mean**2, 1e-12))
                for turned in (whole, whole[:, :, ::-1]):  # the mirrored windows are the windows of the mirror image
                    product = np.einsum("pij,pyixj->pyx", turned, windows)  # mean 0, so that the windows' drops out
                    fits.append((product / length).max(axis=(1, 2)))
        result[rows] = np.max(fits, axis=0)

    with own_threads() as pool:
        list(pool.map(of_block, range(0, len(first), _PAIRS_PER_BLOCK)))
    return result


def linked(count: int, pairs: Iterable[Sequence[int]]) -> list[list[int]]:
    """The sets of two or more that pairs of 0 .. count - 1 hang together in, in ascending order."""
    parent = list(range(count))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        a, b = find(i), find(j)
        parent[max(a, b)] = min(a, b)
    members: dict[int, list[int]] = defaultdict(list)
    for i in range(count):
        members[find(i)].append(i)
    return [group for group in members.values() if len(group) > 1]


def _resampling(crop: float) -> NDArray[np.float32]:
    """(3 * 32, 32): linear interpolation of windows that are `crop` long, at the start, in the middle and at the end."""
    starts = np.array([0.0, 0.5, 1.0]) * (1 - crop) * SKETCH_SIZE
    places = starts[:, None] + (np.arange(SKETCH_SIZE) + 0.5) * crop - 0.5
    wanted = places.clip(0, SKETCH_SIZE - 1).ravel()
    weights = np.maximum(1.0 - np.abs(wanted[:, None] - np.arange(SKETCH_SIZE)), 0.0)
    return np.asarray(weights, np.float32)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean 0 and length 1 over the last two axes; zeros where there is no contrast."""
    centred = values - values.mean(axis=(-2, -1), keepdims=True)
    length = np.sqrt(np.square(centred).sum(axis=(-2, -1), keepdims=True))
    return np.asarray(np.where(length >= _FLAT * SKETCH_SIZE, centred / np.maximum(length, 1e-6), 0.0), np.float32)
