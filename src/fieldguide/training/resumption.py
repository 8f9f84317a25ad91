"""A Keras callback that saves the whole state of a training, and takes it up again in the middle of an epoch.

What a batch is depends on (seed, epoch, step) alone, so the position is all there is to know of the input. The rest is
every variable that a step reads or writes: weights and batch-norm statistics, the states of dropout's generators, the
optimizer's variables, the metrics of the epoch so far, and what `BestWeights` has collected.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import RecipeError
from fieldguide.training.best_weights import BestWeights
from fieldguide.training.budget import TimeBudget
from fieldguide.training.checkpoint import INTERVAL_SECONDS, Checkpoint, WorkCounter
from fieldguide.training.interruption import Interruption
from fieldguide.training.session import Session


class Stopped(Exception):
    """Leaves Keras's `fit` between two steps, after a signal; the state has been saved."""


class Resumption(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Saves at least every `INTERVAL_SECONDS` of work, and ends training when a signal has come.

    It must come after `best` in the list of callbacks.

    Args:
        model: compiled.
        best: whose state is saved with the model's.
        steps_per_epoch: number of batches.
        session: whose checkpoints are used.
        interruption: looked at after each step.
        budget: whose share of the time is saved, where there is one.

    Attributes:
        epoch: of the next step, counted from 0.
        step: the next one in this epoch; `steps_per_epoch` where all are done and the validation is not.
        num_steps: done in all epochs, each counted once.
        counter: of the work of all processes of this run; None without checkpoints.
    """

    def __init__(
        self,
        model: Any,
        best: BestWeights,
        *,
        steps_per_epoch: int,
        session: Session,
        interruption: Interruption,
        budget: TimeBudget | None = None,
    ) -> None:
        super().__init__()
        self.epoch = self.step = self.num_steps = 0
        self.counter: WorkCounter | None = None
        self._trained, self._best, self._steps_per_epoch = model, best, steps_per_epoch
        self._session, self._interruption, self._budget = session, interruption, budget
        self._train_logs: Mapping[str, Any] = {}  # of the epoch so far
        self._metrics: list[NDArray[Any]] = []  # of the epoch that was cut off, until it goes on
        self._saved_at = time.perf_counter()

    @property
    def work(self) -> dict[str, int]:
        """What the processes of this run did: `steps`, `repeated_steps` (done before, and lost), `starts`."""
        done, starts = (self.num_steps, 1) if self.counter is None else (self.counter.steps, self.counter.starts)
        return {"steps": self.num_steps, "repeated_steps": max(0, done - self.num_steps), "starts": starts}

    def restore(self, batch: Any) -> None:
        """Takes up the newest checkpoint, if there is one.

        Args:
            batch: dataset of one batch, for Keras makes a metric's variables when it first sees a batch.

        Raises:
            RecipeError: if it belongs to another training, or to another version of the architecture.
        """
        checkpoints = self._session.checkpoints
        if checkpoints is None:
            return
        found = checkpoints.load()
        self.counter = WorkCounter(checkpoints.directory / "work.txt")
        if found is None:
            return
        state = found.state
        self.epoch, self.step, self.num_steps = state["epoch"], state["step"], found.step
        if self._budget is not None:
            self._budget.share = state["share"]
        self._train_logs = {name: math.nan if value is None else value for name, value in state["train_logs"].items()}
        self._best.set_state(_grouped(found.tensors, ("average", "best")), state["best"])
        model = self._trained
        model.optimizer.build(model.trainable_variables)
        _assign(model.variables, found.tensors, "model")
        _assign(model.optimizer.variables, found.tensors, "optimizer")
        if 0 < self.step < self._steps_per_epoch:
            model.evaluate(batch, verbose=0)
            self._metrics = _grouped(found.tensors, ("metrics",))["metrics"]
        self._session.say(f"going on after step {self.step} of epoch {self.epoch + 1}")

    def finish_epoch(self, validation: Any) -> None:
        """Validates, where an epoch was cut off after its last step.

        Args:
            validation: None where nothing is validated.

        Raises:
            Stopped: if a signal has come.
        """
        epoch, logs = self.epoch, self._validate(validation, [self._best, self])
        self._best.on_epoch_end(epoch, logs)
        self.on_epoch_end(epoch, logs)

    def validate_as_it_stands(self, validation: Any) -> None:
        """Gives an epoch that was cut off its row in the history, for want of another."""
        self._best.on_epoch_end(self.epoch, self._validate(validation, [self._best]))

    def _validate(self, validation: Any, callbacks: Sequence[Any]) -> dict[str, float]:
        """The logs of an epoch whose training is done, as Keras gives them to `on_epoch_end`."""
        if validation is None:
            return self._plain_train_logs()
        logs = self._trained.evaluate(validation, callbacks=list(callbacks), return_dict=True, verbose=0)
        return {**self._plain_train_logs(), **{f"val_{name}": value for name, value in logs.items()}}

    def _plain_train_logs(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._train_logs.items()}

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Puts back the metrics of an epoch that goes on; Keras has just set them to zero."""
        if self._metrics:
            _assign_all(self.model.metrics_variables, self._metrics, "metrics")
            self._metrics = []

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the position, and saves if it is time.

        Raises:
            Stopped: if a signal has come.
        """
        self.step += 1
        self.num_steps += 1
        self._train_logs = logs or {}
        if self.counter is not None:
            self.counter.count_step()
        if self._interruption.signal_name is not None:
            self.save()
            raise Stopped
        self._save_if_due()

    def on_test_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Ends validation early.

        Raises:
            Stopped: if a signal has come.
        """
        if self._interruption.signal_name is not None:
            self._best.on_test_end()  # the weights go back into the model, the average out of it
            self.save()
            raise Stopped

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Moves on to the next epoch, and saves if it is time."""
        self.epoch, self.step, self._train_logs = epoch + 1, 0, {}
        self._save_if_due()

    def close(self) -> None:
        """Closes the file of the counter."""
        if self.counter is not None:
            self.counter.close()

    def save(self) -> None:
        """Saves the state; at the end as well, so that what comes after training does not have to wait for it again."""
        checkpoints = self._session.checkpoints
        if checkpoints is None:
            return
        arrays, values = self._best.state()
        groups: dict[str, Sequence[Any]] = {
            "model": self._trained.variables,
            "optimizer": self._trained.optimizer.variables,
            "metrics": self._trained.metrics_variables if 0 < self.step < self._steps_per_epoch else (),
            **arrays,
        }
        tensors = {
            f"{group}/{position:05d}": np.asarray(variable)
            for group, variables in groups.items()
            for position, variable in enumerate(variables)
        }
        logs = {name: value if math.isfinite(value) else None for name, value in self._plain_train_logs().items()}
        share = 0.0 if self._budget is None else self._budget.share
        state = {"epoch": self.epoch, "step": self.step, "train_logs": logs, "best": values, "share": share}
        checkpoints.save(Checkpoint(self.num_steps, tensors, state))
        self._saved_at = time.perf_counter()

    def _save_if_due(self) -> None:
        if time.perf_counter() - self._saved_at >= INTERVAL_SECONDS:
            self.save()


def _grouped(tensors: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> dict[str, list[NDArray[Any]]]:
    return {name: [tensors[key] for key in sorted(tensors) if key.startswith(f"{name}/")] for name in names}


def _assign(variables: Sequence[Any], tensors: Mapping[str, NDArray[Any]], group: str) -> None:
    _assign_all(variables, _grouped(tensors, (group,))[group], group)


def _assign_all(variables: Sequence[Any], values: Sequence[NDArray[Any]], group: str) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RecipeError(
            f"The checkpoint's {group} variables are not those of this network.\n"
            "hint: it was made by another version of fieldguide or Keras, or the network is built otherwise now; begin again "
            "in another folder with --out."
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
