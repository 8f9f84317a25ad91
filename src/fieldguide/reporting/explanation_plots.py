"""A picture's explanation as a figure: where the network looked, and what the picture resembles."""

from __future__ import annotations

import os
import textwrap
import unicodedata
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
_LONGEST_NAME = 20  # characters of a file name below a training picture
_LONGEST_LABEL = 13  # characters of a class name there, which are larger and bold
_LONGEST_LINE = 82  # characters of the title
_LINE = 0.175  # inches between the lines of the title
_BELOW = 0.62  # inches for the words below the training pictures


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
    below = 1.25 + _BELOW if nearest else 0.0
    title = _lines(wording.explanation_title(explained))
    total = panel + below + 0.4 + _LINE * len(title)
    figure = new_figure(6.6, total)
    told = figure.suptitle("\n".join(title), x=0.02, y=1 - 0.08 / total, ha="left", va="top", size=10, color=INK)
    told.set_parse_math(False)
    bottom, top = (below + 0.12) / total, (panel + below + 0.12) / total
    for column, is_marked in enumerate((False, True)):
        axes = figure.add_axes((0.02 + 0.49 * column, bottom, 0.47, top - bottom))
        axes.imshow(explained.picture, extent=(0, 1, 1, 0), aspect="auto")
        _bare(axes)
        if is_marked:
            _mark(axes, explained)
    for column, near in enumerate(nearest):
        axes = figure.add_axes((0.02 + 0.196 * column, _BELOW / total, 0.176, 1.0 / total))
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
    from matplotlib.transforms import Bbox, TransformedBbox

    pixels = _read(root, near.path)
    if pixels is not None:
        axes.imshow(pixels)
    else:
        axes.text(0.5, 0.5, "not found", ha="center", va="center", transform=axes.transAxes, color=INK, size=TEXT_POINTS)
    _bare(axes)
    axes.set_anchor("SW")  # names in one line, whatever the shape of the pictures
    colour = BLUE if near.class_name == explained.class_name else ORANGE
    name = _fitting(Path(near.path).name[::-1], _LONGEST_NAME)[::-1]  # the end of a name tells more than its beginning
    left, bottom, width, _ = axes.get_position(original=True).bounds
    cell = Bbox.from_bounds(left, 0, width + 0.01, bottom)
    # Offsets are in points: the height of the axes is that of the picture. What is wider than thought is cut.
    for points, text, size, color, weight in (
        (-4.0, _fitting(near.class_name, _LONGEST_LABEL), TEXT_POINTS, colour, "bold"),
        (-16.0, f"distance {near.distance:.2f}", TEXT_POINTS, colour, "normal"),
        (-28.0, name, TEXT_POINTS - 2, INK, "normal"),
    ):
        axes.annotate(
            text,
            (0, 0),
            xycoords="axes fraction",
            xytext=(0, points),
            textcoords="offset points",
            va="top",
            size=size,
            color=color,
            weight=weight,
            parse_math=False,  # a class may be called "$x$"
            clip_box=TransformedBbox(cell, axes.figure.transFigure),
        ).set_clip_on(True)


def _lines(title: str) -> list[str]:
    """The title with lines that would not fit broken at their semicolons, and wherever else it takes."""
    parts = [line if len(line) <= _LONGEST_LINE else line.replace("; ", ";\n") for line in title.split("\n")]
    return [line for part in "\n".join(parts).split("\n") for line in textwrap.wrap(part, _LONGEST_LINE)]


def _fitting(name: str, most: int) -> str:
    """The beginning of a name, in as much room as so many letters take; East Asian characters take two."""
    widths = [2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in name]
    if sum(widths) <= most:
        return name
    kept = next(i for i in range(len(name) + 1) if sum(widths[: i + 1]) > most - 1)
    return name[:kept] + "…"


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
