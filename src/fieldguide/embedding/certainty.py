"""How far answers can be trusted: what held-out pictures taught, in one record that ships with the head."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.embedding.conformal import prediction_sets, set_threshold
from fieldguide.embedding.novelty import Novelty
from fieldguide.errors import BundleError


@dataclass(frozen=True, eq=False)
class Certainty:
    """What is done with the head's logits before they are an answer.

    Attributes:
        temperature: logits are divided by it.
        novelty: which pictures are none of the classes; None where nothing was held out, and in bundles of older versions.
        of_labels: (num_held_out,) ascending; the probability, at this temperature, of the label of each held-out picture;
            None where there are none, and in bundles of older versions.
    """

    temperature: float = 1.0
    novelty: Novelty | None = None
    of_labels: NDArray[np.float32] | None = None

    def with_reject(self, reject: float) -> Certainty:
        """The same with another share of own pictures to turn away.

        Raises:
            RecipeError: if the share is out of range.
            BundleError: if nothing is known of novelty.
        """
        if self.novelty is None:
            raise BundleError(_UNKNOWN.format(what="which pictures are none of its classes"))
        return dataclasses.replace(self, novelty=dataclasses.replace(self.novelty, reject=reject))

    def sets(self, probabilities: NDArray[Any], coverage: float) -> NDArray[np.bool_]:
        """(num_images, num_classes): the classes each picture may well be; that share of the sets holds the right one.

        Raises:
            RecipeError: if the coverage is not between 0 and 1.
            BundleError: if nothing is known of held-out pictures.
        """
        if self.of_labels is None:
            raise BundleError(_UNKNOWN.format(what="how sure its answers must be for prediction sets"))
        return prediction_sets(probabilities, set_threshold(self.of_labels, coverage))


_UNKNOWN = (
    "The bundle does not know {what}: every training picture was learned from, or an older version wrote it.\n"
    "hint: train again; with `--recipe scratch` add `--set validate=true`, which keeps pictures aside for it."
)
