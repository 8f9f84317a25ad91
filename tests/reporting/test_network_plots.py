"""The figures of a network show what it computes, at sizes that a phone can show."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fieldguide import plots
from fieldguide.errors import DatasetError
from fieldguide.models.layer_outputs import convolution_blocks, layer_outputs
from fieldguide.reporting.rendering import to_png

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 16, 20, 3), dtype=np.uint8)


def build(filters: tuple[int, ...], dropout: float = 0.5, image_size: tuple[int, int] = (16, 20)) -> Any:
    from fieldguide.models.keras_operations import build_keras
    from fieldguide.models.operations import Network

    return build_keras(Network("classic", image_size, {"filters": filters, "units": 30, "dropout": dropout}), num_classes=3)


@pytest.fixture(scope="module")
def model() -> Any:
    from fieldguide import training

    training.import_tensorflow()
    from fieldguide.training.loop import make_deterministic

    make_deterministic(0)
    return build((12, 6))


def titles(figure: Any) -> list[str]:
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_visible() and axes.get_title(loc="left")]


def images(figure: Any) -> list[Any]:
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_filters_of_colour_pictures_are_small_pictures_around_mid_grey(model: Any) -> None:
    kernel = convolution_blocks(model)[0].kernel
    shown = images(plots.filters(model))
    assert len(shown) == 12
    np.testing.assert_allclose(shown[5], 0.5 + kernel[..., 5] / (2 * np.abs(kernel).max()), rtol=1e-5)


def test_filters_of_grey_pictures_are_the_sum_over_the_channels(model: Any) -> None:
    kernel = convolution_blocks(model)[0].kernel
    figure = plots.filters(model, grey=True)
    np.testing.assert_allclose(images(figure)[11], kernel.sum(axis=2)[..., 11])
    labels = [text.get_text() for text in figure.axes[-1].get_xticklabels()]
    assert labels == ["−" + labels[2], "weight 0", f"{np.abs(kernel.sum(axis=2)).max():.2f}"]


def test_feature_maps_shows_the_picture_and_the_most_varied_maps_of_each_convolution(model: Any) -> None:
    figure = plots.feature_maps(model, PICTURES[0])
    assert titles(figure) == [
        "picture: 16 × 20 pixels",
        "convolution 1: 8 of 12 maps, 8 × 10 each",
        "convolution 2: 6 of 6 maps, 4 × 5 each",
    ]
    picture, *maps = images(figure)
    np.testing.assert_array_equal(picture, PICTURES[0])
    assert [values.shape for values in maps] == [(8, 10)] * 8 + [(4, 5)] * 6
    second = convolution_blocks(model)[1].activated
    output = layer_outputs(model, PICTURES[:1], [second])[second][0]
    np.testing.assert_array_equal(np.stack(maps[8:], axis=-1), output)


def test_pooling_writes_the_numbers_of_a_corner_and_the_maximum_of_each_window(model: Any) -> None:
    figure = plots.pooling(model, PICTURES[0])
    before, after, window, small = images(figure)
    assert (before.shape, after.shape, window.shape, small.shape) == ((16, 20), (8, 10), (4, 4), (2, 2))
    np.testing.assert_array_equal(small, np.asarray(window).reshape(2, 2, 2, 2).max(axis=(1, 3)))
    assert any((before[top : top + 4, left : left + 4] == window).all() for top in range(13) for left in range(17))
    assert [text.get_text() for text in figure.axes[3].texts] == [f"{value:.1f}" for value in np.ravel(small)]


def test_dropout_crosses_out_what_was_set_to_zero(model: Any) -> None:
    figure = plots.dropout(model, PICTURES[0])
    all_values, *steps = (np.nan_to_num(np.asarray(values)) for values in images(figure))
    active = int((all_values > 0).sum())
    assert titles(figure)[0] == f"predicting: {active} of 30 above 0"
    for axes, values, title in zip(figure.axes[1:], steps, titles(figure)[1:], strict=True):
        lost = (all_values > 0) & (values == 0)
        assert title.endswith(f": {lost.sum()} of them set to 0")
        columns, rows = axes.lines[0].get_data()
        np.testing.assert_array_equal(lost[rows.astype(int), columns.astype(int)], True)
        assert len(rows) == lost.sum()


def test_activations_draws_the_distribution_of_each_map_in_each_network(model: Any) -> None:
    figure = plots.activations({"one": model, "other": build((20, 6))}, PICTURES)
    assert [len(axes.lines) - 1 for axes in figure.axes] == [12, 16, 6, 6]  # and the line at 0
    summed = convolution_blocks(model)[0].summed
    share = (layer_outputs(model, PICTURES, [summed])[summed] > 0).mean()
    assert titles(figure)[0] == f"convolution 1: {100 * share:.0f} % above 0"
    assert [text.get_text() for text in figure.axes[0].texts] == ["one"]
    with pytest.raises(DatasetError, match=r"'one': 2, 'deep': 3"):
        plots.activations({"one": model, "deep": build((4, 4, 4))}, PICTURES)


def test_pictures_of_one_channel_and_networks_with_few_maps_are_drawn() -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(2, 5, activation="relu"), layers.Flatten(), layers.Dropout(0.5), layers.Dense(2)]
    )
    picture = np.zeros((8, 8, 1), np.float32)  # all maps are zero
    for figure in (plots.filters(model), plots.feature_maps(model, picture), plots.dropout(model, picture)):
        assert to_png(figure).startswith(b"\x89PNG")
    with pytest.raises(DatasetError, match="followed by pooling"):
        plots.pooling(model, picture)


def test_every_figure_is_the_same_every_time_and_narrow_enough_for_a_phone(model: Any) -> None:
    def draw() -> list[Any]:
        figures = [plots.filters(model), plots.feature_maps(model, PICTURES[0]), plots.pooling(model, PICTURES[0])]
        return [*figures, plots.dropout(model, PICTURES[0]), plots.activations({"one": model, "same": model}, PICTURES)]

    assert [to_png(figure) for figure in draw()] == [to_png(figure) for figure in draw()]
    assert all(figure.get_size_inches()[0] == 4.5 for figure in draw())
