"""Evidence as a layer of colour over a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldguide.data.decoding import shrink
from fieldguide.reporting.style import BLUE, ORANGE

STRONGEST = 0.75  # opacity of the layer where the evidence is largest


def overlay(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """(rows, columns) -> (rows, columns, 4) RGBA in [0, 1]: blue for the class, orange against it, clear where neither."""
    strength = np.abs(evidence) / max(float(np.abs(evidence).max()), 1e-9)
    layer = np.empty((*evidence.shape, 4), np.float32)
    layer[..., :3] = np.where(evidence[..., None] > 0, _rgb(BLUE), _rgb(ORANGE))
    layer[..., 3] = STRONGEST * strength
    return layer


def marked(picture: NDArray[np.uint8], evidence: NDArray[np.float32], longest: int) -> NDArray[np.uint8]:
    """The picture with the layer over it, its longer side at most so many pixels: RGB uint8."""
    height, width = picture.shape[:2]
    scale = min(1.0, longest / max(height, width))
    size = (max(1, round(scale * height)), max(1, round(scale * width)))
    layer = overlay(evidence)
    layer[..., :3] *= layer[..., 3:]  # so that clear places bring no colour into their neighbours
    channels = [Image.fromarray(layer[..., c]).resize((size[1], size[0]), Image.Resampling.BILINEAR) for c in range(4)]
    smooth = np.stack([np.asarray(channel) for channel in channels], axis=-1)
    below = shrink(picture, size).astype(np.float32)
    mixed = np.rint(below * (1 - smooth[..., 3:]) + 255 * smooth[..., :3])
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


def _rgb(colour: str) -> NDArray[np.float32]:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)
