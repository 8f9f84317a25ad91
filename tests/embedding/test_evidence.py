"""Where a score came from: gradient times activation by another library, and what must follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.embedding.engine import Engine, openvino_module, save_network
from fieldguide.embedding.evidence import EvidenceEngine
from fieldguide.embedding.graph import build_network
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import BundleError
from fieldguide.models.operations import Network
from fieldguide.models.weights import pretrained_weights
from tests.embedding.reference_pictures import reference_pictures
from tests.embedding.test_graph import CLASSIC, FLIPPED_CLASSIC, classic_weights

LITE0 = Network("efficientnet_lite0", (96, 64))  # maps of 3 x 2


def head_of(size: int, num_classes: int = 3, seed: int = 1) -> LinearHead:
    rng = np.random.default_rng(seed)
    return LinearHead(rng.normal(size=(size, num_classes)).astype("f4"), rng.normal(size=num_classes).astype("f4"))


def weights_of(network: Network) -> dict[str, NDArray[np.float32]]:
    return classic_weights() if network.architecture == "classic" else pretrained_weights("efficientnet_lite0")


def engine_of(network: Network, directory: Path, weights: dict[str, NDArray[np.float32]] | None = None) -> EvidenceEngine:
    path = directory / f"{network.architecture}.xml"
    save_network(build_network(network, weights or weights_of(network)), path)
    return EvidenceEngine(path, precision="f32")


def pixels_for(network: Network) -> NDArray[np.uint8]:
    height, width = network.image_size
    return np.ascontiguousarray(reference_pictures()[:, :height, :width])


def gradient_times_activation(network: Network, head: LinearHead, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """(num_images, num_classes, rows, columns) by TensorFlow's differentiation, from the last maps on."""
    import keras
    import tensorflow as tf

    from fieldguide.models.keras_operations import build_keras, get_weights, set_weights

    model = build_keras(network, num_classes=len(head.bias))
    ours = {**weights_of(network), "head/kernel": head.kernel, "head/bias": head.bias}
    set_weights(model, {**get_weights(model), **ours})
    position = max(i for i, layer in enumerate(model.layers) if len(layer.output.shape) == 4)
    below = keras.Model(model.input, model.layers[position].output)
    # The layer's output becomes an input of its own, so that its gradient can be asked for.
    start = keras.Input(model.layers[position].output.shape[1:])
    x = start
    for one in model.layers[position + 1 :]:
        x = one(x)
    above = keras.Model(start, x)
    maps = tf.convert_to_tensor(below(pixels, training=False))
    parts = []
    for number in range(len(head.bias)):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            logit = above(maps, training=False)[:, number]
        parts.append(tf.reduce_sum(tape.gradient(logit, maps) * maps, axis=-1).numpy())
    return np.stack(parts, axis=1)


