"""Figures of a run, of an evaluation and of a network, as matplotlib figures for a notebook, a file or the report.

Each function makes a `matplotlib.figure.Figure` of its own, which a notebook shows as it stands; pyplot and
matplotlib's settings stay as they are. The library is imported inside the functions, since that takes half a second.
Colours are those of Okabe and Ito, which colour-blind readers tell apart; each series has a marker of its own besides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.decoding import decode
from fieldguide.errors import DatasetError
from fieldguide.evaluation import metrics
from fieldguide.records import Evaluation, LearningRates, Run
from fieldguide.reporting import examples
from fieldguide.reporting.certainty_plots import coverage, reliability_diagram
from fieldguide.reporting.explanation_plots import explanation
from fieldguide.reporting.network_plots import activations, dropout, feature_maps, filters, pooling
from fieldguide.reporting.style import BLUE, INK, ORANGE, TEXT_POINTS, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "activations",
    "best_epoch",
    "confusion_matrix",
    "coverage",
    "curves",
    "dropout",
    "example_predictions",
    "explanation",
    "feature_maps",
    "filters",
    "learning_curve",
    "lr_find",
    "per_class",
    "pooling",
    "regularisation_path",
    "reliability_diagram",
    "row_shares",
]

_LARGEST_WITH_NUMBERS = 15  # classes; beyond that the numbers do not fit into the cells
_MOST_LABELS = 34  # on one axis
_MOST_ROWS = 30  # of classes in `per_class`
_LONGEST_LABEL = 24  # characters


def confusion_matrix(evaluation: Evaluation, normalize: bool = False) -> Figure:
    """Which class was taken for which: rows are the true classes, columns the predicted ones.

    Cells are shaded by their share of the row, right answers blue and errors orange. Up to 15 classes, each cell says
    its count and its share of the row; with `normalize` the share alone.
    """
    counts = metrics.confusion_matrix(evaluation)
    num_classes = len(counts)
    shares = row_shares(counts)
    has_numbers = num_classes <= _LARGEST_WITH_NUMBERS
    side = max(2.0, num_classes * 0.62) if has_numbers else min(8.0, 4.0 + num_classes / 25)
    label = _label_inches(evaluation.class_names)
    is_turned = _is_turned(evaluation.class_names)
    figure = _framed(side, side, left=label + 0.45, bottom=(label if is_turned else 0.2) + 0.4)
    axes = figure.subplots()
    axes.imshow(_shading(shares), interpolation="nearest", aspect="equal")
    style_axes(axes, grid=None)
    _label_classes(axes, evaluation.class_names, "x")
    _label_classes(axes, evaluation.class_names, "y")
    axes.set_xlabel("predicted class", color=INK, weight="bold")
    axes.set_ylabel("true class", color=INK, weight="bold")
    if has_numbers:
        for row, column in np.ndindex(counts.shape):
            count, share = counts[row, column], shares[row, column]
            text = f"{100 * share:.1f} %" if normalize else f"{count:,}\n{100 * share:.1f} %"
            text, opacity = (text, 1.0) if count else ("0", 0.5)
            axes.text(column, row, text, ha="center", va="center", color=INK, alpha=opacity, size=TEXT_POINTS)
    return figure


def row_shares(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Counts (num_classes, num_classes) divided by the sum of their row; rows without pictures stay 0."""
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def curves(run: Run, panels: Sequence[str] = ("loss", "accuracy")) -> Figure:
    """Loss and accuracy over the epochs, of training and, where there was one, validation; the best epoch is marked.

    Args:
        run: its history has rows with `epoch`, `loss`, `accuracy`, and `val_loss`, `val_accuracy` where it was validated.
        panels: which of the two to draw.

    Raises:
        DatasetError: if the history has no epochs.
    """
    best = best_epoch(run)
    word = "best" if "val_accuracy" in run.history[0] else "kept"
    return epoch_curves(run.history, panels, mark=(word, best))


