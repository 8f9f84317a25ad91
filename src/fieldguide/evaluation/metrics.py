"""Metrics as functions of the record `Evaluation`, in numpy alone.

Where a figure is not defined (the recall of a class without pictures, the AUC of a single class) it is None, never NaN
and never a silent 0. Each formula is checked against scikit-learn or scipy in the tests; neither is imported here,
because the import alone takes longer than all the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DatasetError
from fieldguide.records import Evaluation

_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)  # float32 cannot tell 1 from 1 minus less than this
NUM_BINS = 15  # of confidence
_AVERAGED = ("precision", "recall", "f1")


def wilson_interval(num_correct: int, num_images: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the true accuracy with the given confidence, by Wilson's score method.

    It stays inside [0, 1] and is right near 0 % and 100 % and for few pictures, where "± 1.96 standard errors" is not.

    Args:
        num_correct: pictures classified correctly, 0 to num_images.
        num_images: pictures scored, at least 1.
        confidence: in (0, 1).

    Raises:
        DatasetError: if there is no picture.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953

    >>> [round(bound, 4) for bound in wilson_interval(98, 100)]
    [0.93, 0.9945]
    """
    if num_images < 1:
        raise _nothing_to_score()
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = num_correct / num_images
    spread = z * math.sqrt(share * (1 - share) / num_images + (z / num_images) ** 2 / 4)
    scale = 1 + z * z / num_images
    middle = share + z * z / num_images / 2
    # At 0 and at num_images one bound is 0 or 1 exactly; rounding would leave 1e-17.
    low = 0.0 if num_correct == 0 else (middle - spread) / scale
    high = 1.0 if num_correct == num_images else (middle + spread) / scale
    return low, high


def accuracy(evaluation: Evaluation) -> float:
    """Share of the pictures whose top class is their label, in [0, 1].

    Raises:
        DatasetError: if there is no picture.
    """
    _require_pictures(evaluation)
    return float(evaluation.correct.mean())


def top_k_accuracy(evaluation: Evaluation, k: int) -> float:
    """Share of the pictures whose label is among their k most probable classes, in [0, 1].

    Raises:
        DatasetError: if there is no picture.
    """
    _require_pictures(evaluation)
    # A stable order breaks ties as argmax does, so that top_k_accuracy(e, 1) == accuracy(e).
    top = np.argsort(-evaluation.probabilities, axis=1, kind="stable")[:, :k]
    return float((top == evaluation.labels[:, None]).any(axis=1).mean())


def confusion_matrix(evaluation: Evaluation) -> NDArray[np.int64]:
    """Counts of shape (num_classes, num_classes): rows are the true classes, columns the predicted ones."""
    num_classes = len(evaluation.class_names)
    cells = evaluation.labels * num_classes + evaluation.predicted
    return np.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes).astype(np.int64)


def per_class(evaluation: Evaluation) -> tuple[dict[str, Any], ...]:
    """One dict per class, in the order of class_names: class_name, precision, recall, f1, support, auc.

    `support` is the number of pictures of the class. `precision` is None where the class was never predicted, `recall`
    where it has no picture, `f1` where neither happened. `auc` is that of the class against the rest, None where
    either side has no picture.
    """
    matrix = confusion_matrix(evaluation)
    return tuple(
        {
            "class_name": name,
            "precision": _ratio(matrix[c, c], matrix[:, c].sum()),
            "recall": _ratio(matrix[c, c], matrix[c].sum()),
            "f1": _ratio(2 * matrix[c, c], matrix[:, c].sum() + matrix[c].sum()),
            "support": int(matrix[c].sum()),
            "auc": area_under_roc(evaluation.labels == c, evaluation.probabilities[:, c]),
        }
        for c, name in enumerate(evaluation.class_names)
    )


def averages(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """`macro` (every class counts the same) and `weighted` (every picture does) precision, recall and f1.

    Classes without a picture are left out; the precision of a class that was never predicted counts as 0.

    Raises:
        DatasetError: if there is no picture.
    """
    _require_pictures(evaluation)
    return _averages(per_class(evaluation))


def roc_auc(evaluation: Evaluation) -> float | None:
    """Mean over the classes of the area under the ROC curve of one class against the rest, in [0, 1].

    Classes without a picture are left out. None if no class has both pictures of its own and others.
    """
    return _mean_auc(per_class(evaluation))


def log_loss(evaluation: Evaluation) -> float:
    """Mean of -log(probability of the true class), in nats; 0 is perfect, log(num_classes) is guessing.

    Probabilities are clipped to [1.2e-7, 1], so that one certain error costs 16 and not infinity.

    Raises:
        DatasetError: if there is no picture.
    """
    _require_pictures(evaluation)
    return float(losses(evaluation).mean())


def losses(evaluation: Evaluation) -> NDArray[np.float64]:
    """Shape (num_images,): -log(probability of the true class) of each picture, clipped as in `log_loss`."""
    of_label = evaluation.probabilities[np.arange(len(evaluation.labels)), evaluation.labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(of_label, _SMALLEST_PROBABILITY, 1.0)))


