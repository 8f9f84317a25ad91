"""What is read out of a network is what its layers compute, and reading changes nothing in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import correlate2d

from fieldguide.errors import DatasetError
from fieldguide.models.layer_outputs import convolution_blocks, dropout_passes, layer_outputs

PICTURES = np.random.default_rng(0).integers(0, 256, (70, 16, 20, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    from fieldguide import training

    training.import_tensorflow()
    from fieldguide.models.keras_operations import build_keras
    from fieldguide.models.operations import Network
    from fieldguide.training.loop import make_deterministic

    make_deterministic(0)
    return build_keras(Network("classic", (16, 20), {"filters": (4, 8), "units": 40, "dropout": 0.25}), num_classes=3)


def test_the_output_of_a_convolution_is_the_sum_that_its_definition_says(model: Any) -> None:
    outputs = layer_outputs(model, PICTURES, ["block1_conv"])["block1_conv"]
    assert outputs.shape == (70, 16, 20, 4)
    kernel = convolution_blocks(model)[0].kernel
    scaled = PICTURES[69].astype(np.float64) / 127.5 - 1
    for channel in range(4):
        expected = sum(correlate2d(scaled[..., c], kernel[:, :, c, channel], mode="same") for c in range(3))
        np.testing.assert_allclose(outputs[69, ..., channel], expected, atol=1e-5)


def test_blocks_know_what_enters_the_activation_what_leaves_it_and_what_makes_it_smaller(model: Any) -> None:
    first, second = convolution_blocks(model)
    assert (first.kernel.shape, second.kernel.shape) == ((3, 3, 3, 4), (3, 3, 4, 8))
    assert (first.summed, second.summed) == ("block1_norm", "block2_norm")
    assert first.pooling is not None
    assert first.pooling[0] == "block1_conv"  # the recipe's network pools before it normalises
    outputs = layer_outputs(model, PICTURES[:2], [*first.pooling, first.summed, first.activated])
    convolved, pooled, summed, activated = outputs.values()
    np.testing.assert_array_equal(activated, np.maximum(summed, 0))
    windows = convolved.reshape(2, 8, 2, 10, 2, 4)
    np.testing.assert_array_equal(pooled, windows.max(axis=(2, 4)))


def test_blocks_of_a_sequential_model_with_the_activation_inside_the_convolution() -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            layers.Conv2D(2, 3, activation="relu", name="first"),
            layers.BatchNormalization(),  # it normalises what has left the activation
            layers.Conv2D(2, 3, strides=2, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )
    first, second = convolution_blocks(model)
    assert (first.summed, first.activated, first.pooling) == ("first", "first", None)
    assert (second.summed, second.activated, second.pooling) == ("second", "second", None)


def test_blocks_that_pool_before_they_normalise() -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(2, 3, name="convolution"),
            layers.MaxPooling2D(name="pool"),
            layers.BatchNormalization(name="norm"),
            layers.Activation("relu", name="relu"),
            layers.Flatten(),
        ]
    )
    (block,) = convolution_blocks(model)
    assert (block.summed, block.activated, block.pooling) == ("norm", "relu", ("convolution", "pool"))


def test_dropout_sets_values_to_zero_scales_the_others_and_repeats_itself(model: Any) -> None:
    before, after = dropout_passes(model, PICTURES[0], num_passes=50)
    assert before.shape == (40,)
    assert after.shape == (50, 40)
    active = before > 0
    kept = after[:, active] > 0
    np.testing.assert_allclose(after[:, active][kept], np.broadcast_to(before[active], kept.shape)[kept] / 0.75, rtol=1e-6)
    assert kept.mean() == pytest.approx(0.75, abs=0.05)
    np.testing.assert_array_equal(after, dropout_passes(model, PICTURES[0], num_passes=50)[1])
    assert (after != dropout_passes(model, PICTURES[0], num_passes=50, seed=1)[1]).any()


def test_reading_leaves_the_weights_and_the_moving_statistics_alone(model: Any) -> None:
    weights = [np.array(weight.numpy()) for weight in model.weights]
    layer_outputs(model, PICTURES, ["block2_norm"])
    dropout_passes(model, PICTURES[0], num_passes=2)
    for before, after in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_what_cannot_be_read_is_refused_with_a_hint(model: Any) -> None:
    import keras

    with pytest.raises(DatasetError, match=r"takes pictures of shape \(16, 20, 3\); received \(15, 20, 3\)"):
        layer_outputs(model, PICTURES[:, :15], ["block1_conv"])
    dense = keras.Sequential([keras.Input((16, 20, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    with pytest.raises(DatasetError, match="no Conv2D layer"):
        convolution_blocks(dense)
    with pytest.raises(DatasetError, match="no Dropout layer"):
        dropout_passes(dense, PICTURES[0], num_passes=1)