def epoch_curves(history: Sequence[Mapping[str, Any]], panels: Sequence[str], *, mark: tuple[str, int]) -> Figure:
    """What `curves` draws, from the rows; `mark` is a word and the position of the row that it is said of."""
    epochs = _column(history, "epoch")
    word, position = mark
    figure, all_axes = _panels(panels)
    for axes, panel in zip(all_axes, panels, strict=True):
        _line(axes, epochs, _column(history, panel), BLUE, "o", "training")
        if "val_accuracy" in history[0]:
            _line(axes, epochs, _column(history, f"val_{panel}"), ORANGE, "s", "validation")
        _mark(axes, float(epochs[position]), f"{word}: epoch {epochs[position]:.0f}")
        axes.locator_params(axis="x", integer=True)
        axes.set_xlabel("epoch", color=INK)
        _finish_panel(axes, panel)
    return figure


def best_epoch(run: Run) -> int:
    """Position in the history of the row with the highest validation accuracy, of equals the lowest loss; else the last.

    Raises:
        DatasetError: if the history has no epochs.
    """
    if not run.history or "epoch" not in run.history[0]:
        raise DatasetError(_lacks(run, "epochs", "regularisation_path"))
    return best_row(run.history)


def best_row(history: Sequence[Mapping[str, Any]]) -> int:
    """What `best_epoch` says, from the rows of epochs."""
    if "val_accuracy" not in history[0]:
        return len(history) - 1
    keys = [(-_number(row, "val_accuracy"), _number(row, "val_loss")) for row in history]
    return min(range(len(keys)), key=lambda i: tuple(math.inf if math.isnan(v) else v for v in keys[i]))


def regularisation_path(run: Run, panels: Sequence[str] = ("accuracy", "loss")) -> Figure:
    """Accuracy and log loss over the strengths of regularisation that were tried; the chosen one is marked.

    Args:
        run: its history has rows with `strength` (larger means less regularised), `train_accuracy`, `val_accuracy`,
            `val_log_loss`, `chosen`.
        panels: which of the two to draw.

    Raises:
        DatasetError: if the history has no strengths.
    """
    if not run.history or "strength" not in run.history[0]:
        raise DatasetError(_lacks(run, "strengths", "curves"))
    rows = sorted(run.history, key=lambda row: float(row["strength"]))
    strengths = _column(rows, "strength")
    figure, all_axes = _panels(panels)
    for axes, panel in zip(all_axes, panels, strict=True):
        if panel == "accuracy":
            _line(axes, strengths, _column(rows, "train_accuracy"), BLUE, "o", "training")
        name = {"accuracy": "val_accuracy", "loss": "val_log_loss"}[panel]
        _line(axes, strengths, _column(rows, name), ORANGE, "s", "validation")
        axes.set_xscale("log")
        axes.set_xticks(strengths[:: math.ceil(len(strengths) / 7)])
        axes.xaxis.set_major_formatter(_plain)
        axes.minorticks_off()
        for row in rows:
            if row.get("chosen"):
                _mark(axes, float(row["strength"]), "chosen")
        axes.set_xlabel("strength: left more regularised, right less", color=INK)
        _finish_panel(axes, panel)
    return figure


