"""Builds an architecture as a Keras model. Keras is imported inside the functions: nothing else here needs it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import BundleError
from fieldguide.models.operations import Network
from fieldguide.models.registry import architecture


class KerasOperations:
    """The layers of `Operations` in Keras.

    Args:
        dtype: Keras's dtype policy of the layers, "float32" or "mixed_bfloat16"; weights are float32 in both.
        is_trained: whether batch normalisation is computed by TensorFlow's one operation for it, which leaves activations
            in bfloat16, and mirror images are left out while it learns; such a model cannot be saved as it stands.
    """

    def __init__(self, dtype: str = "float32", *, is_trained: bool = False) -> None:
        self._dtype, self._is_trained = dtype, is_trained

    def rescale(self, x: Any, *, scale: tuple[float, ...] | float, offset: tuple[float, ...] | float) -> Any:
        """See `Operations.rescale`."""
        import keras

        as_argument = [list(v) if isinstance(v, tuple) else v for v in (scale, offset)]
        return keras.layers.Rescaling(*as_argument, dtype="float32", name="rescale")(x)

    def conv(self, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Any:
        """See `Operations.conv`."""
        import keras

        return keras.layers.Conv2D(
            filters,
            kernel_size,
            strides,
            "same",
            use_bias=use_bias,
            kernel_initializer="he_normal",
            name=name,
            dtype=self._dtype,
        )(x)

    def depthwise_conv(self, x: Any, name: str, *, kernel_size: int, strides: int = 1) -> Any:
        """See `Operations.depthwise_conv`."""
        import keras

        return keras.layers.DepthwiseConv2D(
            kernel_size, strides, "same", use_bias=False, depthwise_initializer="he_normal", name=name, dtype=self._dtype
        )(x)

    def batch_norm(self, x: Any, name: str, *, epsilon: float = 1e-3) -> Any:
        """See `Operations.batch_norm`."""
        import keras

        layer = _fused_batch_normalization() if self._is_trained and len(x.shape) == 4 else keras.layers.BatchNormalization
        return layer(epsilon=epsilon, momentum=0.9, name=name, dtype=self._dtype)(x)

    def relu(self, x: Any, *, max_value: float | None = None) -> Any:
        """See `Operations.relu`."""
        import keras

        return keras.layers.ReLU(max_value, dtype=self._dtype)(x)

    def max_pool(self, x: Any) -> Any:
        """See `Operations.max_pool`."""
        import keras

        return keras.layers.MaxPooling2D(2, dtype=self._dtype)(x)

    def global_average_pool(self, x: Any) -> Any:
        """See `Operations.global_average_pool`."""
        import keras

        return keras.layers.GlobalAveragePooling2D(dtype=self._dtype)(x)

    def flatten(self, x: Any) -> Any:
        """See `Operations.flatten`."""
        import keras

        return keras.layers.Flatten(dtype=self._dtype)(x)

    def dense(self, x: Any, name: str, *, units: int, use_bias: bool = True) -> Any:
        """See `Operations.dense`."""
        import keras

        return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer="he_normal", name=name, dtype=self._dtype)(x)

    def dropout(self, x: Any, *, rate: float) -> Any:
        """See `Operations.dropout`."""
        import keras

        return keras.layers.Dropout(rate, dtype=self._dtype)(x)

    def add(self, x: Any, y: Any) -> Any:
        """See `Operations.add`."""
        import keras

        return keras.layers.Add(dtype=self._dtype)([x, y])

    def with_mirrored(self, x: Any) -> Any:
        """See `Operations.with_mirrored`."""
        return _unless_learning(_with_mirrored, dtype=self._dtype)(x) if self._is_trained else _with_mirrored(x)

    def mean_with_mirrored(self, x: Any) -> Any:
        """See `Operations.mean_with_mirrored`."""
        return _unless_learning(_mean_with_mirrored, dtype=self._dtype)(x) if self._is_trained else _mean_with_mirrored(x)


def _with_mirrored(x: Any) -> Any:
    import keras

    return keras.ops.concatenate([x, keras.ops.flip(x, axis=2)], axis=0)


def _mean_with_mirrored(x: Any) -> Any:
    import keras

    plain, mirrored = keras.ops.split(x, 2, axis=0)
    if len(x.shape) == 4:
        mirrored = keras.ops.flip(mirrored, axis=2)
    return (plain + mirrored) * 0.5


def _unless_learning(change: Callable[[Any], Any], *, dtype: str) -> Any:
    """A layer that changes its input, but not in a training step."""
    import keras

    class UnlessLearning(keras.layers.Layer):  # type: ignore[misc]  # Keras ships no types
        def call(self, x: Any, training: bool | None = None) -> Any:
            return x if training else change(x)

    return UnlessLearning(dtype=dtype, autocast=False)


@functools.cache
def _fused_batch_normalization() -> Any:
    """Keras's layer with the same variables, which Keras computes in a dozen passes over float32 copies."""
    import keras
    import tensorflow as tf

    class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras ships no types
        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            if not training:
                return super().call(inputs, training=training, mask=mask)
            result, mean, variance = tf.compat.v1.nn.fused_batch_norm(
                inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
            )  # its variance is that of the population that the batch was drawn from: n - 1 instead of n
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
            return result

    return FusedBatchNormalization


def build_keras(
    network: Network, *, num_classes: int, dtype: str = "float32", is_trained: bool = False, any_size: bool = False
) -> Any:
    """A `keras.Model`: RGB uint8 (batch, *image_size, 3) -> logits (batch, num_classes), with fresh weights.

    Its last layer is called `head`; the layer before it gives the embedding. With `dtype` "mixed_bfloat16" all but the
    head compute in bfloat16; weights and logits stay float32. With `is_trained` a step is faster, see `KerasOperations`.
    With `any_size` it takes pictures of every size, if the architecture does.
    """
    import keras

    size = (None, None) if any_size else network.image_size
    pixels = keras.Input((*size, 3), dtype="uint8", name="pixels")
    operations = KerasOperations(dtype, is_trained=is_trained)
    embedding = architecture(network.architecture)(operations, pixels, **network.options)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="head")(embedding)
    return keras.Model(pixels, logits, name=network.architecture)


def get_weights(model: Any) -> dict[str, NDArray[np.float32]]:
    """Every weight of a model by `LAYER/VARIABLE`, without the states of random generators."""
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable.numpy(), dtype=np.float32)
        for layer in model.layers
        for variable in layer.weights
        if "seed" not in variable.name
    }


def set_weights(model: Any, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Puts weights named as `get_weights` names them into a model.

    Raises:
        BundleError: if one is missing or has another shape.
    """
    for layer in model.layers:
        for variable in layer.weights:
            if "seed" in variable.name:
                continue
            name = f"{layer.name}/{variable.name}"
            value = weights.get(name)
            if value is None or tuple(value.shape) != tuple(variable.shape):
                found = "it is missing" if value is None else f"received {tuple(value.shape)}"
                raise BundleError(f"Weight {name!r} should have shape {tuple(variable.shape)}; {found}.")
            variable.assign(value)
