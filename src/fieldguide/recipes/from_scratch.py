"""What the recipes that train a network of ours from random weights have in common: `fit`, and settings of it."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fieldguide.models.operations import Network
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import TrainingData
from fieldguide.recipes.trained import Trained, check, check_whole

if TYPE_CHECKING:
    from fieldguide.training.loop import LoopResult

OPTIMIZERS = ("adamw", "sgd")
_SIDE_STEP = 8  # pixels; a side of pictures that are taken down is a multiple of it
_NOTHING_HELD_OUT = (
    "There is no validation score: nothing was chosen, so that all {count:,} training pictures were learned from. For the same "
    "reason probabilities are as they came out of training, and no picture is answered none of these; a validation part in "
    "the folder, or validate=true, gives both."
)


@dataclass(frozen=True)
class FromScratch(Trained, ABC):
    """Settings of a training from random weights; the recipes add those of their network, and defaults of their own.

    Raises:
        RecipeError: if a setting is out of range; the message says the range.
    """

    optimizer: str = "adamw"  # or sgd
    max_rotation_degrees: float = 0.0  # each picture is turned by up to so much, either way
    cutmix: float = 0.0  # share of the pictures that get a rectangle of another one instead of being blended with it
    all_changes_from: int = 70  # epochs; where there are fewer, crops are larger and fewer pictures mixed, in proportion
    max_enlargement: float = 2.0  # of small pictures: image_size is taken down to this many times their usual sides

    def __post_init__(self) -> None:
        super().__post_init__()
        smallest = self.smallest_size()
        check(
            "image_size",
            self.image_size,
            len(self.image_size) == 2 and smallest <= min(self.image_size) and max(self.image_size) <= 1024,
            f"(height, width), each in [{smallest}, 1024]: the network halves them on its way",
        )
        check("optimizer", self.optimizer, self.optimizer in OPTIMIZERS, " or ".join(OPTIMIZERS))
        check("cutmix", self.cutmix, 0 <= self.cutmix <= 1, "in [0, 1]")
        check_whole("all_changes_from", self.all_changes_from)
        check("max_enlargement", self.max_enlargement, 1 <= self.max_enlargement < math.inf, "a number >= 1")
        check("max_rotation_degrees", self.max_rotation_degrees, 0 <= self.max_rotation_degrees <= 180, "in [0, 180]")

    def fitted_to_pictures(self, sizes: NDArray[np.int64]) -> Self:
        """The same with a smaller `image_size`, of the same shape, where most pictures are small.

        Args:
            sizes: (num_images, 2), height and width of each picture in pixels.
        """
        wanted = math.sqrt(self.image_size[0] * self.image_size[1])
        share = self.max_enlargement * float(np.median(np.sqrt(sizes.prod(axis=1)))) / wanted
        if share >= 1:
            return self
        height, width = (max(_SIDE_STEP * round(share * side / _SIDE_STEP), self.smallest_size()) for side in self.image_size)
        return dataclasses.replace(self, image_size=(min(height, self.image_size[0]), min(width, self.image_size[1])))

    @abstractmethod
    def network(self) -> Network:
        """The architecture and its numbers."""

    @abstractmethod
    def smallest_size(self) -> int:
        """Of the sides of `image_size`, in pixels."""

    @property
    def needs_val(self) -> bool:
        """Whether the weights are chosen by validation accuracy."""
        return True

    def fit(self, data: TrainingData) -> Fitted:
        """Trains from random weights; the weights with the best validation accuracy are kept.

        Without validation pictures nothing is chosen: the averaged weights of the last epoch are kept.

        Raises:
            RecipeError: if a part is empty, the pictures have another size, or training diverges at once.
        """
        model = self._starting_model(data)
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
            settings=self._settings(epochs),
            seed=data.seed,
            session=data.session,
        )
        notes = result.notes
        if not len(data.val.labels):
            notes = (*notes, _NOTHING_HELD_OUT.format(count=len(data.train.labels)))
        if epochs != self.epochs and data.session.deadline is None:
            number = "few" if epochs > self.epochs else "many"
            note = f"{len(data.train.labels):,} training pictures are {number}: {epochs} epochs instead of {self.epochs}."
            notes = (note, *notes)
        return dataclasses.replace(result, notes=notes)

    def _starting_model(self, data: TrainingData) -> Any:
        from fieldguide import training

        training.import_tensorflow()
        from fieldguide.models.keras_operations import build_keras
        from fieldguide.training.loop import make_deterministic

        make_deterministic(data.seed)
        return build_keras(
            self.network(),
            num_classes=data.num_classes,
            dtype=self._dtype(),
            is_trained=True,
            any_size=self.growing() is not None,
        )

    def _settings(self, epochs: int) -> Any:
        return self._loop_settings(
            epochs,
            optimizer=self.optimizer,
            all_changes_from=self.all_changes_from,
            max_rotation_degrees=self.max_rotation_degrees,
            cutmix=self.cutmix,
        )
