"""What only embeddings show: labels to look at first, strangers, outliers of a class, classes that cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.auditing.labels import LabelCheck, check_labels
from fieldguide.embedding.gaussians import hold_out
from fieldguide.records import Finding, LabeledImage

_STRANGER = 3.0  # robust standard deviations of the log distance, beyond which a picture fits no class
_OUTLIER = 3.0  # the same, from its own class
_MOST_LISTED = 100  # strangers, and outliers
_CONFUSED = 0.75  # share of right answers between two classes, below which they cannot be told apart
_FEWEST = 20  # pictures of each, to say so


@dataclass(frozen=True)
class Content:
    """Findings `label_error`, `stranger`, `outlier`, `confusable_classes`, and the estimated share of wrong labels."""

    findings: tuple[Finding, ...]
    label_noise: float | None


def audit_content(
    images: Sequence[LabeledImage],
    class_names: Sequence[str],
    embeddings: NDArray[Any],
    groups: NDArray[np.int64],
    *,
    seed: int = 0,
) -> Content:
    """Judges every picture by classifiers and distances that had not seen it.

    Args:
        images: those to look at; in a training, without the test part.
        class_names: labels are positions in it.
        embeddings: (num_images, embedding_size).
        groups: (num_images,); pictures of one group (copies) are held out together.
        seed: of the folds.
    """
    labels = np.array([image.label for image in images], np.int64)
    check = check_labels(embeddings, labels, groups, num_classes=len(class_names), seed=seed)
    if check is None:
        return Content((), None)
    paths = [image.path for image in images]
    named = {paths[i] for i in check.positions[check.named].tolist()}
    findings = [
        *_labels(check, paths, labels, class_names),
        *_confusable(check, labels, class_names),
        *_strangers(check, embeddings, paths, labels, class_names, named),
    ]
    return Content(tuple(findings), check.noise_rate)


def _labels(
    check: LabelCheck, paths: Sequence[str], labels: NDArray[np.int64], class_names: Sequence[str]
) -> Iterator[Finding]:
    for row in check.named.tolist():
        position = int(check.positions[row])
        label, suggested = class_names[labels[position]], class_names[check.suggested[row]]
        text = f"Labelled {label!r}, looks like {suggested!r}: look at it first; the label is wrong with {check.wrong[row]:.0%}"
        score = round(float(check.wrong[row]), 4)
        yield Finding("label_error", "note", (paths[position],), text, suggested=suggested, score=score)


def _confusable(check: LabelCheck, labels: NDArray[np.int64], class_names: Sequence[str]) -> Iterator[Finding]:
    y = labels[check.positions]
    present, counts = np.unique(y, return_counts=True)
    large = present[counts >= _FEWEST].tolist()
    own = check.probabilities[np.arange(len(y)), y]
    # against[i, b]: whether the picture's own class is more probable than class b
    wins = own[:, None] > check.probabilities
    shares = {a: wins[y == a].mean(axis=0) for a in large}
    pairs = sorted((float(shares[a][b] + shares[b][a]) / 2, a, b) for a in large for b in large if a < b)
    for share, a, b in pairs:
        if share < _CONFUSED:
            text = (
                f"{class_names[a]!r} and {class_names[b]!r} can hardly be told apart by what a network trained on ImageNet "
                f"sees: between the two, {share:.0%} of the answers are right. Are they defined clearly enough?"
            )
            yield Finding("confusable_classes", "note", (), text, score=1 - share)


def _strangers(
    check: LabelCheck,
    embeddings: NDArray[Any],
    paths: Sequence[str],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    named: set[str],
) -> Iterator[Finding]:
    """By Mahalanobis distances from Gaussians without the picture; they are compared with each other alone."""
    folds = np.full(len(labels), -1, np.int64)
    folds[check.positions[check.learned_from]] = check.folds
    held_out = hold_out(embeddings, labels, folds, len(class_names))
    y = labels[held_out.positions]
    own = np.log(np.maximum(held_out.distances[np.arange(len(y)), y], 1e-6))
    nearest = np.log(np.maximum(held_out.distances.min(axis=1), 1e-6))
    is_stranger = nearest > _fence(nearest, _STRANGER)
    is_outlier = np.zeros(len(y), bool)
    for label in np.unique(y):
        is_outlier[y == label] = own[y == label] > _fence(own[y == label], _OUTLIER)
    is_outlier &= ~is_stranger & ~np.isin([paths[i] for i in held_out.positions], list(named))
    for kind, is_odd, distances, text in (
        ("stranger", is_stranger, nearest, "{} picture(s) that resemble no class: look whether they belong here"),
        ("outlier", is_outlier, own, "{} picture(s) unlike the others of their class: look whether they belong there"),
    ):
        rows = np.flatnonzero(is_odd)
        rows = rows[np.argsort(-distances[rows], kind="stable")][:_MOST_LISTED]
        if len(rows):
            yield Finding(kind, "note", tuple(paths[held_out.positions[i]] for i in rows), text.format(len(rows)))


def _fence(values: NDArray[np.float64], width: float) -> float:
    """The median and so many standard deviations, these by the median absolute deviation."""
    middle = np.median(values)
    return float(middle + width * 1.4826 * max(float(np.median(np.abs(values - middle))), 1e-3))
