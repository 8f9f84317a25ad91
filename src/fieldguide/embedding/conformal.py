"""Prediction sets: all classes a picture may well be, few enough to help and many enough to hold the right one.

Held-out pictures say how small the probability of the right class can be: the share 1 - coverage of them had less than
some threshold. A new picture of the same kind has, with that coverage, its right class among those above the threshold,
whatever the network and however good. Nothing is said of strangers, nor of each class by itself.

Source: Sadinle, Lei and Wasserman 2019, https://arxiv.org/abs/1609.00451 (least ambiguous sets); the finite-sample
rank: Vovk et al. 2005; held out in folds rather than once: Vovk 2015, https://doi.org/10.1007/s10472-013-9368-4.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import RecipeError


def set_threshold(of_labels: NDArray[Any], coverage: float) -> float:
    """The probability from which on a class belongs to the set.

    Args:
        of_labels: (num_images,), the probability that each held-out picture's label got.
        coverage: wanted share of pictures whose set holds the right class, in (0, 1).

    Returns:
        In [0, 1]. 0, by which every class belongs, where there are too few pictures to promise that coverage: 0.95 needs 19.

    Raises:
        RecipeError: if the coverage is out of range.

    >>> set_threshold(np.arange(1, 100) / 100, 0.95)
    0.05
    """
    if not 0 < coverage < 1:
        raise RecipeError(
            f"The coverage of prediction sets must lie between 0 and 1; received {coverage}.\nhint: 0.95 is usual."
        )
    # 1e-9: (99 + 1) * (1 - 0.95) is 5.000000000000004
    rank = math.floor((len(of_labels) + 1) * (1 - coverage) + 1e-9)
    return float(np.sort(of_labels)[rank - 1]) if rank else 0.0


def prediction_sets(probabilities: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """(num_images, num_classes): which classes belong to each picture's set. The top class always does."""
    is_top = np.arange(probabilities.shape[1]) == probabilities.argmax(axis=1)[:, None]
    return np.asarray((probabilities >= threshold) | is_top)
