"""What the actions of a review are worth: accuracy with and without them, on the pictures they leave alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.auditing.labels import MOST_LEARNED_FROM
from fieldguide.auditing.review import Review
from fieldguide.data.scan import Scan
from fieldguide.data.split import fold_numbers, stratified_sample
from fieldguide.embedding.linear_head import STRENGTHS, cross_validate
from fieldguide.errors import DatasetError
from fieldguide.evaluation.compare import mcnemar_p_value, paired_interval

_NUM_FOLDS = 5


def what_if(
    scanned: Scan,
    class_names: tuple[str, ...],
    embeddings: NDArray[Any],
    groups: NDArray[np.int64],
    review: Review,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Learns from all training pictures as they are, and as the review would have them, and scores both on the same ones.

    Scored are the pictures that the review neither excludes nor relabels, each by a classifier that had not seen it: their
    labels are the same on both sides. Test pictures take no part.

    Returns:
        `accuracy_without`, `accuracy_with`, `difference`, its 95 % `interval`, McNemar's `p_value`, `num_images` (scored),
        `num_excluded`, `num_relabelled`.

    Raises:
        DatasetError: if the review changes nothing in the training part, or leaves too little to learn from.
    """
    kept = [i for i, image in enumerate(scanned.images) if image.part != "test"]
    positions = np.array(kept, np.int64)
    if len(positions) > MOST_LEARNED_FROM:
        labels_of = np.array([scanned.images[i].label for i in kept])
        sample = stratified_sample(labels_of, groups[positions], at_most=MOST_LEARNED_FROM, fewest=2 * _NUM_FOLDS, seed=seed)
        positions = positions[sample]
    paths = [scanned.images[i].path for i in positions]
    label_of = {name: label for label, name in enumerate(class_names)}
    before = np.array([scanned.images[i].label for i in positions], np.int64)
    after = np.array([label_of[review.labels[p]] if p in review.labels else y for p, y in zip(paths, before, strict=True)])
    is_excluded = np.array([path in review.excluded for path in paths])
    is_scored = ~is_excluded & (before == after)
    if is_scored.all():
        raise DatasetError(
            "No training picture is excluded or relabelled: there is nothing to compare.\n"
            "hint: write exclude or relabel into the column action of review.csv."
        )
    counts = [np.bincount(y, minlength=len(class_names)).min() for y in (before, after[~is_excluded])]
    if min(counts) < _NUM_FOLDS:
        raise DatasetError(f"A class has fewer than {_NUM_FOLDS} pictures left; with and without cannot be compared.")
    x = np.asarray(embeddings[positions], np.float32)
    folds = fold_numbers(before, groups[positions], num_folds=_NUM_FOLDS, seed=seed)
    right_without = _right(x, before, folds, len(class_names))[is_scored]
    right_with = np.zeros(len(x), bool)
    right_with[~is_excluded] = _right(x[~is_excluded], after[~is_excluded], folds[~is_excluded], len(class_names))
    right_with = right_with[is_scored]
    gained, lost = int((right_with & ~right_without).sum()), int((right_without & ~right_with).sum())
    num_images = len(right_with)
    return {
        "accuracy_without": float(right_without.mean()),
        "accuracy_with": float(right_with.mean()),
        "difference": (gained - lost) / num_images,
        "interval": list(paired_interval(gained, lost, num_images)),
        "p_value": mcnemar_p_value(gained, lost),
        "num_images": num_images,
        "num_excluded": int(is_excluded.sum()),
        "num_relabelled": int((before != after).sum()),
    }


def _right(x: NDArray[np.float32], labels: NDArray[np.int64], folds: NDArray[np.int64], num_classes: int) -> NDArray[np.bool_]:
    found = cross_validate(x, labels, folds, num_classes=num_classes, strengths=STRENGTHS)
    return np.asarray(found.out_of_fold.argmax(axis=1) == labels)
