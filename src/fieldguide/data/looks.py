"""What a picture looks like, in a few numbers and a small grey copy: measured on the pixels while they are decoded anyway.

Everything is measured on luma at a fixed scale (the longer side at most 256), so that a 12-megapixel photo and its web copy
get nearly the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

LOOKS_VERSION = 1  # part of the cache key: raise it when any number below can come out differently
SKETCH_SIZE = 32

_LONGEST_SIDE = 256
_FRAME_TOLERANCE = 12  # grey levels by which the frame of a JPEG may differ from one colour
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)
_IS_OTHER = [0] * (_FRAME_TOLERANCE + 1) + [255] * (255 - _FRAME_TOLERANCE)


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
    grey = Image.fromarray(pixels).convert("L")
    factor = -(-max(grey.size) // _LONGEST_SIDE)
    if factor > 1:
        grey = grey.reduce(factor)
    sketch = grey.resize((SKETCH_SIZE, SKETCH_SIZE), Image.Resampling.BILINEAR)
    return _measure(grey), sketch.tobytes()


def _measure(grey: Image.Image) -> Looks:
    counts = np.array(grey.histogram(), dtype=np.float64)
    shares = counts / counts.sum()
    cumulated = shares.cumsum()
    levels = _LEVELS
    mean = float(shares @ levels)
    present = shares[shares > 0]
    lowest, darkest, brightest, highest = (int(cumulated.searchsorted(share)) for share in (0.01, 0.05, 0.95, 0.99))
    return Looks(
        brightness=round(mean, 4),
        contrast=round(float(np.sqrt(max(shares @ (levels * levels) - mean * mean, 0.0))), 4),
        darkest=round(darkest / 255, 4),
        brightest=round(brightest / 255, 4),
        sharpness=round(_sharpest(grey) / max(highest - lowest, 1), 4),
        entropy=round(float(-(present @ np.log2(present))), 4) + 0.0,  # + 0.0: no negative zero
        border=round(_border(grey), 4),
    )


def _sharpest(grey: Image.Image) -> int:
    width, height = grey.size
    if min(width, height) < 3:
        return 0
    # Pillow copies the outermost pixels instead of filtering them.
    edges = grey.filter(_LAPLACIAN).crop((1, 1, width - 1, height - 1))
    counts = np.array(edges.histogram())
    of_size = counts[128:].copy()  # sizes 0 .. 127; larger ones are clipped
    of_size[1:] += counts[127:0:-1]
    of_size[127] += counts[0]
    return int(of_size.cumsum().searchsorted(0.99 * counts.sum()))


def _border(grey: Image.Image) -> float:
    corner = Image.new("L", grey.size, grey.getpixel((0, 0)))
    box = ImageChops.difference(grey, corner).point(_IS_OTHER).getbbox()
    if box is None:
        return 1.0
    left, top, right, bottom = box
    return 1.0 - (right - left) * (bottom - top) / (grey.size[0] * grey.size[1])


_LEVELS = np.arange(256) / 255
