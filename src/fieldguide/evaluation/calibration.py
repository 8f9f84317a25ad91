"""Whether probabilities mean what they say: calibration, coverage, and prediction sets, as functions of `Evaluation`.

A picture's confidence is the probability of its top class. Of all pictures with confidence 0.9, nine in ten should be
classified correctly; how far that is from true is what these figures say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluation.metrics import NUM_BINS, confidence_bins, wilson_interval
from fieldguide.records import Evaluation

TARGET_ACCURACIES = (0.95, 0.98, 0.99, 0.995, 0.999)


def reliability(probabilities: NDArray[Any], labels: NDArray[np.int64], num_bins: int = NUM_BINS) -> tuple[dict[str, Any], ...]:
    """What a reliability diagram shows: one dict per bin of confidence that holds a picture, lowest first.

    Args and errors as in `metrics.expected_calibration_error`.

    Returns:
        dicts of low, high (the bin, low < confidence <= high), num_images, confidence (mean), accuracy, interval
        ([low, high], 95 %, of the accuracy).
    """
    bins, confidence, correct = confidence_bins(probabilities, labels, num_bins)
    rows = []
    for number in np.unique(bins).tolist():
        mine = bins == number
        num_correct, num_images = int(correct[mine].sum()), int(mine.sum())
        rows.append(
            {
                "low": number / num_bins,
                "high": (number + 1) / num_bins,
                "num_images": num_images,
                "confidence": float(confidence[mine].mean()),
                "accuracy": num_correct / num_images,
                "interval": list(wilson_interval(num_correct, num_images)),
            }
        )
    return tuple(rows)


def coverage_curve(evaluation: Evaluation) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy among the surest pictures, for every share of pictures that could be answered.

    Returns:
        (coverage, accuracy, confidence), each of shape (num_points,), coverage ascending to 1: answering only where the
        probability is at least `confidence` answers the share `coverage`, and `accuracy` of those are right. Pictures of
        equal confidence are answered together.
    """
    confidence = evaluation.probabilities.max(axis=1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    is_last = np.append(ranked[1:] != ranked[:-1], True)  # of those with this confidence
    counts = np.flatnonzero(is_last) + 1
    return counts / len(order), np.cumsum(evaluation.correct[order])[is_last] / counts, ranked[is_last]


def answers_when_sure(chosen_on: Evaluation, measured_on: Evaluation) -> tuple[dict[str, Any], ...]:
    """How many pictures can be answered so that a given share of the answers is right: "99.5 % right on 94 %".

    Args:
        chosen_on: validation: for each target the confidence is chosen from which on that share of its answers is right.
        measured_on: test: what answering from that confidence on is worth there.

    Returns:
        One dict per target above what answering everything reaches on `chosen_on`, as far as it can be reached there: target,
        confidence, coverage (share answered), num_images (answered), accuracy, interval ([low, high], 95 %); the last two
        are None where nothing is answered.
    """
    _, accuracy, confidence = coverage_curve(chosen_on)
    surest = measured_on.probabilities.max(axis=1).astype(np.float64)
    rows = []
    for target in TARGET_ACCURACIES:
        reached = np.flatnonzero(accuracy >= target)
        if accuracy[-1] >= target or not len(reached):
            continue
        is_answered = surest >= confidence[reached[-1]]
        num_correct, num_images = int(measured_on.correct[is_answered].sum()), int(is_answered.sum())
        rows.append(
            {
                "target": target,
                "confidence": float(confidence[reached[-1]]),
                "coverage": num_images / len(surest),
                "num_images": num_images,
                "accuracy": num_correct / num_images if num_images else None,
                "interval": list(wilson_interval(num_correct, num_images)) if num_images else None,
            }
        )
    return tuple(rows)