def learning_curve(run: Run) -> Figure:
    """Accuracy over the number of training pictures, with the band of its 95 % interval.

    Args:
        run: its learning_curve has rows with `num_images`, `accuracy`, `low`, `high`.

    Raises:
        DatasetError: if it has none.
    """
    if not run.learning_curve:
        raise DatasetError(_lacks(run, "learning curve", "curves"))
    numbers, low, high = (_column(run.learning_curve, name) for name in ("num_images", "low", "high"))
    figure, (axes,) = _panels(["accuracy"])
    axes.fill_between(numbers, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
    _line(axes, numbers, _column(run.learning_curve, "accuracy"), BLUE, "o", "validation")
    axes.set_xscale("log")
    axes.set_xticks(numbers)
    axes.xaxis.set_major_formatter(_plain)
    axes.minorticks_off()
    axes.set_xlabel("training pictures", color=INK)
    _finish_panel(axes, "accuracy")
    return figure


def lr_find(found: LearningRates) -> Figure:
    """The loss of each batch over its learning rate, smoothed and as it was, with the rate that is suggested."""
    figure, (axes,) = _panels(["loss"])
    rates = np.array(found.learning_rates)
    axes.plot(rates, found.losses, color=INK, alpha=0.25, linewidth=0.8, label="each batch")
    _line(axes, rates, np.array(found.smoothed), BLUE, "o", "smoothed")
    _mark(axes, found.suggestion, f"suggestion {found.suggestion:.2g}")
    axes.set_xscale("log")
    # An exploding end would press the rest flat.
    axes.set_ylim(0.9 * min(found.smoothed), 1.1 * max(found.smoothed[: 1 + int(np.argmin(found.smoothed))]))
    axes.set_xlabel("learning rate", color=INK)
    _finish_panel(axes, "loss")
    return figure


def per_class(evaluation: Evaluation) -> Figure:
    """Precision and recall of each class, the lowest F1 on top; at most 30 classes."""
    rows = sorted(metrics.per_class(evaluation), key=lambda row: row["f1"] if row["f1"] is not None else math.inf)
    shown = rows[:_MOST_ROWS]
    names = [row["class_name"] for row in shown]
    figure = _framed(4.2, 0.2 + 0.26 * len(shown), left=_label_inches(names) + 0.15, bottom=0.3, top=0.75)
    axes = figure.subplots()
    positions = np.arange(len(shown))
    precision, recall = _column(shown, "precision"), _column(shown, "recall")
    axes.hlines(positions, np.fmin(precision, recall), np.fmax(precision, recall), color=INK, alpha=0.35, linewidth=1)
    axes.plot(precision, positions, "o", color=BLUE, markersize=6, label="precision: of those called so, share that is")
    axes.plot(recall, positions, "s", color=ORANGE, markersize=5, label="recall: of those that are, share called so")
    style_axes(axes, grid="x")
    _label_classes(axes, names, "y")
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.xaxis.set_major_formatter(_percent)
    # A class that has no picture and was never predicted has neither value.
    lowest = np.nanmin([*precision, *recall, 1.0])
    axes.set_xlim(max(0.0, lowest - 0.05 * (1.05 - lowest) - 0.005), 1.0 + 0.03 * (1.05 - lowest))
    title = f"the {len(shown)} lowest of {len(rows)} classes" if len(shown) < len(rows) else None
    style = {"frameon": False, "fontsize": TEXT_POINTS, "labelcolor": INK, "title_fontsize": TEXT_POINTS}
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0, title=title, alignment="left", **style)
    return figure


def example_predictions(
    evaluation: Evaluation, pictures: Mapping[str, bytes], correct: bool | None = None, count: int = 12
) -> Figure:
    """Pictures with their true class, the predicted one and its probability.

    Args:
        evaluation: the answers to show.
        pictures: the bytes of a picture (file or thumbnail) by its path; others are not shown.
        correct: True for right answers, False for errors (the worst first), None for both, errors first.
        count: at most so many.

    Raises:
        DatasetError: if there is nothing to show, or the bytes are no picture.
    """
    errors, hits = examples.wrong(evaluation), examples.right(evaluation, len(evaluation.labels))
    candidates = {True: hits, False: errors, None: np.concatenate([errors, hits])}[correct]
    chosen = [i for i in candidates if evaluation.paths[i] in pictures]
    if correct is True:
        chosen = list(examples.spread(np.array(chosen, dtype=np.int64), count))
    chosen = chosen[:count]
    if not chosen:
        raise DatasetError("There is no picture to show.\nhint: give pictures by the paths in evaluation.paths.")
    columns = min(4, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(1.9 * columns, 2.3 * rows)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.02, top=1 - 0.4 / (2.3 * rows), hspace=0.3, wspace=0.08)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
        axes.set_anchor("NW")  # titles of wide and tall pictures on one line
    for axes, i in zip(grid.flat, chosen, strict=False):
        axes.imshow(decode(pictures[evaluation.paths[i]], cover=(256, 256)).pixels)
        predicted = int(evaluation.predicted[i])
        answer = f"{_short(evaluation.class_names[predicted])} {evaluation.probabilities[i, predicted]:.0%}"
        is_right = bool(evaluation.correct[i])
        text = f"{answer}\n" + ("right" if is_right else f"true: {_short(evaluation.class_names[evaluation.labels[i]])}")
        title = axes.set_title(text, size=TEXT_POINTS, color=BLUE if is_right else ORANGE, loc="left")
        title.set_parse_math(False)
    return figure


