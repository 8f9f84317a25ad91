"""A backbone of three blocks with random weights in the place of the published one, so that fine-tuning takes seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fieldguide.models import efficientnet_lite
from fieldguide.models.efficientnet_lite import Block
from fieldguide.models.weights import Weights
from fieldguide.recipes import transfer

BLOCKS = (Block(3, 1, 1, 32, 8), Block(5, 2, 2, 8, 16), Block(3, 1, 2, 16, 16))


def random_weights(name: str) -> Weights:
    """As Lite0 would have, if it had these blocks; convolutions keep the size of what goes through them."""
    rng = np.random.default_rng(0)
    weights: Weights = {}

    def layer(conv: str, kernel_shape: tuple[int, ...], channels: int) -> None:
        fan_in = int(np.prod(kernel_shape)) / channels
        weights[f"{conv}_conv/kernel"] = rng.normal(0, (2 / fan_in) ** 0.5, kernel_shape).astype(np.float32)
        for variable, value in (("gamma", 1.5), ("beta", 0.3), ("moving_mean", 0.2), ("moving_variance", 2.0)):
            weights[f"{conv}_norm/{variable}"] = np.full(channels, value, np.float32)

    layer("stem", (3, 3, 3, 32), 32)
    for number, block in enumerate(BLOCKS, start=1):
        wide = block.filters_in * block.expansion
        if block.expansion > 1:
            layer(f"block{number}_expand", (1, 1, block.filters_in, wide), wide)
        layer(f"block{number}_depthwise", (block.kernel_size, block.kernel_size, wide, 1), wide)
        layer(f"block{number}_project", (1, 1, wide, block.filters_out), block.filters_out)
    layer("top", (1, 1, BLOCKS[-1].filters_out, 64), 64)
    return weights


@pytest.fixture
def small_backbone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Replaces Lite0's blocks and weights, and the cache, which keeps the network under the same name."""
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path / "cache-of-the-small-backbone"))
    monkeypatch.setattr(efficientnet_lite, "LITE0_BLOCKS", BLOCKS)
    monkeypatch.setattr(efficientnet_lite, "TOP_FILTERS", 64)
    monkeypatch.setattr(transfer, "pretrained_weights", random_weights)
