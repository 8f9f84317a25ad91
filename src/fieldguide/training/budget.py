"""Training by the clock: the schedule follows the time that has passed, and the last validation ends when it is up."""

from __future__ import annotations

import math
import time

import keras

FEWEST_WARMUP_STEPS = 20  # Adam's first steps move each weight by all of the rate, and are far too long at its peak
VALIDATION_SPEEDUP = 2.0  # a validated picture against a trained one, until the first validation has been timed


class TimeBudget(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Sets the learning rate by the share of the time that has passed, and ends training in time for a last validation.

    The rate is that of `schedules.warmup_cosine`, with time in the place of steps: how many steps there will be is not
    known, and changes with whatever else the machine does. The first `FEWEST_WARMUP_STEPS` rise to it in any case.

    Args:
        deadline: by `time.perf_counter`, when training has to have ended.
        learning_rate: peak.
        warmup_share: of the time, in [0, 1).
        validation_share: pictures to validate for each picture of an epoch.

    Attributes:
        share: of the time that had passed when training was cut off, in [0, 1]; set by whoever takes it up again.
    """

    def __init__(self, *, deadline: float, learning_rate: float, warmup_share: float, validation_share: float) -> None:
        super().__init__()
        self._deadline, self._peak, self._warmup_share = deadline, learning_rate, warmup_share
        self._validation_share = validation_share
        self._share_before = 0.0
        self._started = time.perf_counter()
        self._validation_started = self._started
        self._validation_seconds: float | None = None
        self._steps_of_epoch = 0
        self._step_ended = self._first_step_ended = self._started
        self._step_seconds = 0.0

    @property
    def share(self) -> float:
        """Of the time that has passed, in [0, 1]."""
        available = max(self._deadline - self._started, 1e-3)
        passed = (time.perf_counter() - self._started) / available
        return min(1.0, self._share_before + (1.0 - self._share_before) * passed)

    @share.setter
    def share(self, value: float) -> None:
        # What is left is what was left: a training that goes on has its own beginning, and a later deadline.
        self._deadline = self._started + (1.0 - value) * max(self._deadline - self._started, 1e-3)
        self._share_before = value

    @property
    def is_over(self) -> bool:
        """Whether there is no time for another step and its validation."""
        return time.perf_counter() + self._step_seconds + self._reserve() >= self._deadline

    def num_epochs(self, num_ended: int) -> float:
        """How many epochs there will be, if so many have ended by now; 0 before the first has."""
        return num_ended / max(self.share, 1e-6)

    def rate(self) -> float:
        """The learning rate of this moment."""
        share = self.share
        if share < self._warmup_share:
            return self._peak * share / self._warmup_share
        return self._peak * 0.5 * (1.0 + math.cos(math.pi * (share - self._warmup_share) / (1.0 - self._warmup_share)))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the steps of the epoch."""
        self._steps_of_epoch = 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Sets the rate."""
        optimizer = self.model.optimizer
        risen = min(1.0, (int(optimizer.iterations.numpy()) + 1) / FEWEST_WARMUP_STEPS)
        optimizer.learning_rate = risen * self.rate()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Ends the epoch, and with it the training, where the time that is left is that of a validation."""
        now = time.perf_counter()
        if self._steps_of_epoch:  # the first one builds the graph, or waits for pictures
            self._step_seconds = now - self._step_ended
        else:
            self._first_step_ended = now
        self._step_ended = now
        self._steps_of_epoch += 1
        if self.is_over:
            self.model.stop_training = True

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Starts the clock of the validation."""
        self._validation_started = time.perf_counter()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Remembers how long a validation takes."""
        self._validation_seconds = time.perf_counter() - self._validation_started

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Begins no epoch that could not be validated."""
        if self.is_over:
            self.model.stop_training = True

    def _reserve(self) -> float:
        """Seconds that a validation is expected to take."""
        if self._validation_seconds is not None:
            return self._validation_seconds
        if self._steps_of_epoch < 2:
            return 0.0
        seconds_per_step = (self._step_ended - self._first_step_ended) / (self._steps_of_epoch - 1)
        return float(seconds_per_step * self.params["steps"] * self._validation_share / VALIDATION_SPEEDUP)
