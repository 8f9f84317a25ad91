"""Which pictures are worth showing: chosen by rule, the same at every run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluation.metrics import losses
from fieldguide.records import Evaluation


def right(evaluation: Evaluation, count: int) -> NDArray[np.int64]:
    """Positions of correct answers, from the surest to the closest call, evenly over all of them."""
    by_loss = _by_loss(evaluation)
    return spread(by_loss[evaluation.correct[by_loss]][::-1], count)


def wrong(evaluation: Evaluation) -> NDArray[np.int64]:
    """Positions of all errors, the worst (least probability for the true class) first."""
    by_loss = _by_loss(evaluation)
    return by_loss[~evaluation.correct[by_loss]]


def spread(positions: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of the positions, evenly spaced, with the first and the last among them."""
    if len(positions) <= count:
        return positions
    return positions[np.linspace(0, len(positions) - 1, count).round().astype(np.int64)]


def _by_loss(evaluation: Evaluation) -> NDArray[np.int64]:
    return np.asarray(np.argsort(-losses(evaluation), kind="stable"), dtype=np.int64)
