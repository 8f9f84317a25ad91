"""`classic`: the CNN of the textbooks, trained from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fieldguide.models.operations import Network
from fieldguide.recipes.from_scratch import FromScratch
from fieldguide.recipes.trained import check, check_whole


@dataclass(frozen=True)
class Classic(FromScratch):
    """Blocks of Conv2D, MaxPooling2D, BatchNormalization and ReLU, then Flatten, Dense, Dropout, Dense; from scratch.

    2,000 photographs of cats and dogs, 300 of them for validation: test accuracy 87.42 % (n = 2,000, mean of 3 seeds),
    5.4 minutes (median of these, 4.9 to 5.5) on two cores with bf16, process start to report;
    `fieldguide train cats_dogs --recipe classic`.

    Raises:
        RecipeError: if a setting is out of range; the message says the range.
    """

    name: ClassVar[str] = "classic"

    filters: tuple[int, ...] = (16, 32, 64, 128)  # of the convolution in each block
    units: int = 256  # of the dense layer below the last
    dropout: float = 0.6
    epochs: int = 70
    average_momentum: float = 0.999
    cutmix: float = 0.15

    def __post_init__(self) -> None:
        check("filters", self.filters, bool(self.filters) and min(self.filters) >= 1, "one or more numbers >= 1")
        super().__post_init__()
        check_whole("units", self.units)
        check("dropout", self.dropout, 0 <= self.dropout < 1, "in [0, 1)")

    def network(self) -> Network:
        """The architecture and its numbers."""
        options = {"filters": self.filters, "units": self.units, "dropout": self.dropout}
        return Network("classic", self.image_size, {**options, "test_time_flip": self.answers_for_mirrored})

    def smallest_size(self) -> int:
        """Of the sides of `image_size`, in pixels: each block halves them."""
        return int(2 ** len(self.filters))