@pytest.mark.parametrize("network", [LITE0, CLASSIC])
def test_evidence_is_gradient_times_activation(network, tmp_path):
    engine, pixels, head = engine_of(network, tmp_path), pixels_for(network), head_of(20 if network is CLASSIC else 1280)
    expected = gradient_times_activation(network, head, pixels)
    _, evidence = engine.run(pixels, head)
    assert evidence.shape == (len(pixels), 3, *engine.map_size)
    # Ours is centred over the classes, and constants are shared out evenly over the places.
    expected = expected - expected.mean(axis=1, keepdims=True)
    shape = evidence - evidence.mean(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(
        shape, expected - expected.mean(axis=(2, 3), keepdims=True), atol=2e-4 * np.abs(expected).max(), rtol=1e-3
    )


@pytest.mark.parametrize("network", [LITE0, CLASSIC])
def test_evidence_adds_up_to_the_logit_and_changes_no_embedding(network, tmp_path):
    engine, pixels = engine_of(network, tmp_path), pixels_for(network)
    head = head_of(20 if network is CLASSIC else 1280)
    embeddings, evidence = engine.run(pixels, head)
    logits = head.logits(embeddings)
    np.testing.assert_allclose(evidence.sum(axis=(2, 3)), logits - logits.mean(axis=1, keepdims=True), atol=1e-3)
    np.testing.assert_array_equal(embeddings, Engine(tmp_path / f"{network.architecture}.xml", precision="f32").embed(pixels))


@pytest.mark.parametrize("network", [LITE0, CLASSIC])
def test_randomised_weights_change_the_map(network, tmp_path):
    """The sanity check of Adebayo et al. 2018: a map that stays the same would show the picture, not the network."""
    pixels, head = pixels_for(network), head_of(20 if network is CLASSIC else 1280)
    weights = weights_of(network)
    rng = np.random.default_rng(0)
    shuffled = {name: rng.permutation(value.ravel()).reshape(value.shape) for name, value in weights.items()}
    _, trained = engine_of(network, tmp_path, weights).run(pixels, head)
    _, random = engine_of(network, tmp_path, shuffled).run(pixels, head)
    for one, other in zip(trained[:, 0], random[:, 0], strict=True):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.9
    assert not np.allclose(trained, random, atol=0.05 * np.abs(trained).max())


def test_evidence_lies_where_the_only_thing_in_the_picture_is(tmp_path):
    network = Network("efficientnet_lite0", (160, 160))  # maps of 5 x 5
    engine, head = engine_of(network, tmp_path), head_of(1280, 2)
    empty = np.full((1, 160, 160, 3), 128, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    upper_left, lower_right = empty.copy(), empty.copy()
    upper_left[0, :32, :32], lower_right[0, -32:, -32:] = noise, noise
    _, without = engine.run(empty, head)
    for pixels, corner in ((upper_left, np.s_[:3, :3]), (lower_right, np.s_[-3:, -3:])):
        _, found = engine.run(pixels, head)
        change = np.abs(found - without)[0, 0]
        assert change[corner].sum() > 0.6 * change.sum()


def mirrored_average(openvino: Any, *, mirrored_by: Any) -> Any:
    """A network of one 1 x 1 convolution whose embedding is averaged with that of the mirrored picture."""
    opset = openvino.opset13
    pixels = opset.parameter([-1, 4, 6, 3], np.uint8)
    x = opset.convert(opset.transpose(pixels, np.array([0, 3, 1, 2])), np.float32)
    kernel = np.random.default_rng(0).normal(size=(5, 3, 1, 1)).astype("f4")

    def body(x: Any) -> Any:
        maps = opset.relu(opset.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1]))
        return opset.reduce_mean(maps, np.array([2, 3]), keep_dims=False)

    both = opset.add(body(x), body(mirrored_by(opset, x)))
    result = opset.result(opset.multiply(both, np.full((1, 1), 0.5, "f4")))
    return openvino.Model([result], [pixels], "mirrored")


def test_a_network_that_averages_with_the_mirrored_picture_looks_where_one_without_would(tmp_path):
    openvino = openvino_module()
    path, plain_path = tmp_path / "mirrored.xml", tmp_path / "plain.xml"
    columns = np.arange(6)[::-1].copy()
    network = mirrored_average(openvino, mirrored_by=lambda ops, x: ops.gather(x, columns, np.array(3)))
    save_network(network, path)
    save_network(mirrored_average(openvino, mirrored_by=lambda ops, x: x), plain_path)
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    head = head_of(5)
    _, evidence = EvidenceEngine(path, precision="f32").run(pixels, head)
    _, plain = EvidenceEngine(plain_path, precision="f32").run(pixels, head)
    np.testing.assert_allclose(evidence, plain, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("mirrored_first", [False, True])
def test_each_half_of_a_batch_twice_as_long_is_turned_back_as_it_was_turned(mirrored_first, tmp_path):
    openvino = openvino_module()
    opset = openvino.opset13

    def halves(x: Any) -> Any:
        both = [x, opset.gather(x, np.arange(6)[::-1].copy(), np.array(3))]
        return opset.concat(both[::-1] if mirrored_first else both, 0)

    def network(*, used: int) -> Any:
        pixels = opset.parameter([-1, 4, 6, 3], np.uint8)
        x = halves(opset.convert(opset.transpose(pixels, np.array([0, 3, 1, 2])), np.float32))
        kernel = np.random.default_rng(0).normal(size=(5, 3, 1, 1)).astype("f4")
        maps = opset.relu(opset.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1]))
        parts = opset.split(opset.reduce_mean(maps, np.array([2, 3]), keep_dims=False), np.array(0), 2).outputs()
        sum_of = opset.add(parts[0], parts[1 if used == 2 else 0])
        return openvino.Model([opset.result(opset.multiply(sum_of, np.full((1, 1), 0.5, "f4")))], [pixels], "halves")

    save_network(mirrored_average(openvino, mirrored_by=lambda ops, x: x), tmp_path / "plain.xml")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 4, 6, 3), dtype=np.uint8)
    head = head_of(5)
    _, expected = EvidenceEngine(tmp_path / "plain.xml", precision="f32").run(pixels, head)
    for used in (1, 2):
        save_network(network(used=used), tmp_path / f"{used}.xml")
        _, evidence = EvidenceEngine(tmp_path / f"{used}.xml", precision="f32").run(pixels, head)
        np.testing.assert_allclose(evidence, expected, rtol=1e-4, atol=1e-3)


