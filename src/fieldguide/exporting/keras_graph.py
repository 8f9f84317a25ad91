"""Builds a classifier with its answers as a `keras.Model` of Keras's own layers and operations: no class of ours is in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fieldguide.classifier import Classifier
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.exporting.graph import INPUTS, answer_weights, answers, resize
from fieldguide.models.keras_operations import KerasOperations, set_weights
from fieldguide.models.registry import architecture


class KerasGraphOperations(KerasOperations):
    """`GraphOperations` in `keras.ops`."""

    def __init__(self) -> None:
        super().__init__()
        import keras

        self._ops: Any = keras.ops

    def to_float(self, x: Any) -> Any:
        """See `GraphOperations.to_float`."""
        return self._ops.cast(x, "float32")

    def to_pixels(self, x: Any) -> Any:
        """See `GraphOperations.to_pixels`."""
        return self._ops.cast(x, "uint8")

    def positions(self, x: Any, axis: int) -> Any:
        """See `GraphOperations.positions`. Counted, since a size that is not known yet is no value in Keras."""
        line = self.to_float(x[tuple(slice(None) if i == axis else 0 for i in range(4))])
        counted = self._ops.cumsum(self._ops.ones_like(line))
        return self._ops.expand_dims(counted - 1.0, -1)

    def plus(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.plus`."""
        return self._ops.add(x, y)

    def first(self, x: Any, axis: int, count: Any) -> Any:
        """See `GraphOperations.first`; a size that is computed cuts nothing in a functional model."""
        return x

    def subtract(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.subtract`."""
        return self._ops.subtract(x, y)

    def multiply(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.multiply`."""
        return self._ops.multiply(x, y)

    def divide(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.divide`."""
        return self._ops.divide(x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.maximum`."""
        return self._ops.maximum(x, y)

    def is_greater(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.is_greater`."""
        return self._ops.greater(x, y)

    def matmul(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.matmul`."""
        return self._ops.matmul(x, y)

    def absolute(self, x: Any) -> Any:
        """See `GraphOperations.absolute`."""
        return self._ops.absolute(x)

    def floor(self, x: Any) -> Any:
        """See `GraphOperations.floor`."""
        return self._ops.floor(x)

    def sqrt(self, x: Any) -> Any:
        """See `GraphOperations.sqrt`."""
        return self._ops.sqrt(x)

    def sum(self, x: Any, axis: int) -> Any:
        """See `GraphOperations.sum`."""
        return self._ops.sum(x, axis=axis, keepdims=True)

    def min(self, x: Any, axis: int) -> Any:
        """See `GraphOperations.min`."""
        return self._ops.min(x, axis=axis, keepdims=True)

    def softmax(self, x: Any) -> Any:
        """See `GraphOperations.softmax`."""
        return self._ops.softmax(x, axis=-1)

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """See `GraphOperations.transpose`."""
        return self._ops.transpose(x, tuple(order))

    def drop_last_axis(self, x: Any) -> Any:
        """See `GraphOperations.drop_last_axis`."""
        return self._ops.squeeze(x, axis=-1)


def build_tensor_model(classifier: Classifier, *, batch_size: int | None = None) -> Any:
    """A `keras.Model`: `pixels`, RGB uint8 (batch, *image_size, 3) -> the outputs of `graph.answers` by name.

    Args:
        classifier: what to build.
        batch_size: pictures at once; None: any number.

    Raises:
        BundleError: if the architecture is none that fieldguide builds.
    """
    import keras

    ops, network = KerasGraphOperations(), classifier.bundle.network
    build = architecture(network.architecture)
    pixels = keras.Input((*network.image_size, 3), batch_size=batch_size, dtype="uint8", name=INPUTS[TENSOR])
    outputs = answers(ops, build(ops, pixels, **network.options), classifier)
    model = keras.Model(pixels, outputs, name="classifier")
    set_weights(model, {**classifier.bundle.weights(), **answer_weights(classifier)})
    return model


def build_models(classifier: Classifier) -> dict[str, Any]:
    """A `keras.Model` for each contract: that of `build_tensor_model`, and the same for one picture of any size.

    The second takes `picture`, RGB uint8 (1, height, width, 3), and shares the weights of the first.

    Raises:
        BundleError: if the architecture is none that fieldguide builds.
    """
    import keras

    tensor_model = build_tensor_model(classifier)
    picture = keras.Input((None, None, 3), batch_size=1, dtype="uint8", name=INPUTS[PICTURE])
    resized = resize(KerasGraphOperations(), picture, classifier.image_size)
    return {TENSOR: tensor_model, PICTURE: keras.Model(picture, tensor_model(resized), name="picture_classifier")}


def as_arrays(outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs of a call as NumPy arrays by name."""
    return {name: np.asarray(value) for name, value in outputs.items()}