def expected_calibration_error(probabilities: NDArray[Any], labels: NDArray[np.int64], num_bins: int = NUM_BINS) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins, weighted by the pictures in each.

    Args:
        probabilities: (num_images, num_classes); each row sums to 1.
        labels: (num_images,); positions in class_names.
        num_bins: bins over (0, 1]. The result depends on it, so reports print it too.

    Returns:
        float in [0, 1]; 0 means that confidence equals accuracy in every bin. Chance alone makes it larger than 0: the fewer
        pictures, the larger.

    Raises:
        DatasetError: if the two disagree on num_images, or hold no picture.

    Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.

    >>> expected_calibration_error(np.array([[0.75, 0.25], [0.625, 0.375]]), np.array([0, 1]))
    0.4375
    """
    bins, confidence, correct = confidence_bins(probabilities, labels, num_bins)
    # Of each bin: count * |mean confidence - mean correct| = |sum of differences|.
    return float(np.abs(np.bincount(bins, confidence - correct)).sum() / len(labels))


def confidence_bins(
    probabilities: NDArray[Any], labels: NDArray[np.int64], num_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """For each picture: its bin of confidence (0 .. num_bins - 1), the confidence, and whether the top class is right.

    Args and errors as in `expected_calibration_error`.
    """
    if len(probabilities) != len(labels) or not len(labels):
        raise DatasetError(
            f"Calibration needs one row of probabilities per label, and one at least; received {len(probabilities)} rows "
            f"and {len(labels)} labels."
        )
    confidence = probabilities.max(axis=1).astype(np.float64)
    bins = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    return bins, confidence, np.asarray(probabilities.argmax(axis=1) == labels)


def summarize(evaluation: Evaluation) -> dict[str, Any]:
    """The figures of one part as JSON-ready values.

    Returns:
        accuracy, interval ([low, high], 95 %), num_images, method, log_loss, roc_auc (or None), top_k ({"3": ...,
        "5": ...} as far as there are more classes than that), macro and weighted ({precision, recall, f1}),
        calibration_error (expected, over 15 bins of confidence), answered (None where no picture may be turned away; else
        share, and accuracy, interval and num_images among those that were not turned away: the accuracy above counts every
        picture), without_leaks ({accuracy, interval, num_images} without the pictures whose copy is in the training part;
        None where there is none, or nothing else), num_leaked, times_scored.

    Raises:
        DatasetError: if there is no picture.
    """
    _require_pictures(evaluation)
    rows = per_class(evaluation)
    return {
        **_score(evaluation.correct),
        "method": evaluation.method,
        "log_loss": _finite(log_loss(evaluation)),
        "roc_auc": _mean_auc(rows),
        "top_k": {str(k): top_k_accuracy(evaluation, k) for k in (3, 5) if len(evaluation.class_names) > k},
        **_averages(rows),
        "calibration_error": expected_calibration_error(evaluation.probabilities, evaluation.labels),
        "answered": _answered(evaluation),
        "without_leaks": _score_without_leaks(evaluation),
        "num_leaked": len(evaluation.leaked),
        "times_scored": evaluation.times_scored,
    }


def details(evaluation: Evaluation) -> dict[str, Any]:
    """`confusion_matrix` (lists of counts, rows true, columns predicted) and `per_class`, JSON-ready."""
    return {"confusion_matrix": confusion_matrix(evaluation).tolist(), "per_class": list(per_class(evaluation))}


def _score(correct: NDArray[np.bool_]) -> dict[str, Any]:
    num_correct, num_images = int(correct.sum()), len(correct)
    interval = list(wilson_interval(num_correct, num_images))
    return {"accuracy": num_correct / num_images, "interval": interval, "num_images": num_images}


def _answered(evaluation: Evaluation) -> dict[str, Any] | None:
    if evaluation.novelties is None or not evaluation.reject:
        return None
    is_answered = ~evaluation.turned_away
    share = float(is_answered.mean())
    nothing = {"accuracy": None, "interval": None, "num_images": 0}
    return {"share": share, **(_score(evaluation.correct[is_answered]) if share else nothing)}


def _score_without_leaks(evaluation: Evaluation) -> dict[str, Any] | None:
    rest = np.delete(evaluation.correct, list(evaluation.leaked))
    return _score(rest) if evaluation.leaked and len(rest) else None


def _averages(rows: tuple[Mapping[str, Any], ...]) -> dict[str, dict[str, float]]:
    present = [row for row in rows if row["support"]]
    weights = {"macro": None, "weighted": [row["support"] for row in present]}
    return {
        kind: {name: float(np.average([row[name] or 0.0 for row in present], weights=weight)) for name in _AVERAGED}
        for kind, weight in weights.items()
    }


def _mean_auc(rows: tuple[Mapping[str, Any], ...]) -> float | None:
    defined = [row["auc"] for row in rows if row["auc"] is not None]
    return float(np.mean(defined)) if defined else None


def area_under_roc(is_positive: NDArray[np.bool_], scores: NDArray[np.float32]) -> float | None:
    """The probability that a random positive scores above a random negative; ties count one half."""
    num_positive = int(is_positive.sum())
    num_negative = len(is_positive) - num_positive
    if not num_positive or not num_negative:
        return None
    _, position, count = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2  # 1 is the lowest; equal scores share the mean of their ranks
    rank_sum = float(mean_rank[position][is_positive].sum())
    return (rank_sum - num_positive * (num_positive + 1) / 2) / (num_positive * num_negative)


def _ratio(numerator: np.int64, denominator: np.int64) -> float | None:
    return float(numerator / denominator) if denominator else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _require_pictures(evaluation: Evaluation) -> None:
    if not len(evaluation.labels):
        raise _nothing_to_score(evaluation.part)


def _nothing_to_score(part: str = "") -> DatasetError:
    where = f"the {part} part" if part else "it"
    return DatasetError(
        f"There is nothing to score: {where} has no picture.\nhint: `fieldguide audit` tells what the folder holds."
    )