def test_classic_with_its_flip_looks_where_it_looks_in_the_picture_and_in_its_mirror_image(tmp_path):
    pixels, head = pixels_for(CLASSIC), head_of(20)
    plain = engine_of(CLASSIC, tmp_path)
    _, of_picture = plain.run(pixels, head)
    _, of_mirrored = plain.run(np.ascontiguousarray(pixels[:, :, ::-1]), head)
    embeddings, evidence = engine_of(FLIPPED_CLASSIC, tmp_path).run(pixels, head)
    assert evidence.shape == of_picture.shape
    np.testing.assert_allclose(evidence, (of_picture + of_mirrored[..., ::-1]) / 2, atol=1e-4 * np.abs(of_picture).max())
    logits = head.logits(embeddings)
    np.testing.assert_allclose(evidence.sum(axis=(2, 3)), logits - logits.mean(axis=1, keepdims=True), atol=1e-3)


@pytest.mark.parametrize("activation", ["relu", "swish"])
def test_a_network_of_the_users_own_is_explained_as_well(activation, tmp_path):
    import keras
    import tensorflow as tf

    from fieldguide.embedding.engine import network_of_graph
    from fieldguide.models.own_network import build_own, parts_of

    def build(image_size: tuple[int, int], num_classes: int) -> Any:
        pixels = keras.Input((*image_size, 3))
        x = keras.layers.Rescaling(1 / 255)(pixels)
        x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
        x = keras.layers.Conv2D(12, 3, padding="same", activation=activation, name="last")(x)
        x = keras.layers.Dense(10, activation="relu")(keras.layers.GlobalAveragePooling2D()(x))
        return keras.Model(pixels, keras.layers.Dense(num_classes)(x))

    model = build_own(build, image_size=(21, 33), num_classes=3)
    parts = parts_of(model)
    save_network(network_of_graph(parts.graph), tmp_path / "own.xml")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 21, 33, 3), dtype=np.uint8)
    _, evidence = EvidenceEngine(tmp_path / "own.xml", precision="f32").run(pixels, LinearHead(parts.kernel, parts.bias))
    inner = model.layers[2]
    below = keras.Model(inner.inputs[0], inner.get_layer("last").output)
    maps = tf.convert_to_tensor(below(pixels.astype("f4")))
    expected = []
    for number in range(3):
        with tf.GradientTape() as tape:
            tape.watch(maps)
            x = maps
            for layer in inner.layers[-3:]:
                x = layer(x)
            logit = x[:, number]
        expected.append(tf.reduce_sum(tape.gradient(logit, maps) * maps, axis=-1).numpy())
    expected = np.stack(expected, axis=1)
    expected -= expected.mean(axis=1, keepdims=True)
    assert evidence.shape == expected.shape == (4, 3, 10, 16)
    np.testing.assert_allclose(
        evidence - evidence.mean(axis=(2, 3), keepdims=True),
        expected - expected.mean(axis=(2, 3), keepdims=True),
        atol=2e-4 * np.abs(expected).max(),
        rtol=1e-3,
    )


def test_a_network_whose_end_is_not_known_says_so(tmp_path):
    openvino = openvino_module()
    opset = openvino.opset13
    pixels = opset.parameter([-1, 4, 4, 3], np.uint8)
    x = opset.convert(opset.transpose(pixels, np.array([0, 3, 1, 2])), np.float32)
    x = opset.convolution(x, np.ones((5, 3, 1, 1), "f4"), [1, 1], [0, 0], [0, 0], [1, 1])
    squashed = opset.tanh(opset.reduce_mean(x, np.array([2, 3]), keep_dims=False))
    save_network(openvino.Model([opset.result(squashed)], [pixels], "tanh"), tmp_path / "tanh.xml")
    with pytest.raises(BundleError, match="operation Tanh"):
        EvidenceEngine(tmp_path / "tanh.xml")
