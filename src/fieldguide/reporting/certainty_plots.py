"""Figures of how sure an evaluation's answers are, and how rightly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from fieldguide.evaluation.calibration import coverage_curve, reliability
from fieldguide.evaluation.metrics import NUM_BINS
from fieldguide.records import Evaluation
from fieldguide.reporting.style import BLUE, INK, ORANGE, TEXT_POINTS, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def reliability_diagram(evaluation: Evaluation) -> Figure:
    """Accuracy of the pictures by how probable their class was called; on the line, probabilities mean what they say.

    One point for each fifteenth of the confidence that holds a picture, with the 95 % interval of its accuracy; the area of a
    point grows with its number of pictures.
    """
    rows = reliability(evaluation.probabilities, evaluation.labels)
    confidence, accuracy, counts = (np.array([row[n] for row in rows]) for n in ("confidence", "accuracy", "num_images"))
    bounds = np.array([row["interval"] for row in rows])
    figure, axes = _panel("accuracy by confidence")
    low = max(0.0, min(confidence.min(), bounds.min()) - 0.03)
    axes.plot([low, 1], [low, 1], color=INK, alpha=0.5, linewidth=1, linestyle=(0, (3, 3)), label="as sure as right")
    axes.vlines(confidence, bounds[:, 0], bounds[:, 1], color=BLUE, linewidth=1.2, label="95 % interval")
    axes.scatter(confidence, accuracy, s=12 + 90 * counts / counts.sum(), color=BLUE, zorder=3, label="share that was right")
    axes.set_xlim(low, 1.02)
    axes.set_ylim(low, 1.02)
    for row in rows:  # invisible, above all else: in the report, what one clicks to see the pictures
        number = round(row["low"] * NUM_BINS)
        axes.axvspan(max(low, row["low"]), row["high"], alpha=0, zorder=20, gid=f"open:bin:{number}")
    axes.xaxis.set_major_formatter(_percent)
    _finish(axes, "mean probability of the top class", "upper left")
    return figure


def coverage(evaluation: Evaluation) -> Figure:
    """Accuracy among the surest pictures, by the share of pictures that is answered at all."""
    share, accuracy, _ = coverage_curve(evaluation)
    figure, axes = _panel("accuracy when only the surest are answered")
    # Of the first few pictures one error more or less would swing the curve.
    is_shown = share * len(evaluation.labels) >= min(20, len(evaluation.labels))
    axes.plot(share[is_shown], accuracy[is_shown], color=BLUE, linewidth=1.6, label="accuracy of the answers")
    axes.plot([1], [accuracy[-1]], marker="s", linestyle="none", color=ORANGE, markersize=5, label="everything answered")
    low = float(accuracy[is_shown].min())
    # Room for half a marker beyond 100 %, and for no tick.
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(low - 0.1 * (1.01 - low) - 0.005, 1 + 0.05 * (1.01 - low))
    axes.xaxis.set_major_formatter(_percent)
    _finish(axes, "share of the pictures answered, surest first", "lower left")
    return figure


def _panel(title: str) -> tuple[Figure, Axes]:
    figure = new_figure(4.2, 2.9)
    figure.subplots_adjust(left=0.16, right=0.97, bottom=0.16, top=0.9)
    axes = figure.subplots()
    axes.set_title(title, loc="left", size=TEXT_POINTS + 1, color=INK, weight="bold")
    axes.yaxis.set_major_formatter(_percent)
    return figure, axes


def _finish(axes: Axes, label: str, legend: Literal["upper left", "lower left"]) -> None:
    axes.set_xlabel(label, color=INK)
    style_axes(axes, grid="both")
    axes.legend(frameon=False, fontsize=TEXT_POINTS, labelcolor=INK, loc=legend)


def _percent(value: float, _position: float | None = None) -> str:
    return f"{100 * value:.4g} %"
