"""What the recipes that train a network of ours from random weights have in common: settings, checks, `fit`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fieldguide.errors import RecipeError
from fieldguide.models.operations import Network
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.records import LearningRates, Record

if TYPE_CHECKING:
    from fieldguide.training.loop import LoopResult

OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("auto", "f32", "bf16")
_NOTHING_HELD_OUT = (
    "There is no validation score: nothing was chosen, so that all {count:,} training pictures were learned from. For the same "
    "reason probabilities are as they came out of training, and no picture is answered none of these; a validation part in "
    "the folder, or validate=true, gives both."
)


@dataclass(frozen=True)
class FromScratch(Record):
    """Settings of a training from random weights; the recipes add those of their network, and defaults of their own.

    Raises:
        RecipeError: if a setting is out of range; the message says the range.
    """

    name: ClassVar[str]

    image_size: tuple[int, int] = (96, 96)  # (height, width)
    epochs: int = 60
    min_steps: int = 1000  # small sets are seen more often, until this many batches have been learned from
    batch_size: int = 16
    optimizer: str = "adamw"  # or sgd
    learning_rate: float = 0.002  # peak, after the warm-up
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup_epochs: float = 1.0
    average_momentum: float = 0.998  # of the moving average of the weights, per batch; 0 turns it off
    horizontal_flip: bool = True  # turn it off where left and right matter, as for digits and letters
    min_crop: float = 0.5  # smallest share of height and width that a random crop keeps
    max_rotation_degrees: float = 10.0
    brightness: float = 0.2  # largest shift, as a share of white
    contrast: float = 0.4  # largest relative change
    saturation: float = 0.4  # largest relative change
    mixup: float = 0.2  # alpha of the Beta(alpha, alpha) draw by which two pictures are blended; 0 turns it off
    cutmix: float = 0.0  # share of the pictures that get a rectangle of another one instead of being blended with it
    precision: str = "auto"  # of training: f32, bf16, or the faster of the two here

    def __post_init__(self) -> None:
        smallest = self.smallest_size()
        check(
            "image_size",
            self.image_size,
            len(self.image_size) == 2 and smallest <= min(self.image_size) and max(self.image_size) <= 1024,
            f"(height, width), each in [{smallest}, 1024]: the network halves them on its way",
        )
        for name in ("epochs", "batch_size"):
            check_whole(name, getattr(self, name))
        check("min_steps", self.min_steps, self.min_steps >= 0, "a whole number >= 0")
        check("optimizer", self.optimizer, self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS))
        check("precision", self.precision, self.precision in PRECISIONS, " or ".join(PRECISIONS))
        check("learning_rate", self.learning_rate, 0 < self.learning_rate <= 10, "in (0, 10]")
        check("min_crop", self.min_crop, 0 < self.min_crop <= 1, "in (0, 1]")
        for name in ("label_smoothing", "average_momentum"):
            check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("weight_decay", "brightness", "contrast", "saturation", "mixup", "cutmix"):
            check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "in [0, 1]")
        check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs <= self.epochs, "in [0, epochs]")
        check("max_rotation_degrees", self.max_rotation_degrees, 0 <= self.max_rotation_degrees <= 180, "in [0, 180]")

    def network(self) -> Network:
        """The architecture and its numbers."""
        raise NotImplementedError

    def smallest_size(self) -> int:
        """Of the sides of `image_size`, in pixels."""
        raise NotImplementedError

    def growing(self) -> Any:
        """A `training.loop.GrowingSize` of the pictures while they are learned from; None where they keep `image_size`."""
        return None

    @property
    def needs_val(self) -> bool:
        """Whether the weights are chosen by validation accuracy."""
        return True

    def frozen_network(self) -> None:
        """None: it learns from pixels."""
        return None

    def num_epochs(self, num_images: int) -> int:
        """How often a training part of that size is seen: `epochs`, or more, until `min_steps` batches are reached."""
        steps = math.ceil(num_images / self.batch_size)
        return max(self.epochs, math.ceil(self.min_steps / steps))

    def fit(self, data: TrainingData) -> Fitted:
        """Trains from random weights; the weights with the best validation accuracy are kept.

        Without validation pictures nothing is chosen: the averaged weights of the last epoch are kept.

        Raises:
            RecipeError: if a part is empty, the pictures have another size, or training diverges at once.
        """
        model = self._fresh_model(data)
        from fieldguide.models.keras_operations import get_weights

        result = self.train_model(model, data)
        weights = get_weights(model)
        return Fitted(
            network=self.network(),
            head_kernel=weights.pop("head/kernel"),
            head_bias=weights.pop("head/bias"),
            weights=weights,
            history=result.history,
            notes=result.notes,
            interrupted=result.interrupted,
            work=result.work,
        )

    def train_model(self, model: Any, data: TrainingData) -> LoopResult:
        """Trains any model from uint8 pixels to logits with these settings; it ends with its best weights.

        Raises:
            RecipeError: as `fit`.
        """
        self._check_pictures(data.train, "training")
        if self.needs_val or len(data.val.labels):
            self._check_pictures(data.val, "validation")
        from fieldguide.training.loop import fit_model

        epochs = self.num_epochs(len(data.train.labels))
        result = fit_model(
            model,
            data.train.values,
            data.train.labels,
            data.val.values,
            data.val.labels,
            settings=self._loop_settings(epochs),
            seed=data.seed,
            session=data.session,
        )
        notes = result.notes
        if not len(data.val.labels):
            notes = (*notes, _NOTHING_HELD_OUT.format(count=len(data.train.labels)))
        if epochs > self.epochs and data.session.deadline is None:
            note = f"{len(data.train.labels)} training pictures are few: {epochs} epochs instead of {self.epochs}."
            notes = (note, *notes)
        return dataclasses.replace(result, notes=notes)

    def find_learning_rate(self, data: TrainingData, *, lowest: float, highest: float, num_batches: int) -> LearningRates:
        """Trains for some batches whose learning rate grows, and says at which the loss falls steepest.

        Raises:
            RecipeError: if the loss explodes at once.
        """
        self._check_pictures(data.train, "training")
        model = self._fresh_model(data)
        from fieldguide.training.lr_find import sweep

        found = sweep(
            model,
            data.train.values,
            data.train.labels,
            settings=self._loop_settings(self.epochs),
            seed=data.seed,
            lowest=lowest,
            highest=highest,
            num_batches=num_batches,
        )
        return LearningRates(self.name, found.learning_rates, found.losses, found.smoothed, found.suggestion)

    def _fresh_model(self, data: TrainingData) -> Any:
        from fieldguide import training

        training.import_tensorflow()
        from fieldguide.models.keras_operations import build_keras
        from fieldguide.training.loop import make_deterministic

        make_deterministic(data.seed)
        dtype = "mixed_bfloat16" if self._precision() == "bf16" else "float32"
        growing = self.growing() is not None
        return build_keras(self.network(), num_classes=data.num_classes, dtype=dtype, is_trained=True, any_size=growing)

    def _precision(self) -> str:
        if self.precision != "auto":
            return self.precision
        from fieldguide.embedding.engine import available_precision

        return available_precision()

    def _loop_settings(self, epochs: int) -> Any:
        from fieldguide.training.augmentation import Augmentation
        from fieldguide.training.loop import LoopSettings

        return LoopSettings(
            epochs=epochs,
            batch_size=self.batch_size,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            label_smoothing=self.label_smoothing,
            warmup_epochs=self.warmup_epochs,
            average_momentum=self.average_momentum,
            augmentation=Augmentation(
                horizontal_flip=self.horizontal_flip,
                min_crop=self.min_crop,
                max_rotation_degrees=self.max_rotation_degrees,
                brightness=self.brightness,
                contrast=self.contrast,
                saturation=self.saturation,
                mixup=self.mixup,
                cutmix=self.cutmix,
            ),
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
