"""How the learning rate moves while training."""

from __future__ import annotations

from typing import Any

import keras


def warmup_cosine(learning_rate: float, *, warmup_steps: int, total_steps: int) -> Any:
    """A Keras schedule: a straight line from 0 to `learning_rate`, then half a cosine down to 0 at `total_steps`.

    Source: Loshchilov and Hutter 2017, https://arxiv.org/abs/1608.03983; warm-up after Goyal et al. 2017,
    https://arxiv.org/abs/1706.02677.
    """
    warmup_steps = min(warmup_steps, total_steps - 1)
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(learning_rate, decay_steps=total_steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=total_steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
    )
