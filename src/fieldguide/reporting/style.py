"""What the figures have in common. matplotlib is imported inside the functions, since that takes half a second."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's, which colour-blind readers tell apart.
INK = "#1f2328"
BLUE = "#0072b2"  # training, precision, right answers
ORANGE = "#d55e00"  # validation, recall, wrong answers

TEXT_POINTS = 8.5


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that size in inches, outside pyplot, which a notebook shows all the same."""
    from fieldguide.reporting.notebook_figure import NotebookFigure

    return NotebookFigure(figsize=(width, height), dpi=144)


def style_axes(axes: Axes, *, grid: str | None) -> None:
    """Quiet spines, ticks and grid lines (`x`, `y`, `both`, or None for neither grid nor spines)."""
    for name, spine in axes.spines.items():
        spine.set_visible(name in ("left", "bottom") and grid is not None)
        spine.set(color=INK, alpha=0.5)
    axes.tick_params(colors=INK, labelsize=TEXT_POINTS, length=0)
    if grid:
        axes.grid(axis=grid, color=INK, alpha=0.12, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.xaxis.label.set_fontsize(TEXT_POINTS)
    axes.yaxis.label.set_fontsize(TEXT_POINTS)
