"""A network that is fine-tuned computes what the published one computes, and its gradients are those of TensorFlow."""

from __future__ import annotations

import numpy as np
import pytest

from fieldguide import training

training.import_tensorflow()

import tensorflow as tf  # noqa: E402

from fieldguide.embedding.engine import Engine  # noqa: E402
from fieldguide.embedding.graph import build_network  # noqa: E402
from fieldguide.models.keras_operations import build_keras, set_weights  # noqa: E402
from fieldguide.models.operations import Network  # noqa: E402
from fieldguide.models.weights import Weights, pretrained_weights  # noqa: E402
from fieldguide.training.folded import FoldedConv2D, build_folded, unfold  # noqa: E402

NETWORK = Network("efficientnet_lite0", (40, 33))
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 40, 33, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def weights(shared_cache) -> Weights:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDGUIDE_CACHE", str(shared_cache))
        published = pretrained_weights("efficientnet_lite0")
    kernel = np.random.default_rng(1).normal(0, 0.05, (1280, 4)).astype(np.float32)
    return {**published, "head/kernel": kernel, "head/bias": np.arange(4, dtype=np.float32)}


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("side", [(8, 7), (5, 4), (1, 2)])
def test_the_gradient_of_a_depthwise_convolution_is_that_of_tensorflow(size, strides, side):
    rng = np.random.default_rng(size)
    x = tf.constant(rng.normal(size=(2, *side, 6)).astype(np.float32))
    layer = FoldedConv2D((size, size, 6, 1), strides, is_depthwise=True, name="depthwise", dtype="float32")
    layer.build(x.shape)
    kernel, scale, bias = (
        rng.normal(size=weight.shape).astype(np.float32) for weight in (layer.kernel, layer.scale, layer.bias)
    )
    for weight, value in ((layer.kernel, kernel), (layer.scale, scale), (layer.bias, bias)):
        weight.assign(value)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        ours = layer(x)
        theirs = tf.nn.depthwise_conv2d(x, kernel * scale[:, None], [1, strides, strides, 1], "SAME") + bias
        losses = [tf.reduce_sum(tf.sin(y)) for y in (ours, theirs)]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert ours.shape == layer.compute_output_shape(x.shape)
    np.testing.assert_allclose(*(tape.gradient(loss, x) for loss in losses), atol=1e-5)
    assert [weight.name for weight in layer.trainable_weights] == ["bias"]


def test_folded_it_gives_the_logits_and_the_gradients_of_the_published_network(weights):
    plain = build_keras(NETWORK, num_classes=4)
    set_weights(plain, weights)
    folded = build_folded(NETWORK, weights, num_classes=4)
    gradients = []
    for model in (plain, folded):
        kernels = [model.get_layer(name).kernel.value for name in ("stem_conv", "block4_expand_conv", "top_conv")]
        with tf.GradientTape() as tape:
            logits = model(PIXELS, training=False)
            loss = tf.reduce_sum(logits**2)
        gradients.append((logits, *tape.gradient(loss, kernels)))
    for theirs, ours in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(tf.reduce_max(tf.abs(theirs))))


def test_unfolded_after_training_it_is_the_network_that_runs(weights):
    model = build_folded(NETWORK, weights, num_classes=4)
    rng = np.random.default_rng(2)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() * rng.uniform(0.9, 1.1, variable.shape) + rng.normal(0, 0.01, variable.shape))
    unfolded = unfold(model, weights)
    assert set(unfolded) == {name for name in weights if not name.startswith("head/")}
    for name, value in unfolded.items():
        is_kept = "depthwise_conv" in name or name.endswith(("gamma", "moving_mean", "moving_variance"))
        assert np.array_equal(value, weights[name]) == is_kept, name
    embeddings = Engine(build_network(NETWORK, unfolded), precision="f32").embed(PIXELS)
    kernel, bias = model.get_layer("head").get_weights()
    expected = model(PIXELS, training=False).numpy()
    np.testing.assert_allclose(embeddings @ kernel + bias, expected, atol=1e-4 * np.abs(expected).max())


def test_in_half_precision_weights_and_logits_stay_whole(weights):
    model = build_folded(NETWORK, weights, num_classes=4, dtype="mixed_bfloat16")
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    logits = model(PIXELS, training=False)
    exact = build_folded(NETWORK, weights, num_classes=4)(PIXELS, training=False)
    assert logits.dtype == tf.float32
    assert 0 < float(tf.reduce_max(tf.abs(logits - exact))) < 0.1 * float(tf.reduce_max(tf.abs(exact)))
