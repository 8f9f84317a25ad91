"""What a picture looks like, in a few numbers and a small grey copy: measured on the pixels while they are decoded anyway.

Everything is measured on luma at a fixed scale (the longer side at most 256), so that a 12-megapixel photo and its web copy
get nearly the same numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LOOKS_VERSION = 2  # part of the cache key: raise it when any number below can come out differently
SKETCH_SIZE = 32

_LONGEST_SIDE = 256
_FRAME_TOLERANCE = 12  # grey levels by which the frame of a JPEG may differ from one colour
_LARGEST_EDGE = 127  # of the Laplacian: what is sharper counts as this


@dataclass(frozen=True)
class Looks:
    """Numbers that tell odd pictures from usual ones."""

    brightness: float  # mean luma, in [0, 1]
    contrast: float  # standard deviation of luma, in [0, 0.5]
    darkest: float  # 5th percentile of luma, in [0, 1]
    brightest: float  # 95th percentile of luma, in [0, 1]
    sharpness: float  # 99th percentile of the Laplacian's size over the range of luma: the sharpest edges count, not the mean
    entropy: float  # of the histogram of luma, in bits, in [0, 8]
    border: float  # share of the area that is a frame of one grey level, in [0, 1]


def look(pixels: NDArray[np.uint8]) -> tuple[Looks, bytes]:
    """The looks of RGB pixels (height, width, 3), and a grey copy of 32 x 32 pixels, squeezed to a square, as bytes."""
    grey, sketch = grey_copies(pixels)
    return measure([grey])[0], sketch


def grey_copies(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bytes]:
    """Luma of RGB pixels at the fixed scale, for `measure`, and the sketch: 32 x 32 pixels as bytes."""
    grey = Image.fromarray(pixels).convert("L")
    factor = -(-max(grey.size) // _LONGEST_SIDE)
    if factor > 1:
        grey = grey.reduce(factor)
    sketch = grey.resize((SKETCH_SIZE, SKETCH_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(grey), sketch.tobytes()


def measure(greys: Sequence[NDArray[np.uint8]]) -> list[Looks]:
    """The looks of each (height, width) of luma; those of one size are measured together, which is what tiny ones need."""
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, grey in enumerate(greys):
        by_shape[grey.shape].append(position)
    result: dict[int, Looks] = {}
    for positions in by_shape.values():
        result |= zip(positions, _measure(np.stack([greys[i] for i in positions])), strict=True)
    return [result[position] for position in range(len(greys))]


def _measure(greys: NDArray[np.uint8]) -> Iterator[Looks]:
    """Of luma (num_images, height, width)."""
    counts = _histograms(greys, 256)  # (num_images, 256)
    shares = counts / greys[0].size
    levels = np.arange(256) / 255
    means = (shares * levels).sum(axis=1)  # no matrix product: BLAS's threads would spin beside the decoding ones
    deviations = np.sqrt(np.maximum((shares * levels * levels).sum(axis=1) - means * means, 0.0))
    entropies = -(shares * np.log2(np.maximum(shares, 1e-300))).sum(axis=1)
    lowest, darkest, brightest, highest = (_reached(counts, share) for share in (0.01, 0.05, 0.95, 0.99))
    sharpness = _sharpest(greys) / np.maximum(highest - lowest, 1)
    columns = (means, deviations, darkest / 255, brightest / 255, sharpness, entropies, _borders(greys))
    for row in np.stack(columns, axis=1).round(4).tolist():
        yield Looks(*(value + 0.0 for value in row))  # + 0.0: no negative zero


def _histograms(values: NDArray[Any], num_levels: int) -> NDArray[np.int64]:
    """(num_images, ...) of 0 .. num_levels - 1 -> (num_images, num_levels)."""
    flat = values.reshape(len(values), -1) + num_levels * np.arange(len(values))[:, None]
    return np.bincount(flat.ravel(), minlength=num_levels * len(values)).reshape(len(values), num_levels)


def _reached(counts: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """(num_images,): the first level up to which that share of the values lies."""
    cumulated = counts.cumsum(axis=1)
    return np.asarray((cumulated < share * cumulated[:, -1:]).sum(axis=1), np.int64)


def _sharpest(greys: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(num_images,): the 99th percentile of the size of the Laplacian, at most 127."""
    if min(greys.shape[1:]) < 3:
        return np.zeros(len(greys), np.int64)
    x = greys.astype(np.int16)
    laplacian = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:] - 4 * x[:, 1:-1, 1:-1]
    sizes = np.minimum(np.abs(laplacian), _LARGEST_EDGE)
    return _reached(_histograms(sizes, _LARGEST_EDGE + 1), 0.99)


def _borders(greys: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(num_images,): the share outside of the box of all that differs from the first pixel."""
    differs = np.abs(greys.astype(np.int16) - greys[:, :1, :1]) > _FRAME_TOLERANCE
    inside = np.ones(len(greys))
    for axis in (2, 1):  # rows, then columns, in which something differs
        lines = differs.any(axis=axis)
        length = lines.shape[1] - lines.argmax(axis=1) - lines[:, ::-1].argmax(axis=1)
        inside *= np.where(lines.any(axis=1), length / lines.shape[1], 0.0)
    return 1.0 - inside
