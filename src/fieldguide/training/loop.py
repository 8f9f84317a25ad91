"""Trains a Keras model with plain `fit`; keeps the weights that did best on validation pictures, or the last average."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fieldguide.errors import RecipeError
from fieldguide.training.augmentation import Augmentation
from fieldguide.training.best_weights import BestWeights
from fieldguide.training.budget import TimeBudget
from fieldguide.training.input import steps_per_epoch, training_batches, validation_batches
from fieldguide.training.interruption import deferred_interrupts
from fieldguide.training.logs import EpochLogs
from fieldguide.training.optimizers import make_optimizer
from fieldguide.training.progress import ProgressBar
from fieldguide.training.resumption import Resumption, Stopped
from fieldguide.training.schedules import warmup_cosine
from fieldguide.training.session import Session

_SIZE_STEP = 8  # pixels; TensorFlow prepares its convolutions anew for each size
_NO_LIMIT = 1_000_000  # epochs, where time is the limit
_WORK_OF_PIXELS = (
    0.75  # power; a picture of `scratch` takes 2.1 times as long at 112 as at 64 pixels, part of it whatever its size
)


@dataclass(frozen=True)
class GrowingSize:
    """Progressive resizing: small pictures at first, which cost less and teach most of what there is to learn at that time.

    Source: Howard 2018, https://www.fast.ai/posts/2018-08-10-fastai-diu-imagenet.html.
    """

    first: tuple[int, int]  # (height, width)
    last: tuple[int, int]
    grown_at: float  # share of the training after which they have the last size, in (0, 1]

    @classmethod
    def from_share(cls, share: float, last: tuple[int, int], grown_at: float, *, smallest: int) -> GrowingSize:
        """From about that share of the last size on, but no side below `smallest` pixels; with 1 they do not grow.

        >>> GrowingSize.from_share(4 / 7, (112, 112), 0.8, smallest=16).first
        (64, 64)
        """
        if share == 1:
            return cls(last, last, grown_at)
        height, width = (min(side, max(smallest, _SIZE_STEP * round(side * share / _SIZE_STEP))) for side in last)
        return cls((height, width), last, grown_at)

    def at(self, share: float) -> tuple[int, int]:
        """(height, width) after that share of the training: a straight line in steps of `_SIZE_STEP` pixels.

        >>> [GrowingSize((64, 64), (112, 112), 0.5).at(share) for share in (0, 0.25, 1)]
        [(64, 64), (88, 88), (112, 112)]
        """
        grown = min(1.0, share / self.grown_at)
        if grown == 1.0:
            return self.last
        height, width = (
            min(b, _SIZE_STEP * round((a + (b - a) * grown) / _SIZE_STEP)) for a, b in zip(self.first, self.last, strict=True)
        )
        return height, width


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
    all_changes_from: int | None = None  # epochs, with fewer of which crops and mixing are milder; None: never
    growing: GrowingSize | None = None  # of the pictures that are learned from; None keeps their size


@dataclass(frozen=True, eq=False)
class LoopResult:
    """What came out; the model holds the best weights."""

    history: tuple[dict[str, float | int], ...]  # epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds
    best_epoch: int  # counted from 1
    interrupted: str | None  # the signal that ended training early, SIGINT or SIGTERM
    notes: tuple[str, ...]
    work: Mapping[str, int]  # steps, repeated_steps, starts; see `Resumption.work`


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
    session: Session,
) -> LoopResult:
    """Trains `model` in place; it ends with the best weights by validation accuracy, ties broken by loss.

    Without validation pictures it ends with the average of the last epoch that ended.

    Validation takes the way of every later prediction: moving batch-norm statistics, no dropout, no augmentation, every
    picture counted once. An interrupt (Ctrl-C, SIGTERM) ends training after its step with the best weights so far; a
    first epoch that it cuts off is validated as it stands.

    With `session.checkpoints` a training that was killed, or interrupted, goes on where the newest checkpoint was made,
    and ends with the same bytes as one that was not.

    With `session.deadline` training ends then, after its last validation: the learning rate follows the time instead of
    the steps, and there are as many epochs as there is time for, the last one cut short. Such a run is not repeatable.

    Args:
        model: takes uint8 pixels, of any size with `settings.growing`; gives logits.
        train_pixels: uint8, (num_train, height, width, 3).
        train_labels: (num_train,); positions in class_names.
        val_pixels: uint8, (num_val, height, width, 3); there may be none.
        val_labels: (num_val,).
        settings: length, rate and the rest.
        seed: of order and augmentation.
        session: bar, lines, checkpoints, clock.

    Raises:
        RecipeError: if the loss stops being a number before the first epoch has ended, or if the checkpoints belong to
            another training.
    """
    num_classes = model.output_shape[-1]
    steps = steps_per_epoch(len(train_labels), settings.batch_size)
    val = validation_batches(val_pixels, val_labels, num_classes=num_classes) if len(val_labels) else None
    budget = None
    if session.deadline is not None:
        budget = TimeBudget(
            deadline=session.deadline,
            learning_rate=settings.learning_rate,
            warmup_share=settings.warmup_epochs / max(settings.epochs, settings.warmup_epochs + 1),
            validation_share=len(val_labels) / len(train_labels),
        )
    epochs = settings.epochs if budget is None else _NO_LIMIT
    compile_model(model, settings, settings.learning_rate if budget is not None else _schedule(settings, steps))
    model.optimizer.build(model.trainable_variables)  # inside the first step it would take seconds
    best = BestWeights(average_momentum=settings.average_momentum)
    best.set_model(model)
    with deferred_interrupts(session.say) as interruption:
        position = Resumption(model, best, steps_per_epoch=steps, session=session, interruption=interruption, budget=budget)
        position.restore(validation_batches(train_pixels[:1], train_labels[:1], num_classes=num_classes))
        logs = EpochLogs(best, history=session.history, tensorboard=session.tensorboard, watch=session.watch)
        callbacks: list[Any] = [best, position, logs]
        if budget is not None:
            callbacks.insert(0, budget)
        size_of_epoch = work_of_epoch = None
        if (growing := settings.growing) is not None:

            def size_of_epoch(epoch: int) -> tuple[int, int]:
                return growing.at(epoch / epochs if budget is None else budget.share)

            def work_of_epoch(epoch: int) -> float:
                return float(math.prod(size_of_epoch(epoch)) ** _WORK_OF_PIXELS)

        bar = None
        if session.progress:
            bar = ProgressBar(
                best,
                num_images=len(train_labels),
                steps=steps,
                first=position.num_steps,
                epochs=epochs,
                budget=budget,
                work_of_epoch=work_of_epoch,
            )
            callbacks.append(bar)

        def strength_of_epoch(epoch: int) -> float:
            if settings.all_changes_from is None:
                return 1.0
            num_epochs = epochs if budget is None else budget.num_epochs(epoch)
            return min(1.0, num_epochs / settings.all_changes_from)

        def fit(until: int) -> None:
            train = training_batches(
                train_pixels,
                train_labels,
                num_classes=num_classes,
                batch_size=settings.batch_size,
                seed=seed,
                augmentation=settings.augmentation,
                start=(position.epoch, position.step),
                size_of_epoch=size_of_epoch,
                strength_of_epoch=strength_of_epoch,
            )
            model.fit(
                train,
                initial_epoch=position.epoch,
                epochs=until,
                steps_per_epoch=steps - position.step,
                validation_data=val,
                callbacks=callbacks,
                shuffle=False,  # the batches come shuffled
                verbose=0,
            )

        try:
            if position.step == steps:
                position.finish_epoch(val)
            elif position.step:
                fit(until=position.epoch + 1)
            if position.epoch < epochs and not best.diverged and not (budget is not None and budget.is_over and best.history):
                fit(until=epochs)
            position.save()
        except Stopped:
            pass
        finally:
            position.close()
            logs.close()
            if bar is not None:
                bar.close()
    notes, work = _notes(best, position, steps, interruption.signal_name), position.work
    if not best.history:
        position.validate_as_it_stands(val)
    best.restore()
    return LoopResult(tuple(best.history), best.best_epoch, interruption.signal_name, notes, work)


def _notes(best: BestWeights, position: Resumption, steps: int, signal_name: str | None) -> tuple[str, ...]:
    """What a reader of the run should know about how training ended."""
    num_epochs, weights = len(best.history), f"these are the weights of epoch {best.best_epoch}"
    if signal_name is not None:
        moment = f"step {position.step} of {steps} of epoch {position.epoch + 1}"
        if num_epochs and "val_accuracy" in best.history[0]:
            weights += ", the best so far"
        return (f"Interrupted after {moment}; {weights if num_epochs else 'no epoch had ended'}.",)
    return (f"The loss stopped being a number after epoch {num_epochs}; {weights}.",) if best.diverged else ()


def compile_model(model: Any, settings: LoopSettings, learning_rate: Any) -> None:
    """Compiles with the optimizer and the loss of the settings.

    Args:
        model: gives logits.
        settings: all but their learning rate.
        learning_rate: a Keras schedule, or a number, which can be changed while training.
    """
    model.compile(
        optimizer=make_optimizer(settings.optimizer, learning_rate, weight_decay=settings.weight_decay),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
        metrics=["accuracy"],
        jit_compile=False,  # XLA trains convolutions ten times slower on a CPU
    )


def _schedule(settings: LoopSettings, steps: int) -> Any:
    warmup_steps = round(settings.warmup_epochs * steps)
    return warmup_cosine(settings.learning_rate, warmup_steps=warmup_steps, total_steps=settings.epochs * steps)
