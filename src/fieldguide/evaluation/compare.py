"""Whether one classifier is really better than another: both scored on the same pictures, pair by pair.

Two accuracies with overlapping intervals may still differ beyond doubt, because the pictures that both got right, or both
wrong, tell nothing. What tells is the pictures on which they disagree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DatasetError
from fieldguide.records import Evaluation, Record, Skipped

_MOST_NAMED = 3  # pictures in an error


@dataclass(frozen=True)
class Flip(Record):
    """A picture on whose class the two disagree."""

    path: str
    label: str
    a: str  # the class that run A gave it, and how probable A called it
    a_probability: float
    b: str
    b_probability: float

    @property
    def kind(self) -> str:
        """`gained`: wrong in A, right in B; `lost`: the other way round; `changed`: wrong in both, differently."""
        return "gained" if self.b == self.label else "lost" if self.a == self.label else "changed"


@dataclass(frozen=True)
class Comparison(Record):
    """Two runs on the same pictures; differences are those of B against A, as shares of the pictures.

    Attributes:
        part: test, or val where there is no test part.
        num_images: pictures that both were scored on.
        a_accuracy, b_accuracy: each by itself.
        difference: b_accuracy - a_accuracy.
        interval: (low, high), 95 %, of the difference.
        p_value: of McNemar's exact test: how probable so uneven a number of gained and lost pictures would be if the two
            were equally good. Below 0.05 is the usual line.
        num_gained: wrong in A and right in B.
        num_lost: right in A and wrong in B.
        per_class: dicts of class_name, num_images, a_accuracy, b_accuracy, difference, num_gained, num_lost, p_value.
        flips: the pictures whose class differs, gained, then lost, then changed; the surest first.
        names: of the two runs, as they were given.
        skipped: files of other labelled pictures that could not be read, and were not scored.
    """

    part: str
    num_images: int
    a_accuracy: float
    b_accuracy: float
    difference: float
    interval: tuple[float, float]
    p_value: float
    num_gained: int
    num_lost: int
    per_class: tuple[dict[str, Any], ...]
    flips: tuple[Flip, ...]
    names: tuple[str, str] = ("A", "B")
    skipped: tuple[Skipped, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """This record as JSON-ready values; each flip says its kind."""
        return {**super().to_json(), "flips": [{"kind": flip.kind, **flip.to_json()} for flip in self.flips]}


def compare(a: Evaluation, b: Evaluation, *, names: tuple[str, str] = ("A", "B")) -> Comparison:
    """Compares two evaluations of the same pictures. Classes are matched by name.

    Raises:
        DatasetError: if they differ in their pictures or classes; the message says how.
    """
    _require_same_classes(a, b, names)
    rows_a, rows_b = _matched_rows(a, b, names)
    labels = a.labels[rows_a]
    top_a, top_b = a.predicted[rows_a], _in_order_of(a, b)[b.predicted[rows_b]]
    right_a, right_b = top_a == labels, top_b == labels
    gained, lost = ~right_a & right_b, right_a & ~right_b
    count, num_gained, num_lost = len(labels), int(gained.sum()), int(lost.sum())
    return Comparison(
        part=a.part,
        num_images=count,
        a_accuracy=float(right_a.mean()),
        b_accuracy=float(right_b.mean()),
        difference=(num_gained - num_lost) / count,
        interval=paired_interval(num_gained, num_lost, count),
        p_value=mcnemar_p_value(num_gained, num_lost),
        num_gained=num_gained,
        num_lost=num_lost,
        per_class=tuple(_class_row(name, labels == c, right_a, right_b) for c, name in enumerate(a.class_names)),
        flips=_flips(a, b, rows_a, rows_b, top_a, top_b),
        names=names,
    )


def mcnemar_p_value(num_gained: int, num_lost: int) -> float:
    """The probability of a split of the disagreements at least so uneven, if each side were equally likely; two-sided.

    Source: McNemar 1947, https://doi.org/10.1007/BF02295996; the exact, binomial form.

    >>> mcnemar_p_value(5, 0)
    0.0625
    """
    if num_gained + num_lost == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(num_gained, num_gained + num_lost).pvalue)


def paired_interval(num_gained: int, num_lost: int, num_images: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the difference of two accuracies on the same pictures.

    Wald's, after one picture more has been counted on either side: right for few pictures and for few disagreements too.

    Source: Bonett and Price 2012, https://doi.org/10.3102/1076998611411915

    >>> [round(bound, 4) for bound in paired_interval(30, 10, 1000)]
    [0.0073, 0.0326]
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    gained, lost = (num_gained + 1) / (num_images + 2), (num_lost + 1) / (num_images + 2)
    middle = gained - lost
    spread = z * math.sqrt((gained + lost - middle**2) / (num_images + 2))
    return max(-1.0, middle - spread), min(1.0, middle + spread)


def _require_same_classes(a: Evaluation, b: Evaluation, names: tuple[str, str]) -> None:
    only_a, only_b = sorted(set(a.class_names) - set(b.class_names)), sorted(set(b.class_names) - set(a.class_names))
    if only_a or only_b:
        raise DatasetError(
            "The two runs know different classes, so that their scores cannot be compared.\n"
            f"Received: only {names[0]} has {', '.join(only_a) or 'none'}; only {names[1]} has {', '.join(only_b) or 'none'}.\n"
            "hint: train both on the same classes (`--exclude-class` leaves one out)."
        )


def _in_order_of(a: Evaluation, b: Evaluation) -> NDArray[np.int64]:
    """For each class of b, its position among those of a."""
    return np.array([a.class_names.index(name) for name in b.class_names], dtype=np.int64)


def _matched_rows(a: Evaluation, b: Evaluation, names: tuple[str, str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of the same pictures in a and in b, in a's order.

    Raises:
        DatasetError: if a picture is missing on one side, or has another content or label there.
    """
    row_of = {path: i for i, path in enumerate(b.paths)}
    problems = []
    missing_in_b = [path for path in a.paths if path not in row_of]
    missing_in_a = sorted(set(row_of) - set(a.paths))
    for missing, has in ((missing_in_b, names[0]), (missing_in_a, names[1])):
        if missing:
            problems.append(f"{len(missing):,} picture(s) only in {has}, such as {_named(missing)}")
    common = [path for path in a.paths if path in row_of]
    rows_a = np.array([i for i, path in enumerate(a.paths) if path in row_of], dtype=np.int64)
    rows_b = np.array([row_of[path] for path in common], dtype=np.int64)
    other_label = np.flatnonzero(a.labels[rows_a] != _in_order_of(a, b)[b.labels[rows_b]])
    if len(other_label):
        problems.append(f"{len(other_label):,} with another label, such as {_named([common[i] for i in other_label])}")
    if a.digests and b.digests:
        other = [common[k] for k, (i, j) in enumerate(zip(rows_a, rows_b, strict=True)) if a.digests[i] != b.digests[j]]
        if other:
            problems.append(f"{len(other):,} with another content under the same name, such as {_named(other)}")
    if problems:
        raise DatasetError(
            f"The two runs were scored on different {a.part} pictures, so that their scores cannot be compared.\n"
            f"Received: {len(a.paths):,} pictures in {names[0]} and {len(b.paths):,} in {names[1]}; {'; '.join(problems)}.\n"
            "hint: train both with the same test folder, or score both on the same pictures with `--data DIR`."
        )
    return rows_a, rows_b