def _framed(
    width: float, height: float, *, left: float, bottom: float, right: float = 0.15, top: float = 0.15, columns: int = 1
) -> Figure:
    """A figure for `columns` axes of that size with those margins, all in inches.

    matplotlib's own layout engines would find the margins, and draw everything twice to do so.
    """
    whole_width, whole_height = columns * (left + width + right), bottom + height + top
    figure = new_figure(whole_width, whole_height)
    figure.subplots_adjust(
        left=left / whole_width,
        right=1 - right / whole_width,
        bottom=bottom / whole_height,
        top=1 - top / whole_height,
        wspace=(left + right) / width,
    )
    return figure


def _panels(panels: Sequence[str]) -> tuple[Figure, Sequence[Axes]]:
    figure = _framed(3.4, 2.15, left=0.68, bottom=0.45, top=0.3, columns=len(panels))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes in all_axes:
        style_axes(axes, grid="both")
    return figure, list(all_axes)


def _finish_panel(axes: Axes, panel: str) -> None:
    if panel == "accuracy":
        axes.yaxis.set_major_formatter(_percent)
    axes.set_title(panel, loc="left", size=TEXT_POINTS + 1, color=INK, weight="bold")
    axes.legend(frameon=False, fontsize=TEXT_POINTS, labelcolor=INK)


def _percent(value: float, _position: float | None = None) -> str:
    return f"{100 * value:.4g} %"


def _plain(value: float, _position: float | None = None) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _line(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], color: str, marker: str, label: str) -> None:
    axes.plot(x, y, color=color, marker=marker, markersize=3.5 if len(x) <= 40 else 0, linewidth=1.6, label=label)


def _mark(axes: Axes, x: float, text: str) -> None:
    axes.axvline(x, color=INK, alpha=0.5, linewidth=1, linestyle=(0, (3, 3)), label=text)


def _label_classes(axes: Axes, class_names: Sequence[str], axis: str) -> None:
    positions = np.arange(0, len(class_names), math.ceil(len(class_names) / _MOST_LABELS))
    names = [_short(class_names[i]) for i in positions.tolist()]
    labels: Sequence[Text]
    if axis == "y":
        axes.set_yticks(positions, names)
        labels = axes.get_yticklabels()
    else:
        axes.set_xticks(positions, names)
        labels = axes.get_xticklabels()
        if _is_turned(class_names):
            for label in labels:
                label.set_rotation(90)
    for label in labels:
        label.set_parse_math(False)  # a class may be called "$x$"


def _is_turned(class_names: Sequence[str]) -> bool:
    return len(class_names) > _LARGEST_WITH_NUMBERS or max(map(len, class_names)) > 7


def _label_inches(class_names: Sequence[str]) -> float:
    return 0.066 * max(len(_short(name)) for name in class_names) + 0.1


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"


def _shading(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGBA (num_classes, num_classes, 4): blue on the diagonal, orange beside it, faint enough for dark text."""
    is_right = np.eye(len(shares), dtype=bool)[:, :, None]
    blue, orange = (np.array([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for c in (BLUE, ORANGE))
    # Rare errors would be invisible at their share alone.
    opacity = np.where(shares > 0, 0.16 + 0.4 * shares, 0.0)
    return np.concatenate([np.where(is_right, blue, orange), opacity[:, :, None]], axis=2)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    return np.array([_number(row, name) for row in rows])


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row.get(name)
    return math.nan if value is None else float(value)


def _lacks(run: Run, what: str, instead: str) -> str:
    return f"The run of recipe {run.recipe!r} has no {what} to draw.\nhint: try `fieldguide.plots.{instead}`."
