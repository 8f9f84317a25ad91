"""Four pictures by formula, the same on every machine: integers only, no random generator, no decoder."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def reference_pictures(size: int = 224) -> NDArray[np.uint8]:
    """RGB uint8 (4, size, size, 3): gradients, rings, stripes with blocks, and noise of a linear congruence."""
    y, x = np.mgrid[0:size, 0:size].astype(np.int64)
    gradients = np.stack([x, y, (x + y) // 2], axis=-1)
    squared = (x - size // 3) ** 2 + (y - size // 2) ** 2
    rings = np.stack([squared // 37, squared // 61 + 90, 255 - squared // 91], axis=-1)
    stripes = np.stack([(x // 9 % 2) * 200 + 20, ((x + 2 * y) // 17 % 3) * 100, (x // 28 + y // 28) % 2 * 255], axis=-1)
    noise = np.stack([((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 2**32) >> 24 for c in (1, 2, 3)], axis=-1)
    return (np.stack([gradients, rings, stripes, noise]) % 256).astype(np.uint8)