def _named(paths: list[str]) -> str:
    return ", ".join(repr(path) for path in paths[:_MOST_NAMED])


def _class_row(name: str, is_mine: NDArray[np.bool_], right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> dict[str, Any]:
    count = int(is_mine.sum())
    num_gained, num_lost = int((is_mine & ~right_a & right_b).sum()), int((is_mine & right_a & ~right_b).sum())
    return {
        "class_name": name,
        "num_images": count,
        "a_accuracy": float(right_a[is_mine].mean()) if count else None,
        "b_accuracy": float(right_b[is_mine].mean()) if count else None,
        "difference": (num_gained - num_lost) / count if count else None,
        "num_gained": num_gained,
        "num_lost": num_lost,
        "p_value": mcnemar_p_value(num_gained, num_lost),
    }


def _flips(
    a: Evaluation,
    b: Evaluation,
    rows_a: NDArray[np.int64],
    rows_b: NDArray[np.int64],
    top_a: NDArray[np.int64],
    top_b: NDArray[np.int64],
) -> tuple[Flip, ...]:
    flips = [
        Flip(
            path=a.paths[rows_a[i]],
            label=a.class_names[a.labels[rows_a[i]]],
            a=a.class_names[top_a[i]],
            a_probability=float(a.probabilities[rows_a[i]].max()),
            b=a.class_names[top_b[i]],
            b_probability=float(b.probabilities[rows_b[i]].max()),
        )
        for i in np.flatnonzero(top_a != top_b)
    ]
    order = ("gained", "lost", "changed")
    return tuple(sorted(flips, key=lambda f: (order.index(f.kind), -max(f.a_probability, f.b_probability), f.path)))
