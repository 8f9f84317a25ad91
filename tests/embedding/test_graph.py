"""One architecture, two builders, and a third network in PyTorch that neither has seen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.embedding.engine import Engine, save_network
from fieldguide.embedding.graph import build_network
from fieldguide.errors import BundleError
from fieldguide.models.operations import Network
from fieldguide.models.weights import pretrained_weights
from tests.embedding.reference_pictures import reference_pictures

LITE0 = Network("efficientnet_lite0", (224, 224))
RESIDUAL = Network("residual", (50, 38), {"filters": (8, 12, 16), "blocks": (1, 2, 1)})
FLIPPED = dataclasses.replace(RESIDUAL, options={**RESIDUAL.options, "test_time_flip": True})
CLASSIC = Network("classic", (50, 38), {"filters": (8, 12, 16), "units": 20})  # odd sizes on the way down: 25 x 19, 12 x 9
FLIPPED_CLASSIC = dataclasses.replace(CLASSIC, options={**CLASSIC.options, "test_time_flip": True})


def keras_embeddings(network: Network, weights: dict[str, NDArray[np.float32]], pixels: Any) -> NDArray[np.float32]:
    import keras

    from fieldguide.models.keras_operations import build_keras, get_weights, set_weights

    model = build_keras(network, num_classes=2)
    set_weights(model, {**get_weights(model), **weights})
    embedding = keras.Model(model.input, model.get_layer("head").input)
    return np.asarray(embedding(pixels, training=False))


def classic_weights() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (before, after) in enumerate([(3, 8), (8, 12), (12, 16)], start=1):
        shapes[f"block{number}_conv/kernel"] = (3, 3, before, after)
        shapes |= {f"block{number}_norm/{v}": (after,) for v in ("gamma", "beta", "moving_mean", "moving_variance")}
    shapes["dense/kernel"] = (6 * 4 * 16, 20)
    shapes |= {f"dense_norm/{v}": (20,) for v in ("gamma", "beta", "moving_mean", "moving_variance")}
    return {
        name: (rng.uniform(0.3, 2.0, shape) if "var" in name or "gamma" in name else rng.normal(0, 0.2, shape)).astype("f4")
        for name, shape in shapes.items()
    }


def residual_weights() -> dict[str, NDArray[np.float32]]:
    from fieldguide.models.keras_operations import build_keras, get_weights

    rng = np.random.default_rng(0)
    return {
        name: rng.uniform(0.5, 1.5, value.shape).astype("f4") if value.ndim == 1 else value
        for name, value in get_weights(build_keras(RESIDUAL, num_classes=2)).items()
    }


def relative_difference(received: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.abs(received - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(Path(__file__).with_name("reference_embeddings.json").read_text("utf-8"))
    return values


def test_the_engine_agrees_with_pytorch_on_the_published_weights(reference: dict[str, Any]) -> None:
    engine = Engine(build_network(LITE0, pretrained_weights("efficientnet_lite0")), precision="f32")
    embeddings = engine.embed(reference_pictures())
    assert embeddings.shape == (4, 1280)
    assert np.abs(embeddings[:, :: reference["every"]] - np.array(reference["embeddings"])).max() < 1e-4
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), reference["norms"], rtol=1e-5)


def test_keras_agrees_with_pytorch_on_the_published_weights(reference: dict[str, Any]) -> None:
    embeddings = keras_embeddings(LITE0, pretrained_weights("efficientnet_lite0"), reference_pictures())
    assert np.abs(embeddings[:, :: reference["every"]] - np.array(reference["embeddings"])).max() < 1e-4


@pytest.mark.parametrize(
    "network", [LITE0, CLASSIC, FLIPPED_CLASSIC, RESIDUAL, FLIPPED, Network("efficientnet_lite0", (75, 110))]
)
def test_keras_and_openvino_build_the_same_network(network: Network) -> None:
    made = {"classic": classic_weights, "residual": residual_weights}
    weights = made.get(network.architecture, lambda: pretrained_weights(network.architecture))()
    height, width = network.image_size
    pixels = reference_pictures()[:, :height, :width]
    embeddings = Engine(build_network(network, weights), precision="f32").embed(pixels)
    assert relative_difference(embeddings, keras_embeddings(network, weights, pixels)) < 1e-4


@pytest.mark.parametrize("flipped_network", [FLIPPED, FLIPPED_CLASSIC])
def test_with_its_flip_a_network_answers_as_for_the_picture_and_its_mirror_image_together(flipped_network: Network) -> None:
    network, weights = (RESIDUAL, residual_weights()) if flipped_network is FLIPPED else (CLASSIC, classic_weights())
    pixels = reference_pictures()[:, :50, :38]
    plain = Engine(build_network(network, weights), precision="f32")
    both = (plain.embed(pixels) + plain.embed(np.ascontiguousarray(pixels[:, :, ::-1]))) / 2
    assert relative_difference(both, plain.embed(pixels)) > 0.01
    flipped = Engine(build_network(flipped_network, weights), precision="f32")
    assert relative_difference(flipped.embed(pixels), both) < 1e-5
    assert relative_difference(flipped.embed(pixels[:1]), both[:1]) < 1e-5


def test_a_convolution_with_a_bias_and_a_dense_layer_do_what_numpy_does() -> None:
    import openvino

    from fieldguide.embedding.graph import OpenVINOOperations

    weights = {
        "conv/kernel": np.array([[[[2.0], [0.0], [1.0]]]], np.float32),  # 1 x 1: twice red plus blue
        "conv/bias": np.array([5.0], np.float32),
        "dense/kernel": np.array([[1.0, 10.0], [100.0, 1000.0]], np.float32),
        "dense/bias": np.array([0.25, 0.5], np.float32),
    }
    ops = OpenVINOOperations(weights)
    pixels = openvino.opset13.parameter([-1, 1, 2, 3], np.uint8)
    x = ops.rescale(pixels, scale=(1.0, 1.0, 0.5), offset=(0.0, 0.0, 1.0))
    x = ops.flatten(ops.conv(x, "conv", filters=1, kernel_size=1, use_bias=True))
    model = openvino.Model([ops.dense(x, "dense", units=2)], [pixels], "small")
    received = Engine(model, precision="f32").embed(np.array([[[[1, 9, 4], [2, 9, 8]]]], np.uint8))
    # left: 2 * 1 + (4 / 2 + 1) + 5 = 10; right: 2 * 2 + (8 / 2 + 1) + 5 = 14
    np.testing.assert_allclose(received, [[10 + 1400 + 0.25, 100 + 14000 + 0.5]])


def test_weights_that_do_not_fit_are_named() -> None:
    weights = classic_weights()
    with pytest.raises(BundleError, match=r"'dense/kernel' should have shape \(96, 20\); received \(384, 20\)"):
        build_network(Network("classic", (25, 19), CLASSIC.options), weights)
    del weights["block2_norm/beta"]
    with pytest.raises(BundleError, match=r"'block2_norm/beta' should have shape \(12,\); it is missing"):
        build_network(CLASSIC, weights)
    with pytest.raises(BundleError, match="Unknown architecture 'vgg'"):
        build_network(Network("vgg", (32, 32)), weights)


def test_the_same_network_is_written_as_the_same_files(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_network(build_network(CLASSIC, classic_weights()), tmp_path / f"{name}.xml")
    for suffix in (".xml", ".bin"):
        assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()
    numbers = sum(value.size for value in classic_weights().values())
    assert (tmp_path / "first.bin").stat().st_size < 4 * numbers + 1000  # nothing is written twice
