"""The resize of fieldguide in NumPy alone, for programs that have no Pillow: antialiased bilinear, as Pillow 13 rounds it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """RGB uint8 (old height, old width, 3) -> RGB uint8 (height, width, 3); the aspect ratio is not kept."""
    old_height, old_width = picture.shape[:2]
    # Pillow takes the axis that saves most first where the height shrinks much more than the width.
    vertical_first = old_height - height > max(0, 2 * (old_width - width))
    result: NDArray[Any] = picture
    for axis, size in [(0, height), (1, width)] if vertical_first else [(1, width), (0, height)]:
        count = result.shape[axis]
        scale = count / size
        centers = (np.arange(size) + 0.5) * scale
        distances = np.abs(np.arange(count)[:, None] + 0.5 - centers)
        weights = np.maximum(1 - distances / max(scale, 1), 0)  # a triangle around each new pixel
        weights = np.floor(weights / weights.sum(axis=0) * 2**22 + 0.5) / 2**22  # as fine as Pillow's
        sums = np.tensordot(result, weights, (axis, 0))  # the new axis comes last
        result = np.floor(np.moveaxis(sums, -1, axis) + 0.5)
    return result.astype(np.uint8)
