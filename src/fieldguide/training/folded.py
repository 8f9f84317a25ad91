"""A pretrained network as it is fine-tuned: batch normalisation frozen and folded into the convolution before it.

What is left of a block is convolutions with a bias, which TensorFlow runs as one operation each, and which bfloat16 makes
twice as fast where the processor has it. The small kernels of depthwise convolutions stay as they are: their gradient
alone took a third of a step, and they are a hundredth of the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fieldguide.models.keras_operations import KerasOperations
from fieldguide.models.operations import Network
from fieldguide.models.registry import architecture

EPSILON = 1e-3  # of `Operations.batch_norm`


class FoldedConv2D(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
    """`convolution(x, kernel * scale) + bias`: a convolution and the frozen batch normalisation after it.

    The kernel is kept as it was published and the scale beside it, so that an optimizer whose steps are of one size, as
    Adam's, changes all channels alike.

    Args:
        kernel_shape: (height, width, in, out), or (height, width, channels, 1) of a depthwise convolution.
        strides: of both axes.
        is_depthwise: whether each channel is filtered by itself; its kernel is not trained.
    """

    def __init__(self, kernel_shape: tuple[int, ...], strides: int, *, is_depthwise: bool, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)
        self._strides, self._is_depthwise = strides, is_depthwise
        num_channels = kernel_shape[2 if is_depthwise else 3]
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, trainable=not is_depthwise)
        self.scale = self.add_weight(name="scale", shape=(num_channels,), initializer="ones", trainable=False)
        self.bias = self.add_weight(name="bias", shape=(num_channels,), initializer="zeros")

    def call(self, x: Any) -> Any:
        """(batch, height, width, in) -> (batch, ceil(height / strides), ceil(width / strides), out)."""
        x = tf.cast(x, self.compute_dtype)
        scale = tf.reshape(self.scale, (-1, 1) if self._is_depthwise else (-1,))
        kernel = tf.cast(self.kernel * scale, x.dtype)
        if self._is_depthwise:
            y = _frozen_depthwise(kernel.shape[0], self._strides)(x, kernel)
        else:
            y = tf.nn.conv2d(x, kernel, self._strides, "SAME")
        return tf.nn.bias_add(y, tf.cast(self.bias, x.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """As TensorFlow pads "same"."""
        batch, height, width, _ = input_shape
        sides = (None if side is None else -(-side // self._strides) for side in (height, width))
        return (batch, *sides, self.bias.shape[0])


@cache
def _frozen_depthwise(size: int, strides: int) -> Callable[[Any, Any], Any]:
    """A depthwise convolution with padding "same" whose kernel has no gradient.

    The gradient of its input is a depthwise convolution too, of the output's gradient (with zeros between where strides
    is 2) with the kernel turned around: TensorFlow's own takes ten times as long in bfloat16.
    """

    def convolution(x: Any, kernel: Any) -> Any:
        sides = tf.unstack(tf.shape(x)[1:3])

        def gradient(upstream: Any) -> tuple[Any, None]:
            paddings = [[0, 0]]
            for axis, side in enumerate(sides, start=1):
                count = -(-side // strides)
                before = (
                    tf.maximum((count - 1) * strides + size - side, 0) // 2
                )  # zeros that "same" puts before the first value
                paddings.append([size - 1 - before, side + before - count * strides])
                upstream = _with_zeros_between(upstream, axis, strides)
            upstream = tf.pad(upstream, [*paddings, [0, 0]])  # (batch, height + size - 1, width + size - 1, channels)
            return tf.nn.depthwise_conv2d(upstream, tf.reverse(kernel, [0, 1]), [1, 1, 1, 1], "VALID"), None

        return tf.nn.depthwise_conv2d(x, kernel, [1, strides, strides, 1], "SAME"), gradient

    wrapped: Callable[[Any, Any], Any] = tf.custom_gradient(convolution)
    return wrapped


def _with_zeros_between(x: Any, axis: int, strides: int) -> Any:
    """`strides - 1` zeros after each position of an axis."""
    if strides == 1:
        return x
    sides = tf.unstack(tf.shape(x))
    sides[axis] *= strides
    x = tf.pad(tf.expand_dims(x, axis + 1), [[0, strides - 1 if i == axis + 1 else 0] for i in range(5)])
    return tf.reshape(x, sides)


class FoldedOperations(KerasOperations):
    """The layers of `Operations` for fine-tuning; each convolution must be followed by its normalisation, as in Lite0."""

    def conv(self, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Any:
        """See `Operations.conv`."""
        shape = (kernel_size, kernel_size, x.shape[-1], filters)
        return FoldedConv2D(shape, strides, is_depthwise=False, name=name, dtype=self._dtype)(x)

    def depthwise_conv(self, x: Any, name: str, *, kernel_size: int, strides: int = 1) -> Any:
        """See `Operations.depthwise_conv`."""
        shape = (kernel_size, kernel_size, x.shape[-1], 1)
        return FoldedConv2D(shape, strides, is_depthwise=True, name=name, dtype=self._dtype)(x)

    def batch_norm(self, x: Any, name: str, *, epsilon: float = EPSILON) -> Any:
        """See `Operations.batch_norm`; the layer before has it."""
        return x

    def global_average_pool(self, x: Any) -> Any:
        """See `Operations.global_average_pool`; sums are formed in float32."""
        return keras.layers.GlobalAveragePooling2D(dtype="float32")(x)


Weights = Mapping[str, NDArray[np.float32]]


def build_folded(network: Network, weights: Weights, *, num_classes: int, dtype: str = "float32") -> Any:
    """A `keras.Model` to fine-tune: RGB uint8 (batch, height, width, 3), of any size -> logits (batch, num_classes).

    Args:
        network: names the architecture.
        weights: of the network, as `Operations` names them, and `head/kernel` and `head/bias`.
        num_classes: number of logits.
        dtype: "float32" or "mixed_bfloat16"; weights and logits are float32 in both.
    """
    pixels = keras.Input((None, None, 3), dtype="uint8", name="pixels")
    operations = FoldedOperations(dtype, is_trained=True)
    embedding = architecture(network.architecture)(operations, pixels, **network.options)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="head")(embedding)
    model = keras.Model(pixels, logits, name=network.architecture)
    for layer in _folded_layers(model):
        scale, shift = _scale_and_shift(weights, layer.name)
        layer.kernel.assign(weights[f"{layer.name}/kernel"])
        layer.scale.assign(scale)
        layer.bias.assign(shift)
    model.get_layer("head").set_weights([weights["head/kernel"], weights["head/bias"]])
    return model


def unfold(model: Any, weights: Weights) -> dict[str, NDArray[np.float32]]:
    """The weights of a model of `build_folded` for the architecture as it was: new kernels, and new `beta` where a bias was.

    Args:
        model: after training.
        weights: as they were given to `build_folded`; the statistics of batch normalisation stay what they were.
    """
    result = {name: value for name, value in weights.items() if not name.startswith("head/")}
    for layer in _folded_layers(model):
        scale = _scale_and_shift(weights, layer.name)[0]
        norm = _norm_of(layer.name)
        result[f"{layer.name}/kernel"] = layer.kernel.numpy()
        result[f"{norm}/beta"] = layer.bias.numpy() + weights[f"{norm}/moving_mean"] * scale
    return result


def _folded_layers(model: Any) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, FoldedConv2D)]


def _norm_of(conv: str) -> str:
    return f"{conv.removesuffix('_conv')}_norm"


def _scale_and_shift(weights: Weights, conv: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a batch normalisation multiplies by and adds, when its statistics stay as they are."""
    gamma, beta, mean, variance = (
        weights[f"{_norm_of(conv)}/{variable}"].astype(np.float64)
        for variable in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    return scale.astype(np.float32), (beta - mean * scale).astype(np.float32)
