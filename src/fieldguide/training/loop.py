"""Trains a Keras model with plain `fit` and keeps the weights that did best on validation pictures."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fieldguide.errors import RecipeError
from fieldguide.training.augmentation import Augmentation
from fieldguide.training.input import steps_per_epoch, training_batches, validation_batches
from fieldguide.training.progress import ProgressBar
from fieldguide.training.schedules import warmup_cosine

WEIGHT_DECAY_EXCLUDES = ["bias", "gamma", "beta"]  # biases and normalisation are not shrunk


@dataclass(frozen=True)
class LoopSettings:
    """What `fit_model` needs to know besides the model and the pictures."""

    epochs: int
    batch_size: int
    optimizer: str  # adamw or sgd
    learning_rate: float  # peak
    weight_decay: float
    label_smoothing: float
    warmup_epochs: float
    average_momentum: float  # of the moving average of the weights; 0 keeps the weights as they are
    augmentation: Augmentation


@dataclass(frozen=True, eq=False)
class LoopResult:
    """What came out; the model holds the best weights."""

    history: tuple[dict[str, float | int], ...]  # epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds
    best_epoch: int  # counted from 1
    interrupted: bool
    notes: tuple[str, ...]


def make_deterministic(seed: int) -> None:
    """Seeds Python, NumPy and TensorFlow, and asks TensorFlow for operations that give the same bytes every time.

    Raises:
        RecipeError: if the seed is out of range, or Keras runs on something else than TensorFlow.
    """
    if not 0 <= seed < 2**32:
        raise RecipeError(f"seed must lie in [0, 2**32); received {seed}.\nhint: any small number will do, as 0.")
    if keras.backend.backend() != "tensorflow":
        raise RecipeError(
            f"Keras was imported with the {keras.backend.backend()} backend; training needs TensorFlow.\n"
            "hint: set KERAS_BACKEND=tensorflow before Keras is imported."
        )
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def fit_model(
    model: Any,
    train_pixels: NDArray[np.uint8],
    train_labels: NDArray[np.int64],
    val_pixels: NDArray[np.uint8],
    val_labels: NDArray[np.int64],
    *,
    settings: LoopSettings,
    seed: int,
    progress: bool,
) -> LoopResult:
    """Trains `model` in place; it ends with the best weights by validation accuracy, ties broken by loss.

    Validation takes the way of every later prediction: moving batch-norm statistics, no dropout, no augmentation, every
    picture counted once. An interrupt (Ctrl-C) ends training with the best weights so far.

    Args:
        model: takes uint8 pixels, gives logits.
        train_pixels: uint8, (num_train, height, width, 3).
        train_labels: (num_train,); positions in class_names.
        val_pixels: uint8, (num_val, height, width, 3).
        val_labels: (num_val,).
        settings: length, rate and the rest.
        seed: of order and augmentation.
        progress: whether to show how far it is; see `fieldguide.progress`.

    Raises:
        KeyboardInterrupt: if interrupted before the first epoch has ended.
        RecipeError: if the loss stops being a number before the first epoch has ended.
    """
    num_classes = model.output_shape[-1]
    steps = steps_per_epoch(len(train_labels), settings.batch_size)
    train = training_batches(
        train_pixels,
        train_labels,
        num_classes=num_classes,
        batch_size=settings.batch_size,
        seed=seed,
        augmentation=settings.augmentation,
    )
    val = validation_batches(val_pixels, val_labels, num_classes=num_classes)
    model.compile(
        optimizer=_optimizer(settings, steps),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA trains convolutions ten times slower on a CPU
    )
    keeper = BestWeights(average_momentum=settings.average_momentum)
    callbacks: list[Any] = [keeper]
    bar = None
    if progress:
        bar = ProgressBar(num_images=len(train_labels), steps=steps, epochs=settings.epochs)
        callbacks.append(bar)
    interrupted = False
    try:
        model.fit(
            train,
            steps_per_epoch=steps,
            epochs=settings.epochs,
            validation_data=val,
            callbacks=callbacks,
            shuffle=False,  # the batches come shuffled
            verbose=0,
        )
    except KeyboardInterrupt:
        if not keeper.history:
            raise
        interrupted = True
    finally:
        if bar is not None:
            bar.close()
    keeper.restore()
    return LoopResult(tuple(keeper.history), keeper.best_epoch, interrupted, keeper.notes(interrupted))


def _optimizer(settings: LoopSettings, steps: int) -> Any:
    schedule = warmup_cosine(
        settings.learning_rate,
        warmup_steps=round(settings.warmup_epochs * steps),
        total_steps=settings.epochs * steps,
    )
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay)
    else:
        optimizer = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay or None)
    if settings.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=WEIGHT_DECAY_EXCLUDES)
    return optimizer


class BestWeights(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Averages the weights as they move, validates with the average, and keeps the best average of all epochs.

    The average includes the moving statistics of batch normalisation, so that it can be used as it stands. With
    `average_momentum` 0 it is the weights themselves. Source: Polyak and Juditsky 1992, https://doi.org/10.1137/0330046.
    """

    def __init__(self, *, average_momentum: float) -> None:
        super().__init__()
        self.history: list[dict[str, float | int]] = []
        self.best_epoch = 0
        self._momentum = average_momentum
        self._average: list[Any] = []  # tf.Variable
        self._moving: list[NDArray[np.float32]] = []  # what training goes on with after validation
        self._best: list[NDArray[np.float32]] = []
        self._num_steps = 0
        self._started = 0.0
        self._diverged = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Starts the average where the weights are."""
        self._average = [tf.Variable(weight) for weight in self._copy_weights()]

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the average; the first steps count more, so that it does not drag the random start along."""
        self._num_steps += 1
        momentum = min(self._momentum, self._num_steps / (self._num_steps + 9))
        self._move(tf.constant(1 - momentum, tf.float32))

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]  # one call, on all cores: in Python it cost as much as the step
    def _move(self, rate: Any) -> None:
        for average, weight in zip(self._average, self.model.weights, strict=True):
            average.assign_add(rate * (weight.value - average))

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Puts the average in the place of the weights."""
        self._moving = self._copy_weights()
        self._put([average.numpy() for average in self._average])

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Puts the weights back."""
        self._put(self._moving)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's row and keeps the average if it is the best so far.

        Raises:
            RecipeError: if the loss is not a number and no epoch before was better.
        """
        logs = logs or {}
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["val_loss"])):
            if not self.history:
                raise RecipeError(
                    f"The loss became {logs['loss']} in the first epoch.\nhint: lower learning_rate, as by a factor of 10."
                )
            self._diverged = True
            self.model.stop_training = True
            return
        row: dict[str, float | int] = {"epoch": epoch + 1}
        row |= {name: float(logs[name]) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}
        row["learning_rate"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        row["seconds"] = time.perf_counter() - self._started
        if not self.history or _rank(row) > _rank(self.history[self.best_epoch - 1]):
            self.best_epoch = epoch + 1
            self._best = [average.numpy() for average in self._average]
        self.history.append(row)

    def restore(self) -> None:
        """Puts the best weights into the model."""
        self._put(self._best)

    def notes(self, interrupted: bool) -> tuple[str, ...]:
        """What a reader of the run should know about how training ended."""
        num_epochs, best = len(self.history), self.best_epoch
        if interrupted:
            return (f"Interrupted after epoch {num_epochs}; these are the weights of epoch {best}, the best so far.",)
        if self._diverged:
            return (f"The loss stopped being a number after epoch {num_epochs}; these are the weights of epoch {best}.",)
        return ()

    def _copy_weights(self) -> list[NDArray[np.float32]]:
        return [np.array(weight.numpy()) for weight in self.model.weights]

    def _put(self, values: list[NDArray[np.float32]]) -> None:
        for weight, value in zip(self.model.weights, values, strict=True):
            weight.assign(value)


def _rank(row: dict[str, float | int]) -> tuple[float, float]:
    return row["val_accuracy"], -row["val_loss"]
