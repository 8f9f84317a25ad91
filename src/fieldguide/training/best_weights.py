"""A Keras callback that averages the weights, validates with the average, and keeps the best of all epochs, or the last."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fieldguide.errors import RecipeError

Row = dict[str, float | int]

_STEPS_PER_MOVE = 4  # of the average; at each step it costs a twentieth of the training


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Averages the weights as they move, validates with the average, and keeps the best average of all epochs.

    Where nothing is validated, it keeps the average of the last epoch.

    The average includes the moving statistics of batch normalisation, so that it can be used as it stands. With
    `average_momentum` 0 it is the weights themselves. Source: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046.

    Attributes:
        history: a row per epoch: epoch, loss, accuracy, val_loss and val_accuracy where it was validated, learning_rate,
            seconds.
        best_epoch: counted from 1; 0 before the first has ended.
        diverged: whether the loss stopped being a number.
    """

    def __init__(self, *, average_momentum: float) -> None:
        super().__init__()
        self.history: list[Row] = []
        self.best_epoch = 0
        self.diverged = False
        self._momentum = average_momentum
        self._average: list[Any] = []  # tf.Variable
        self._moving: list[NDArray[np.float32]] = []  # what training goes on with after validation
        self._best: list[NDArray[np.float32]] = []
        self._num_steps = self._num_averaged = 0  # steps done, and those of them that the average knows
        self._seconds_before = 0.0  # of this epoch, in a process that was killed
        self._started = 0.0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Starts the average where the weights are."""
        if not self._average:
            self._average = [tf.Variable(weight) for weight in self._copy_weights()]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts, and moves the average if it is time."""
        self._num_steps += 1
        if self._num_steps % _STEPS_PER_MOVE == 0:
            self._catch_up()

    def _catch_up(self) -> None:
        """Moves the average for all steps since the last move; the first count more: the random start is not dragged along."""
        steps, self._num_averaged = self._num_steps - self._num_averaged, self._num_steps
        if steps:
            momentum = min(self._momentum, self._num_steps / (self._num_steps + 9)) ** steps
            self._move(tf.constant(1 - momentum, tf.float32))

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]  # one call, on all cores: in Python it cost as much as the step
    def _move(self, rate: Any) -> None:
        for average, weight in zip(self._average, self.model.weights, strict=True):
            if average.dtype.is_floating:
                average.assign_add(tf.cast(rate, average.dtype) * (weight.value - average))
            else:  # a counter, of which there is no average
                average.assign(weight.value)

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Puts the average in the place of the weights."""
        self._catch_up()
        self._moving = self._copy_weights()
        self._put(_copies(self._average))

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Puts the weights back."""
        self._put(self._moving)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's row and keeps the average if it is the best so far.

        Raises:
            RecipeError: if the loss is not a number and no epoch before was better.
        """
        logs = logs or {}
        names = [name for name in ("loss", "accuracy", "val_loss", "val_accuracy") if name in logs]
        if not all(math.isfinite(logs[name]) for name in names):
            if not self.history:
                raise RecipeError(
                    f"The loss became {logs['loss']} in the first epoch.\nhint: lower learning_rate, as by a factor of 10."
                )
            self.diverged = True
            self.model.stop_training = True
            return
        self._catch_up()
        row: Row = {"epoch": epoch + 1}
        row |= {name: float(logs[name]) for name in names}
        row["learning_rate"] = float(self.model.optimizer.learning_rate.numpy())
        row["seconds"] = self._seconds()
        self._seconds_before, self._started = 0.0, time.perf_counter()
        if not self.history or _rank(row) > _rank(self.history[self.best_epoch - 1]):
            self.best_epoch = epoch + 1
            self._best = _copies(self._average)
        self.history.append(row)

    def restore(self) -> None:
        """Puts the best weights into the model."""
        self._put(self._best)

    def state(self) -> tuple[dict[str, list[NDArray[np.float32]]], dict[str, Any]]:
        """Everything this callback knows, as lists of arrays and as plain values; what `set_state` takes."""
        values = {
            "history": self.history,
            "best_epoch": self.best_epoch,
            "diverged": self.diverged,
            "num_steps": self._num_steps,
            "num_averaged": self._num_averaged,
            "seconds_of_epoch": self._seconds(),
        }
        return {"average": _copies(self._average), "best": self._best}, values

    def set_state(self, arrays: Mapping[str, list[NDArray[np.float32]]], values: Mapping[str, Any]) -> None:
        """Takes up what `state` gave."""
        self._average = [tf.Variable(array.copy()) for array in arrays["average"]]
        self._best = [array.copy() for array in arrays["best"]]
        self.history = [dict(row) for row in values["history"]]
        self.best_epoch, self.diverged, self._num_steps = (values[n] for n in ("best_epoch", "diverged", "num_steps"))
        self._num_averaged = values.get("num_averaged", self._num_steps)  # older checkpoints knew all of them
        self._seconds_before = values["seconds_of_epoch"]

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

    def _copy_weights(self) -> list[NDArray[np.float32]]:
        return _copies(self.model.weights)

    def _put(self, values: list[NDArray[np.float32]]) -> None:
        for weight, value in zip(self.model.weights, values, strict=True):
            weight.assign(value)


def _copies(variables: Sequence[Any]) -> list[NDArray[np.float32]]:
    return [np.array(variable.numpy()) for variable in variables]


def _rank(row: Row) -> tuple[float, float]:
    return (row["val_accuracy"], -row["val_loss"]) if "val_accuracy" in row else (row["epoch"], 0.0)
