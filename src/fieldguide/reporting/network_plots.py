"""What a trained network has learned and what it makes of one picture; `fieldguide.plots` has these functions too.

Each takes a `keras.Model`, as `fieldguide.load(run).to_keras()` gives or as you built it yourself, functional or
sequential. Pictures are arrays as the model takes them, (height, width, channels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DatasetError
from fieldguide.models.layer_outputs import convolution_blocks, dropout_passes, layer_outputs
from fieldguide.reporting.style import BLUE, INK, ORANGE, TEXT_POINTS, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

WIDTH = 4.5  # inches; on a phone, text of TEXT_POINTS is then still read
_COLUMNS = 8
_MOST_LINES = 16  # maps of a convolution in `activations`
_WINDOW = 4  # pixels of the corner whose numbers `pooling` writes out


def filters(model: Any, *, grey: bool = False) -> Figure:
    """The filters of the first convolution: small pictures of what each one answers to.

    Args:
        model: a `keras.Model`.
        grey: the model sees grey pictures, given as three equal channels. A filter's three channels then act by their
            sum, so the sum is drawn: orange where brighter pixels raise the answer, blue where they lower it.

    Raises:
        DatasetError: if the model has no convolution.
    """
    kernel = convolution_blocks(model)[0].kernel  # (height, width, channels in, channels out)
    is_color = kernel.shape[2] == 3 and not grey
    shown = kernel if is_color else kernel.sum(axis=2, keepdims=True)
    largest = float(np.abs(shown).max()) or 1.0
    count = shown.shape[3]
    figure, grid = _grid(
        math.ceil(count / _COLUMNS), min(_COLUMNS, count), aspect=kernel.shape[0] / kernel.shape[1], bottom=0.5
    )
    for axes, number in zip(grid.flat, range(count), strict=False):
        if is_color:
            axes.imshow(0.5 + shown[..., number] / (2 * largest), interpolation="nearest")
        else:
            image = axes.imshow(shown[..., 0, number], cmap=diverging(), vmin=-largest, vmax=largest, interpolation="nearest")
    height = figure.get_size_inches()[1]
    if is_color:
        text = "mid-grey: 0; brighter: above, darker: below, for each colour"
        figure.text(0.5, 0.2 / height, text, ha="center", color=INK, size=TEXT_POINTS)
    else:
        bar = figure.colorbar(image, cax=figure.add_axes((0.25, 0.3 / height, 0.5, 0.08 / height)), orientation="horizontal")
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=INK, labelsize=TEXT_POINTS, length=0)
        bar.set_ticks([-largest, 0, largest], labels=[f"\N{MINUS SIGN}{largest:.2f}", "weight 0", f"{largest:.2f}"])
    return figure


def feature_maps(model: Any, picture: NDArray[Any], *, most: int = _COLUMNS) -> Figure:
    """One picture on its way through the network: the maps that each convolution makes of it, after the activation.

    Of each convolution the maps that vary most are drawn, in the order of the network, each from its lowest value
    (light) to its highest (dark).

    Args:
        model: a `keras.Model`.
        picture: (height, width, channels), as the model takes it.
        most: maps of each convolution that are drawn.

    Raises:
        DatasetError: if the model has no convolution or takes pictures of another shape.
    """
    names = [block.activated for block in convolution_blocks(model)]
    outputs = layer_outputs(model, picture[None], names)
    maps = [outputs[name][0] for name in names]  # (height, width, channels), smaller from row to row
    aspect = picture.shape[0] / picture.shape[1]
    figure, grid = _grid(len(maps) + 1, most, aspect=aspect, between=0.28, top=0.25)
    _show_picture(grid[0, 0], picture)
    _title(grid[0, 0], f"picture: {picture.shape[0]} × {picture.shape[1]} pixels")
    for row, (line, values) in enumerate(zip(grid[1:], maps, strict=True), start=1):
        height, width, count = values.shape
        varied = np.sort(np.argsort(-values.std(axis=(0, 1)), kind="stable")[:most])
        for axes, channel in zip(line, varied, strict=False):
            axes.imshow(values[..., channel], cmap=sequential(), interpolation="nearest")
        _title(line[0], f"convolution {row}: {len(varied)} of {count} maps, {height} × {width} each")
    _hide_empty(grid)
    return figure


def pooling(model: Any, picture: NDArray[Any]) -> Figure:
    """A feature map before and after the first pooling, and the numbers of one corner of it.

    The map that varies most is drawn; the corner is the one with the greatest variation.

    Args:
        model: a `keras.Model`.
        picture: (height, width, channels), as the model takes it.

    Raises:
        DatasetError: if the model has no pooling, or takes pictures of another shape.
    """
    names = next((block.pooling for block in convolution_blocks(model) if block.pooling), None)
    if names is None:
        raise DatasetError(f"No convolution of the model {model.name!r} is followed by pooling.\nhint: try `feature_maps`.")
    outputs = layer_outputs(model, picture[None], names)
    channel = int(outputs[names[0]][0].std(axis=(0, 1)).argmax())
    before, after = (outputs[name][0, ..., channel] for name in names)
    factor = before.shape[0] // after.shape[0]
    top, left = _most_varied_corner(before, factor)
    window = before[top : top + _WINDOW, left : left + _WINDOW]
    small = after[top // factor : (top + _WINDOW) // factor, left // factor : (left + _WINDOW) // factor]
    figure, grid = _grid(2, 2, aspect=before.shape[0] / before.shape[1], between=0.35, top=0.3, gap=0.3)
    lightest, darkest = float(before.min()), float(before.max())
    for axes, values in zip(grid.flat, (before, after, window, small), strict=True):
        axes.imshow(values, cmap=sequential(), vmin=lightest, vmax=darkest, interpolation="nearest")
    for axes, values, step in ((grid[0, 0], window, 1), (grid[0, 1], small, factor)):
        _outline(axes, top // step, left // step, *values.shape)
    for axes, values in ((grid[1, 0], window), (grid[1, 1], small)):
        for (row, column), value in np.ndenumerate(values):
            color = "white" if 2 * value > lightest + darkest else INK
            axes.text(column, row, f"{value:.1f}", ha="center", va="center", color=color, size=TEXT_POINTS)
    for row, column in np.ndindex(small.shape):
        _outline(grid[1, 0], row * factor, column * factor, factor, factor)
    _title(grid[0, 0], "before: {} × {}".format(*before.shape))
    _title(grid[0, 1], "after: {} × {}".format(*after.shape))
    _title(grid[1, 0], "the framed corner, before")
    _title(grid[1, 1], "and after")
    return figure


def dropout(model: Any, picture: NDArray[Any], *, num_passes: int = 3, seed: int = 0) -> Figure:
    """What enters the last Dropout layer for one picture, and what leaves it in some training steps.

    Crosses are the values set to zero; the others are scaled up, so that the mean stays.

    Args:
        model: a `keras.Model`.
        picture: (height, width, channels), as the model takes it.
        num_passes: training steps that are drawn.
        seed: of what is dropped.

    Raises:
        DatasetError: if the model has no Dropout layer, or takes pictures of another shape.
    """
    before, after = dropout_passes(model, picture, num_passes=num_passes, seed=seed)
    columns = math.ceil(math.sqrt(2 * len(before)))
    rows = math.ceil(len(before) / columns)
    figure, grid = _grid(math.ceil((num_passes + 1) / 2), 2, aspect=rows / columns, between=0.35, top=0.3, gap=0.15)
    darkest = float(max(before.max(), after.max())) or 1.0
    num_active = int((before != 0).sum())
    for number, (axes, values) in enumerate(zip(grid.flat, [before, *after], strict=False)):
        padded = np.full(rows * columns, np.nan)
        padded[: len(values)] = values
        axes.imshow(padded.reshape(rows, columns), cmap=sequential(), vmin=0, vmax=darkest, interpolation="nearest")
        lost = np.flatnonzero((values == 0) & (before != 0))
        axes.plot(lost % columns, lost // columns, "x", color=ORANGE, markersize=4, markeredgewidth=1.1)
        step = f"training step {number}: {len(lost)} of them set to 0"
        _title(axes, step if number else f"predicting: {num_active} of {len(before)} above 0")
    _hide_empty(grid)
    return figure


def activations(models: Mapping[str, Any], pictures: NDArray[Any]) -> Figure:
    """What enters the activation after each convolution, in networks side by side: with and without normalisation, say.

    A line for each map (16 at most): how often which value occurs, over all places of all pictures.

    Args:
        models: `keras.Model`s of as many convolutions each, by the names to write above them.
        pictures: (num_pictures, height, width, channels), as the models take them.

    Raises:
        DatasetError: if the models differ in the number of convolutions, or take pictures of another shape.
    """
    columns = []  # of each model: (places, maps) of each convolution
    for model in models.values():
        names = [block.summed for block in convolution_blocks(model)]
        outputs = layer_outputs(model, pictures, names)
        columns.append([outputs[name].reshape(-1, outputs[name].shape[-1]) for name in names])
    rows = len(columns[0])
    if any(len(column) != rows for column in columns):
        counts = ", ".join(f"{name!r}: {len(column)}" for name, column in zip(models, columns, strict=True))
        raise DatasetError(f"The models should have the same number of convolutions; received {counts}.")
    reach = max(float(np.percentile(np.abs(values), 99.5)) for column in columns for values in column)
    edges = np.linspace(-reach, reach, 61)
    tick = float(f"{0.75 * reach:.1g}")
    figure, grid = _grid(rows, len(models), aspect=0.18 * len(models), between=0.26, top=0.5, bottom=0.5, gap=0.25)
    for name, values_by_row, line in zip(models, columns, grid.T, strict=True):
        for row, (axes, values) in enumerate(zip(line, values_by_row, strict=True)):
            shown = values[:, np.linspace(0, values.shape[1] - 1, min(_MOST_LINES, values.shape[1])).round().astype(int)]
            for channel in shown.T:
                heights, _ = np.histogram(channel, edges, density=True)
                axes.plot((edges[1:] + edges[:-1]) / 2, heights, color=BLUE, alpha=0.55, linewidth=0.9)
            axes.axvline(0, color=ORANGE, linewidth=1, linestyle=(0, (3, 2)))
            axes.set(xlim=(-reach, reach), ylim=(0, None))
            style_axes(axes, grid="x")
            axes.spines["left"].set_visible(False)
            axes.set_xticks([-tick, 0, tick])
            axes.tick_params(labelbottom=row == rows - 1)
            _title(axes, f"convolution {row + 1}: {100 * (values > 0).mean():.0f} % above 0")
        line[0].annotate(name, (0, 1), (0, 20), "axes fraction", "offset points", color=INK, size=TEXT_POINTS, weight="bold")
        line[-1].set_xlabel("value before the activation", color=INK)
    return figure


def diverging() -> Colormap:
    """Blue below 0, white at 0, orange above."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("diverging", [BLUE, "#ffffff", ORANGE])


