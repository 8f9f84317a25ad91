"""What gives a class away without being what the picture shows: brightness, size, format, frame, camera.

For each such number, and each class against all others, pictures are sorted into bins and each is assigned to the side that
is more frequent among the other pictures of its bin (leave-one-out). Where that is right far above chance, a network may
learn the number instead of the thing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.scan import Facts

_TELLS_FROM = 0.65  # balanced accuracy; chance is 0.5
_STANDARD_ERRORS = 5.0  # above chance, at least: many features and classes are tried
_NUM_BINS = 16
_OF_FILE = ("size", "shape", "compression", "format", "camera")
_FEWEST = 20  # pictures of the class, and of the others


@dataclass(frozen=True)
class Artefact:
    """A feature that tells one class from the others."""

    feature: str  # in words
    label: int
    accuracy: float  # balanced, leave-one-out
    typical: str  # of the class: the median, or the commonest value
    typical_of_others: str
    is_of_file: bool  # not of the pixels, where it may belong to what the pictures show


@dataclass(frozen=True, eq=False)
class _Feature:
    family: str  # of one family only the most telling is reported
    name: str
    bins: NDArray[np.int64]  # (num_images,)
    words: Sequence[str]  # per picture
    numbers: NDArray[np.float64] | None


def artefacts(facts: Sequence[Facts], labels: NDArray[np.int64], num_classes: int) -> list[Artefact]:
    """The features that tell a class from the others, the most telling of each family, best first."""
    counts = np.bincount(labels, minlength=num_classes)
    best: dict[str, Artefact] = {}
    for feature in _features(facts):
        for label in np.flatnonzero((counts >= _FEWEST) & (len(labels) - counts >= _FEWEST)).tolist():
            is_mine = labels == label
            accuracy, error = _balanced_accuracy(feature.bins, is_mine)
            known = best.get(feature.family)
            if accuracy < _TELLS_FROM or accuracy - 0.5 < _STANDARD_ERRORS * error or (known and known.accuracy >= accuracy):
                continue
            typical, others = (_typical(feature, mask) for mask in (is_mine, ~is_mine))
            best[feature.family] = Artefact(feature.name, label, accuracy, typical, others, feature.family in _OF_FILE)
    return sorted(best.values(), key=lambda artefact: -artefact.accuracy)


def _balanced_accuracy(bins: NDArray[np.int64], is_mine: NDArray[np.bool_]) -> tuple[float, float]:
    """The mean of both sides' shares of right answers, leave-one-out, and its standard error."""
    side = is_mine.astype(np.int64)
    counts = np.zeros((int(bins.max()) + 1, 2))
    np.add.at(counts, (bins, side), 1.0)
    others = counts[bins]
    others[np.arange(len(side)), side] -= 1.0
    totals = np.bincount(side, minlength=2) - 1.0
    is_right = ((others[:, 1] / totals[1] > others[:, 0] / totals[0]) == is_mine).astype(np.float64)
    shares = [float(is_right[side == s].mean()) for s in (0, 1)]
    error = math.sqrt(sum(share * (1 - share) / (total + 1.0) for share, total in zip(shares, totals, strict=True))) / 2
    return sum(shares) / 2, max(error, 1e-9)


def _typical(feature: _Feature, mask: NDArray[np.bool_]) -> str:
    positions: list[int] = np.flatnonzero(mask).tolist()
    if feature.numbers is None:
        return Counter(feature.words[i] for i in positions).most_common(1)[0][0]
    positions.sort(key=feature.numbers.__getitem__)
    return feature.words[positions[len(positions) // 2]]


def _features(facts: Sequence[Facts]) -> Iterator[_Feature]:
    looks = [f.looks for f in facts if f.looks is not None]
    sizes = [f.size for f in facts]
    if len(looks) < len(facts):
        return
    percent = "{:.0%}".format
    yield _number("light", "brightness", [k.brightness for k in looks], percent)
    yield _number("light", "the level of the brightest pixels", [k.brightest for k in looks], percent)
    yield _number("light", "the level of the darkest pixels", [k.darkest for k in looks], percent)
    yield _number("detail", "contrast", [k.contrast for k in looks], "{:.2f}".format)
    yield _number("detail", "sharpness", [k.sharpness for k in looks], "{:.2f}".format)
    yield _number("detail", "the variety of grey levels", [k.entropy for k in looks], "{:.1f} bits".format)
    yield _number("frame", "a plain frame", [k.border for k in looks], "{:.0%} of the area".format)
    areas, ratios = [h * w / 1e6 for h, w in sizes], [w / max(h, 1) for h, w in sizes]
    yield _number("size", "the size", areas, "{:.3g} megapixels".format)
    yield _number("shape", "the aspect ratio", ratios, "{:.2f}".format)
    density = [f.num_bytes / max(f.size[0] * f.size[1], 1) for f in facts]
    yield _number("compression", "the file's bytes per pixel", density, "{:.2f}".format)
    yield _word("size", "the exact size", [f"{w} x {h} px" for h, w in sizes])
    yield _word("format", "the file format", [f.format for f in facts])
    yield _word("camera", "the camera named in the file", [f.camera or "none" for f in facts])


def _number(family: str, name: str, numbers: Sequence[float], text: Callable[[float], str]) -> _Feature:
    values = np.asarray(numbers, np.float64)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, _NUM_BINS + 1)[1:-1]))
    words = [text(value) for value in numbers]
    return _Feature(family, name, np.searchsorted(edges, values, side="right"), words, values)


def _word(family: str, name: str, words: Sequence[str]) -> _Feature:
    """The commonest values have a bin each; the others share one."""
    common = {word: i for i, (word, _) in enumerate(Counter(words).most_common(_NUM_BINS - 1))}
    bins = np.array([common.get(word, len(common)) for word in words], np.int64)
    return _Feature(family, name, bins, words, None)
