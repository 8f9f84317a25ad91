"""`finetune`: begins where `transfer` ends, then trains the network below the head as well, with augmentation."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from fieldguide.embedding.engine import Engine
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import RecipeError
from fieldguide.models.operations import Network
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.recipes.trained import Trained, check
from fieldguide.recipes.transfer import BACKBONES, Transfer

_SMALLEST = 32  # px


@dataclass(frozen=True)
class Finetune(Trained):
    """A pretrained backbone, trained on: its convolutions and biases; batch normalisation and depthwise kernels stay.

    It starts from the head that `transfer` finds, and is kept only if it beats that head on validation.

    Raises:
        RecipeError: if a setting is out of range; the message says the range.
    """

    name: ClassVar[str] = "finetune"
    needs_val: ClassVar[bool] = True

    image_size: tuple[int, int] = (192, 192)  # (height, width)
    epochs: int = 15
    min_steps: int = 500  # small sets are seen more often, until this many batches have been learned from
    max_steps: int = 1500  # large sets are seen less often, but once
    batch_size: int = 32
    learning_rate: float = 5e-4  # peak, after the warm-up
    warmup_epochs: float = 0.5
    average_momentum: float = 0.99
    brightness: float = 0.1
    contrast: float = 0.2
    saturation: float = 0.2
    mixup: float = 0.0
    backbone: str = "efficientnet_lite0"
    grow_from: float = 2 / 3  # share of image_size that pictures have at first, in (0, 1]; 1 leaves them as they are
    grown_at: float = 0.8  # share of the training after which they have image_size, in (0, 1]

    def __post_init__(self) -> None:
        super().__post_init__()
        check("backbone", self.backbone, self.backbone in BACKBONES, f"one of {', '.join(BACKBONES)}")
        sizes = self.image_size
        check("image_size", sizes, len(sizes) == 2 and min(sizes) >= _SMALLEST, f"(height, width), each at least {_SMALLEST}")
        for name in ("grow_from", "grown_at"):
            check(name, getattr(self, name), 0 < getattr(self, name) <= 1, "in (0, 1]")

    def growing(self) -> Any:
        """How the pictures grow."""
        return self._growing(self.grow_from, self.grown_at, smallest=_SMALLEST)

    def fit(self, data: TrainingData) -> Fitted:
        """Fits the head of `transfer`, then trains all from there; the better of the two on validation is what comes back.

        Raises:
            RecipeError: if a part is empty, nothing can be held out of a class, or training diverges at once.
        """
        if not len(data.val.labels):
            raise RecipeError("Fine-tuning needs validation pictures to choose by; there are none.")
        head, val = self._fit_head(data)
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
            network=head.network,
            weights=head.weights,
            head_kernel=head.head_kernel,
            head_bias=head.head_bias,
            notes=(*head.notes, note, *tuned.notes),
            num_correct=before,
        )

    def _fit_head(self, data: TrainingData) -> tuple[Fitted, Examples]:
        """What `transfer` makes of the pictures, and the validation part as embeddings."""
        start = Transfer(backbone=self.backbone, image_size=self.image_size)
        data.session.say("the head first, on the frozen network")
        engine = Engine(start.frozen_network())
        train, val = (dataclasses.replace(part, values=engine.embed(part.values)) for part in (data.train, data.val))
        return start.fit(dataclasses.replace(data, train=train, val=val)), val

    def _starting_model(self, data: TrainingData) -> Any:
        nobody = Examples(data.train.values[:0], data.train.labels[:0], data.train.groups[:0])
        head, _ = self._fit_head(dataclasses.replace(data, val=nobody))
        return self._model_with(head, data)[0]

    def _model_with(self, head: Fitted, data: TrainingData) -> tuple[Any, dict[str, Any]]:
        """The model to be trained, and the weights it begins with."""
        from fieldguide import training

        training.import_tensorflow()
        from fieldguide.training.folded import build_folded
        from fieldguide.training.loop import make_deterministic

        make_deterministic(data.seed)
        weights = {**head.weights, "head/kernel": head.head_kernel, "head/bias": head.head_bias}
        return build_folded(self._network(head), weights, num_classes=data.num_classes, dtype=self._dtype()), weights

    def _network(self, head: Fitted) -> Network:
        """The architecture of the frozen network, which answers for the mirror image as well."""
        return dataclasses.replace(head.network, options={**head.network.options, "test_time_flip": self.answers_for_mirrored})

    def _train(self, data: TrainingData, head: Fitted) -> tuple[Fitted, int]:
        """The network after training, and how many validation pictures it gets right."""
        model, weights = self._model_with(head, data)
        from fieldguide.training.folded import unfold
        from fieldguide.training.loop import fit_model

        result = fit_model(
            model,
            data.train.values,
            data.train.labels,
            data.val.values,
            data.val.labels,
            settings=self._settings(self.num_epochs(len(data.train.labels))),
            seed=data.seed,
            session=data.session,
        )
        kernel, bias = (np.asarray(value, np.float32) for value in model.get_layer("head").get_weights())
        fitted = Fitted(
            network=self._network(head),
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
