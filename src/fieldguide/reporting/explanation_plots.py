"""A picture's explanation as a figure: where the network looked, and what the picture resembles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.decoding import decode, read_file
from fieldguide.errors import DatasetError, DecodeError
from fieldguide.records import Explanation, Resembling
from fieldguide.reporting import wording
from fieldguide.reporting.overlays import overlay
from fieldguide.reporting.style import BLUE, INK, ORANGE, TEXT_POINTS, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NEAREST = 5
_SIDE = 160  # px that a training picture is decoded to cover
_LONGEST_NAME = 22  # characters


def explanation(explained: Explanation, root: str | os.PathLike[str] | None = None) -> Figure:
    """The picture, the same with the evidence over it, and the nearest training pictures below.

    Blue places speak for the class and orange ones against it, the stronger the surer; the line surrounds the quarter of the
    picture with the most evidence.

    Args:
        explained: what `fieldguide.explain` returned.
        root: the folder of the training pictures, to show them; their names alone when None.

    Raises:
        DatasetError: if the explanation came from JSON, which holds no picture.
    """
    if explained.picture is None:
        raise DatasetError("This explanation holds no picture: it came from JSON.\nhint: explain the picture again.")
    nearest = explained.nearest[:_MOST_NEAREST]
    height, width = explained.picture.shape[:2]
    panel = 3.0 * min(2.0, height / width)  # inches
    below = 1.75 if nearest else 0.0
    figure = new_figure(6.6, panel + below + 0.75)
    total = panel + below + 0.75
    figure.suptitle(wording.explanation_title(explained), x=0.02, y=1 - 0.08 / total, ha="left", va="top", size=10, color=INK)
    bottom, top = (below + 0.12) / total, (panel + below + 0.12) / total
    for column, is_marked in enumerate((False, True)):
        axes = figure.add_axes((0.02 + 0.49 * column, bottom, 0.47, top - bottom))
        axes.imshow(explained.picture, extent=(0, 1, 1, 0), aspect="auto")
        _bare(axes)
        if is_marked:
            _mark(axes, explained)
    for column, near in enumerate(nearest):
        axes = figure.add_axes((0.02 + 0.196 * column, 0.5 / total, 0.176, (below - 0.75) / total))
        _show_nearest(axes, near, root, explained)
    return figure


def _mark(axes: Axes, explained: Explanation) -> None:
    if explained.evidence is None:
        axes.text(0.5, 0.5, "not known", ha="center", va="center", color="white", size=TEXT_POINTS)
        return
    axes.imshow(
        overlay(explained.evidence), extent=(0, 1, 1, 0), aspect="auto", interpolation="bilinear", interpolation_stage="rgba"
    )
    if explained.region is not None:
        for color, width in (("white", 2.6), (INK, 1.1)):
            for x, y in _outline(explained.region):
                axes.plot(x, y, color=color, linewidth=width, solid_capstyle="projecting")
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)


def _outline(region: NDArray[np.bool_]) -> list[tuple[Sequence[float], Sequence[float]]]:
    """The borders between places inside and outside, as lines in units of the picture."""
    rows, columns = region.shape
    padded = np.pad(region, 1)
    lines: list[tuple[Sequence[float], Sequence[float]]] = []
    for row, column in np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1]):
        lines.append(([column / columns, (column + 1) / columns], [row / rows] * 2))
    for row, column in np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1]):
        lines.append(([column / columns] * 2, [row / rows, (row + 1) / rows]))
    return lines


def _show_nearest(axes: Axes, near: Resembling, root: str | os.PathLike[str] | None, explained: Explanation) -> None:
    pixels = _read(root, near.path)
    if pixels is not None:
        axes.imshow(pixels)
    else:
        axes.text(0.5, 0.5, "not found", ha="center", va="center", transform=axes.transAxes, color=INK, size=TEXT_POINTS)
    _bare(axes)
    axes.set_anchor("SW")  # names in one line, whatever the shape of the pictures
    colour = BLUE if near.class_name == explained.class_name else ORANGE
    name = Path(near.path).name
    name = name if len(name) <= _LONGEST_NAME else "…" + name[-_LONGEST_NAME:]
    label = f"{near.class_name}, {near.distance:.2f}"
    axes.text(0, -0.06, label, transform=axes.transAxes, va="top", size=TEXT_POINTS, color=colour, weight="bold")
    axes.text(0, -0.24, name, transform=axes.transAxes, va="top", size=TEXT_POINTS - 2, color=INK)


def _read(root: str | os.PathLike[str] | None, path: str) -> NDArray[np.uint8] | None:
    if root is None:
        return None
    try:
        return decode(read_file(Path(root) / path), cover=(_SIDE, _SIDE)).pixels
    except DecodeError:
        return None


def _bare(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