def sequential() -> Colormap:
    """From nearly white at the lowest value over blue to ink at the highest."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("sequential", ["#f4f7fa", "#8fc1e3", BLUE, "#06263d"])


def _grid(
    rows: int, columns: int, *, aspect: float, between: float = 0.06, top: float = 0.06, bottom: float = 0.06, gap: float = 0.06
) -> tuple[Figure, NDArray[Any]]:
    """Axes for pictures of that height / width, WIDTH inches wide in all; margins in inches."""
    side = 0.06
    width = (WIDTH - 2 * side - (columns - 1) * gap) / columns
    height = width * aspect
    whole = top + rows * height + (rows - 1) * between + bottom
    figure = new_figure(WIDTH, whole)
    figure.subplots_adjust(
        left=side / WIDTH,
        right=1 - side / WIDTH,
        top=1 - top / whole,
        bottom=bottom / whole,
        wspace=gap / width,
        hspace=between / height,
    )
    grid: NDArray[Any] = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set(color=INK, alpha=0.35, linewidth=0.6)
    return figure, grid


def _show_picture(axes: Axes, picture: NDArray[Any]) -> None:
    is_grey = picture.shape[2] == 1
    axes.imshow(picture[..., 0] if is_grey else picture, cmap="gray" if is_grey else None, interpolation="nearest")


def _title(axes: Axes, text: str) -> None:
    axes.set_title(text, loc="left", size=TEXT_POINTS, color=INK, pad=3)


def _hide_empty(grid: NDArray[Any]) -> None:
    for axes in grid.flat:
        axes.set_visible(axes.has_data())


def _outline(axes: Axes, top: int, left: int, height: int, width: int) -> None:
    from matplotlib.patches import Rectangle

    corner = (left - 0.5, top - 0.5)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=ORANGE, linewidth=1.4, clip_on=False))


def _most_varied_corner(values: NDArray[np.float32], factor: int) -> tuple[int, int]:
    tops, lefts = (range(0, max(1, size - _WINDOW + 1), factor) for size in values.shape)
    corners = [(top, left) for top in tops for left in lefts]
    return max(corners, key=lambda c: float(values[c[0] : c[0] + _WINDOW, c[1] : c[1] + _WINDOW].std()))
