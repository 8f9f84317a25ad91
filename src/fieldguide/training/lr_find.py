"""The learning-rate finder: a short training whose rate grows with each batch, until the loss explodes.

Source: Smith 2015, https://arxiv.org/abs/1506.01186, section 3.3; with a geometric growth and a smoothed loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import RecipeError
from fieldguide.training.input import training_batches
from fieldguide.training.loop import LoopSettings, compile_model

SMOOTHING = 0.9  # share of the smoothed loss that stays with each batch
EXPLODED = 4.0  # times the lowest smoothed loss
_FEWEST_BATCHES = 8  # that a slope can be told from


@dataclass(frozen=True)
class Sweep:
    """The rates that were tried, and what came of them."""

    learning_rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls steepest over the logarithm of the rate, before its lowest point."""
        logs, smoothed = np.log(self.learning_rates), np.array(self.smoothed)
        # A line through each piece of a sixth of the range: from one batch to the next the loss goes up and down by chance.
        half = max(1, len(smoothed) // 12)
        last = min(max(int(smoothed.argmin()), half), len(smoothed) - 1 - half)
        centers = range(half, last + 1)
        slopes = [np.polyfit(logs[i - half : i + half + 1], smoothed[i - half : i + half + 1], 1)[0] for i in centers]
        return self.learning_rates[centers[int(np.argmin(slopes))]]


def sweep(
    model: Any,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    settings: LoopSettings,
    seed: int,
    lowest: float,
    highest: float,
    num_batches: int,
) -> Sweep:
    """Trains `model` in place, from the lowest rate to the highest or until the loss is four times its lowest.

    Raises:
        RecipeError: if the loss explodes before a slope could be seen.
    """
    rates = np.geomspace(lowest, highest, num_batches)
    recorder = _Recorder(rates)
    compile_model(model, settings, settings.learning_rate)
    batches = training_batches(
        pixels,
        labels,
        num_classes=model.output_shape[-1],
        batch_size=settings.batch_size,
        seed=seed,
        augmentation=settings.augmentation,
    )
    model.fit(batches, steps_per_epoch=num_batches, epochs=1, callbacks=[recorder], shuffle=False, verbose=0)
    if len(recorder.losses) < _FEWEST_BATCHES:
        raise RecipeError(f"The loss exploded after {len(recorder.losses)} batches.\nhint: begin with a lower rate.")
    tried = tuple(float(rate) for rate in rates[: len(recorder.losses)])
    return Sweep(tried, tuple(recorder.losses), tuple(smooth(recorder.losses)))


def smooth(losses: Sequence[float]) -> list[float]:
    """The exponential average of the losses so far, its start from zero corrected for."""
    result, average = [], 0.0
    for count, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        result.append(average / (1 - SMOOTHING**count))
    return result


class _Recorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    def __init__(self, rates: NDArray[np.float64]) -> None:
        super().__init__()
        self._rates = rates
        self.losses: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.model.reset_metrics()  # so that the loss is this batch's, not the mean so far
        self.model.optimizer.learning_rate = float(self._rates[batch])

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {})["loss"])
        if not math.isfinite(loss):
            self.model.stop_training = True
            return
        self.losses.append(loss)
        smoothed = smooth(self.losses)
        if smoothed[-1] > EXPLODED * min(smoothed):
            self.model.stop_training = True
