"""`finetune`: begins where `transfer` ends, then trains the network below the head as well, with augmentation."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fieldguide.embedding.engine import Engine, available_precision
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import RecipeError
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.recipes.transfer import BACKBONES, Transfer
from fieldguide.records import Record

PRECISIONS = ("auto", "f32", "bf16")


@dataclass(frozen=True)
class Finetune(Record):
    """A pretrained backbone, trained on: its convolutions and biases; batch normalisation and depthwise kernels stay.

    It starts from the head that `transfer` finds, and is kept only if it beats that head on validation.

    Raises:
        RecipeError: if a setting is out of range; the message says the range.
    """

    name: ClassVar[str] = "finetune"
    needs_val: ClassVar[bool] = True

    backbone: str = "efficientnet_lite0"
    image_size: tuple[int, int] = (192, 192)  # (height, width)
    epochs: int = 12
    min_steps: int = 500  # small sets are seen more often, until this many batches have been learned from
    max_steps: int = 1200  # large sets are seen less often, but once
    batch_size: int = 32
    learning_rate: float = 5e-4  # peak, after the warm-up
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    warmup_epochs: float = 0.5
    average_momentum: float = 0.99  # of the moving average of the weights, per batch; 0 turns it off
    horizontal_flip: bool = True  # turn it off where left and right matter, as for digits and letters
    min_crop: float = 0.7  # smallest share of height and width that a random crop keeps
    brightness: float = 0.1  # largest shift, as a share of white
    contrast: float = 0.2  # largest relative change
    saturation: float = 0.2  # largest relative change
    mixup: float = 0.0  # alpha of the Beta(alpha, alpha) draw by which two pictures are blended; 0 turns it off
    precision: str = "auto"  # of training: f32, bf16, or the faster of the two here

    def __post_init__(self) -> None:
        _check("backbone", self.backbone, self.backbone in BACKBONES, f"one of {', '.join(BACKBONES)}")
        sizes = self.image_size
        _check("image_size", sizes, len(sizes) == 2 and min(sizes) >= 32, "(height, width), each at least 32")
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            _check(name, value, isinstance(value, int) and value >= 1, "a whole number >= 1")
        _check("min_steps", self.min_steps, self.min_steps >= 0, "a whole number >= 0")
        _check("max_steps", self.max_steps, self.max_steps >= max(1, self.min_steps), "a whole number >= 1 and >= min_steps")
        _check("precision", self.precision, self.precision in PRECISIONS, " or ".join(PRECISIONS))
        _check("learning_rate", self.learning_rate, 0 < self.learning_rate <= 1, "in (0, 1]")
        _check("min_crop", self.min_crop, 0 < self.min_crop <= 1, "in (0, 1]")
        for name in ("label_smoothing", "average_momentum"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) < 1, "in [0, 1)")
        for name in ("weight_decay", "brightness", "contrast", "saturation", "mixup"):
            _check(name, getattr(self, name), 0 <= getattr(self, name) <= 1, "in [0, 1]")
        _check("warmup_epochs", self.warmup_epochs, 0 <= self.warmup_epochs <= self.epochs, "in [0, epochs]")

    def frozen_network(self) -> None:
        """None: it learns from pixels."""
        return None

    def num_epochs(self, num_images: int) -> int:
        """How often a training part of that size is seen: `epochs`, but from `min_steps` to `max_steps` batches in all."""
        steps = math.ceil(num_images / self.batch_size)
        most = max(1, self.max_steps // steps)
        return max(min(self.epochs, most), math.ceil(self.min_steps / steps))

    def fit(self, data: TrainingData) -> Fitted:
        """Fits the head of `transfer`, then trains all from there; the better of the two on validation is what comes back.

        Raises:
            RecipeError: if a part is empty, nothing can be held out of a class, or training diverges at once.
        """
        if not len(data.val.labels):
            raise RecipeError("Fine-tuning needs validation pictures to choose by; there are none.")
        start = Transfer(backbone=self.backbone, image_size=self.image_size)
        data.session.say("the head first, on the frozen network")
        engine = Engine(start.frozen_network())
        train, val = (dataclasses.replace(part, values=engine.embed(part.values)) for part in (data.train, data.val))
        head = start.fit(dataclasses.replace(data, train=train, val=val))
        num_val, before = len(val.labels), _num_correct(head, val)
        data.session.say(f"frozen: validation accuracy {before / num_val:.1%}; now the network below the head as well")
        tuned, after = self._train(data, head)
        if after > before:
            note = (
                f"Validation accuracy {after / num_val:.1%} after fine-tuning, {before / num_val:.1%} with the frozen network."
            )
            return dataclasses.replace(tuned, notes=(*head.notes[:1], note, *tuned.notes), num_correct=after)
        note = (
            f"Fine-tuning reached a validation accuracy of {after / num_val:.1%}, the frozen network {before / num_val:.1%}: "
            "the frozen network is kept, with its head, as transfer makes it."
        )
        return dataclasses.replace(
            tuned,
            weights=head.weights,
            head_kernel=head.head_kernel,
            head_bias=head.head_bias,
            notes=(*head.notes, note, *tuned.notes),
            num_correct=before,
        )

    def _train(self, data: TrainingData, head: Fitted) -> tuple[Fitted, int]:
        """The network after training, and how many validation pictures it gets right."""
        from fieldguide import training

        training.import_tensorflow()
        from fieldguide.training.augmentation import Augmentation
        from fieldguide.training.folded import build_folded, unfold
        from fieldguide.training.loop import LoopSettings, fit_model, make_deterministic

        make_deterministic(data.seed)
        weights = {**head.weights, "head/kernel": head.head_kernel, "head/bias": head.head_bias}
        precision = available_precision() if self.precision == "auto" else self.precision
        dtype = "mixed_bfloat16" if precision == "bf16" else "float32"
        model = build_folded(head.network, weights, num_classes=data.num_classes, dtype=dtype)
        epochs = self.num_epochs(len(data.train.labels))
        result = fit_model(
            model,
            data.train.values,
            data.train.labels,
            data.val.values,
            data.val.labels,
            settings=LoopSettings(
                epochs=epochs,
                batch_size=self.batch_size,
                optimizer="adamw",
                learning_rate=self.learning_rate,
                weight_decay=self.weight_decay,
                label_smoothing=self.label_smoothing,
                warmup_epochs=self.warmup_epochs,
                average_momentum=self.average_momentum,
                augmentation=Augmentation(
                    horizontal_flip=self.horizontal_flip,
                    min_crop=self.min_crop,
                    brightness=self.brightness,
                    contrast=self.contrast,
                    saturation=self.saturation,
                    mixup=self.mixup,
                ),
            ),
            seed=data.seed,
            session=data.session,
        )
        kernel, bias = (np.asarray(value, np.float32) for value in model.get_layer("head").get_weights())
        fitted = Fitted(
            network=head.network,
            weights=unfold(model, weights),
            head_kernel=kernel,
            head_bias=bias,
            history=result.history,
            notes=result.notes,
            interrupted=result.interrupted,
            work=result.work,
        )
        return fitted, round(result.history[result.best_epoch - 1]["val_accuracy"] * len(data.val.labels))


def _num_correct(fitted: Fitted, part: Examples) -> int:
    head = LinearHead(fitted.head_kernel, fitted.head_bias)
    return int((head.logits(part.values).argmax(axis=1) == part.labels).sum())


def _check(name: str, value: object, valid: bool, expected: str) -> None:
    if not valid:
        raise RecipeError(f"{name} should be {expected}; received {value!r}.\nhint: leave {name} out for the default.")
