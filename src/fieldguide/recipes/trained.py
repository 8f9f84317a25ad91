"""What the recipes that train a network of ours by gradient descent have in common: settings, their checks, the loop's."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fieldguide.embedding.engine import available_precision
from fieldguide.errors import RecipeError
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.records import LearningRates, Record

PRECISIONS = ("auto", "f32", "bf16")


@dataclass(frozen=True)
class Trained(Record, ABC):
    """Settings of a training; the recipes add those of their own, and defaults.

    Raises:
        RecipeError: if a setting is out of range; the message says the range.
    """

    name: ClassVar[str]

    image_size: tuple[int, int] = (96, 96)  # (height, width)
    epochs: int = 60
    min_steps: int = 1000  # small sets are seen more often, until this many batches have been learned from
    max_steps: int = 20_000  # large sets are seen less often, but once
    batch_size: int = 16
    learning_rate: float = 0.002  # peak, after the warm-up
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup_epochs: float = 1.0  # at most half of the epochs that there are
    average_momentum: float = 0.998  # of the moving average of the weights, per batch; 0 turns it off
    horizontal_flip: bool = True  # turn it off where left and right matter, as for digits and letters
    test_time_flip: bool = True  # the answer is that for the picture and its mirror image together; not without horizontal_flip
    min_crop: float = 0.7  # smallest share of height and width that a random crop keeps
    brightness: float = 0.2  # largest shift, as a share of white
    contrast: float = 0.4  # largest relative change
    saturation: float = 0.4  # largest relative change
    mixup: float = 0.2  # alpha of the Beta(alpha, alpha) draw by which two pictures are blended; 0 turns it off
    precision: str = "auto"  # of training: f32, bf16, or the faster of the two here

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            check_whole(name, getattr(self, name))
        check("min_steps", self.min_steps, self.min_steps >= 0, "a whole number >= 0")
        check("max_steps", self.max_steps, self.max_steps >= max(1, self.min_steps), "a whole number >= 1 and >= min_steps")
        check("precision", self.precision, self.precision in PRECISIONS, " or ".join(PRECISIONS))
        check("learning_rate", self.learning_rate, 0 < self.learning_rate <= 10, "in (0, 10]")
        check("min_crop", self.min_crop, 0 < self.min_crop <= 1, "in (0, 1]")
        for name in ("label_smoothing", "average_momentum"):
            check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("weight_decay", "brightness", "contrast", "saturation", "mixup"):
            check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "in [0, 1]")
        most = max(self.epochs, type(self).warmup_epochs)  # what nobody gave is no mistake of theirs, however few the epochs
        check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs <= most, "in [0, epochs]")

    @property
    def answers_for_mirrored(self) -> bool:
        """Whether the network answers for the picture and its mirror image together: unless left and right matter."""
        return self.test_time_flip and self.horizontal_flip

    @abstractmethod
    def _starting_model(self, data: TrainingData) -> Any:
        """The `keras.Model` as its training begins, uint8 pixels -> logits, with everything seeded."""

    def _settings(self, epochs: int) -> Any:
        """The `training.loop.LoopSettings` of a training."""
        return self._loop_settings(epochs)

    def growing(self) -> Any:
        """A `training.loop.GrowingSize` of the pictures while they are learned from; None where they keep `image_size`."""
        return None

    def _growing(self, grow_from: float, grown_at: float, *, smallest: int) -> Any:
        """For `growing`, of the settings of that name; the network takes sides from `smallest` on."""
        from fieldguide.training.loop import GrowingSize

        return GrowingSize.from_share(grow_from, self.image_size, grown_at, smallest=smallest)

    def frozen_network(self) -> None:
        """None: it learns from pixels."""
        return None

    def num_epochs(self, num_images: int) -> int:
        """How often a training part of that size is seen: `epochs`, but from `min_steps` to `max_steps` batches in all."""
        steps = math.ceil(num_images / self.batch_size)
        most = max(1, self.max_steps // steps)
        return max(min(self.epochs, most), math.ceil(self.min_steps / steps))

    def find_learning_rate(self, data: TrainingData, *, lowest: float, highest: float, num_batches: int) -> LearningRates:
        """Trains for some batches whose learning rate grows, and says at which the loss falls steepest.

        Raises:
            RecipeError: if the loss explodes at once.
        """
        self._check_pictures(data.train, "training")
        model = self._starting_model(data)
        from fieldguide.training.lr_find import sweep

        found = sweep(
            model,
            data.train.values,
            data.train.labels,
            settings=self._settings(self.epochs),
            seed=data.seed,
            lowest=lowest,
            highest=highest,
            num_batches=num_batches,
        )
        return LearningRates(self.name, found.learning_rates, found.losses, found.smoothed, found.suggestion)

    def _dtype(self) -> str:
        """Keras's dtype policy for `precision` on this machine."""
        precision = available_precision() if self.precision == "auto" else self.precision
        return "mixed_bfloat16" if precision == "bf16" else "float32"

    def _loop_settings(
        self, epochs: int, *, optimizer: str = "adamw", all_changes_from: int | None = None, **augmentation: float
    ) -> Any:
        """The `training.loop.LoopSettings` of these settings.

        Args:
            epochs: to train for.
            optimizer: adamw or sgd.
            all_changes_from: epochs; see `LoopSettings`.
            augmentation: of `training.augmentation.Augmentation`, what these settings do not say.
        """
        from fieldguide.training.augmentation import Augmentation
        from fieldguide.training.loop import LoopSettings

        return LoopSettings(
            epochs=epochs,
            batch_size=self.batch_size,
            optimizer=optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            warmup_epochs=min(self.warmup_epochs, epochs / 2),
            average_momentum=self.average_momentum,
            augmentation=Augmentation(
                horizontal_flip=self.horizontal_flip,
                min_crop=self.min_crop,
                brightness=self.brightness,
                contrast=self.contrast,
                saturation=self.saturation,
                mixup=self.mixup,
                **augmentation,
            ),
            all_changes_from=all_changes_from,
            growing=self.growing(),
        )

    def _check_pictures(self, examples: Examples, part: str) -> None:
        pixels = examples.values
        expected = (len(examples.labels), *self.image_size, 3)
        if len(examples.labels) == 0 or pixels.shape != expected or pixels.dtype != np.uint8:
            raise RecipeError(
                f"The {part} part should be uint8 pixels of shape {expected} with one label or more; "
                f"received {pixels.dtype} of shape {pixels.shape}.\nhint: decode the pictures at image_size."
            )


def check(name: str, value: object, valid: bool, expected: str) -> None:
    """Refuses a setting that is out of range.

    Raises:
        RecipeError: if it is not valid.
    """
    if not valid:
        raise RecipeError(f"{name} should be {expected}; received {value!r}.\nhint: leave {name} out for the default.")


def check_whole(name: str, value: object) -> None:
    """Refuses what is no whole number from 1 on.

    Raises:
        RecipeError: if so.
    """
    check(name, value, isinstance(value, int) and value >= 1, "a whole number >= 1")
