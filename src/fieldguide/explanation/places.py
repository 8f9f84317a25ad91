"""From evidence by place to words: "upper left, 61 % of the evidence"."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REGION_AREA = 0.25  # share of the picture that the outlined region takes

_ZONES = (
    ("upper left", "top", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "bottom", "lower right"),
)
_CLEAR_ZONE = 0.3  # of the evidence in one ninth of the picture: from there on the ninth is named
_CLEAR_HALF = 0.65


def main_place(evidence: NDArray[np.float32]) -> tuple[str, float] | None:
    """Where most of the evidence for a class lies, and its share of all that speaks for the class.

    The ninth of the picture with the most evidence is named where it holds 30 % or more; else the half that holds 65 % or more;
    else the ninth, as the most of what is spread out.

    Args:
        evidence: (rows, columns); what speaks against the class is below 0 and not counted.

    Returns:
        words and a share in (0, 1]; None where nothing speaks for the class.

    >>> evidence = np.zeros((6, 6), np.float32)
    >>> evidence[0, 0], evidence[3, 3], evidence[5, 5] = 6, 4, -9
    >>> main_place(evidence)
    ('upper left', 0.6)
    """
    positive = np.maximum(np.asarray(evidence, np.float64), 0)
    if not positive.sum():
        return None
    ninths = _parts(positive, 3)
    row, column = divmod(int(ninths.argmax()), 3)
    zone, share = _ZONES[row][column], float(ninths.max())
    if share >= _CLEAR_ZONE:
        return zone, share
    rows, columns = _parts(positive, 2).sum(axis=1), _parts(positive, 2).sum(axis=0)
    halves = {"upper half": rows[0], "lower half": rows[1], "left half": columns[0], "right half": columns[1]}
    half = max(halves, key=lambda name: halves[name])
    if halves[half] >= _CLEAR_HALF:
        return half, float(halves[half])
    return f"spread out, most of it {_in_words(zone)}", share


def strongest_region(evidence: NDArray[np.float32], area: float = REGION_AREA) -> NDArray[np.bool_]:
    """The places with the most evidence, as many as make up that share of the picture: (rows, columns)."""
    count = max(1, round(area * evidence.size))
    order = np.argsort(-evidence, axis=None, kind="stable")
    region = np.zeros(evidence.size, bool)
    region[order[:count]] = True
    return region.reshape(evidence.shape)


def share_inside(evidence: NDArray[np.float32], region: NDArray[np.bool_]) -> float:
    """How much of what speaks for the class lies in a region, in [0, 1]."""
    positive = np.maximum(np.asarray(evidence, np.float64), 0)
    return float(positive[region].sum() / positive.sum()) if positive.sum() else 0.0


def _parts(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Shares of the sum by parts of equal area, (count, count); a place on a border counts for both sides by area."""
    rows, columns = (_overlaps(size, count) for size in values.shape)
    return np.asarray(rows @ values @ columns.T / values.sum())


def _overlaps(size: int, count: int) -> NDArray[np.float64]:
    """(count, size): which share of each of `size` places lies in each of `count` parts of equal length."""
    edges = np.arange(size + 1) / size
    starts, ends = np.arange(count)[:, None] / count, np.arange(1, count + 1)[:, None] / count
    overlap = np.minimum(edges[None, 1:], ends) - np.maximum(edges[None, :-1], starts)
    return np.asarray(np.maximum(overlap, 0) * size)


def _in_words(zone: str) -> str:
    return {"centre": "in the centre", "top": "at the top", "bottom": "at the bottom"}.get(zone, zone)
