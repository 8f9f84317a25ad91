"""What a recipe is: settings, what it asks of the scan, and how it learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldguide.recipes.fitted import Fitted
from fieldguide.training.session import Session


@dataclass(frozen=True, eq=False)
class Examples:
    """The pictures of one part, as the recipe asked for them."""

    values: NDArray[Any]  # (num_images, embedding_size) floats, or RGB uint8 pixels (num_images, height, width, 3)
    labels: NDArray[np.int64]  # (num_images,); positions in class_names
    groups: NDArray[np.int64]  # (num_images,); pictures of one group (copies, a patient) must be held out together


@dataclass(frozen=True, eq=False)
class TrainingData:
    """All that a recipe learns from. Test pictures are not among it.

    Attributes:
        train: what to learn from.
        val: what to choose by. Empty where the recipe needs none and the user gave none.
        num_classes: length of class_names, 2 or more.
        seed: equal seeds give equal bytes on one machine.
        session: the bar, the lines and the checkpoints of the run that this is a part of.
    """

    train: Examples
    val: Examples
    num_classes: int
    seed: int
    session: Session = field(default_factory=Session)


class Recipe(Protocol):
    """What the workflow knows of a recipe; each is a frozen dataclass of flat settings, in a file of its own.

    A new one needs a line in `fieldguide.recipes.registry`; an object of your own that has these members can be given to
    `fieldguide.train(recipe=...)` as it is.
    """

    name: ClassVar[str]

    @property
    def needs_val(self) -> bool:
        """If not, a validation part that we carved ourselves is learned from as well."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        ...

    def frozen_network(self) -> Path | None:
        """The `network.xml` of a finished network: then the recipe learns from its embeddings, and it is what ships.

        None: the recipe learns from pixels, and ships the network that `fit` returns.
        """
        ...

    def fit(self, data: TrainingData) -> Fitted:
        """Learns.

        Raises:
            RecipeError: if it cannot be learned from these pictures with these settings.
        """
        ...

    def to_json(self) -> dict[str, Any]:
        """The settings."""
        ...
