"""What a network computes on its way to an answer. Keras is imported inside the functions: nothing else here needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DatasetError

_BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class ConvolutionBlock:
    """A convolution and the layers behind it, by name, up to the next convolution or the first change of size.

    Attributes:
        kernel: its filters, (height, width, channels in, channels out).
        summed: the layer whose output enters the activation: the normalisation, or the convolution where there is none.
        activated: the last layer that has the convolution's height and width.
        pooled: the layer that makes the map smaller, or None.
    """

    kernel: NDArray[np.float32]
    summed: str
    activated: str
    pooled: str | None = None


def convolution_blocks(model: Any) -> list[ConvolutionBlock]:
    """The convolutions of a `keras.Model`, in order. Those inside a nested model are not looked for.

    Raises:
        DatasetError: if there is none.
    """
    import keras

    blocks: list[ConvolutionBlock] = []
    size: tuple[int, ...] | None = None  # of the block that still grows
    is_summing = False  # whether no activation has come yet
    for layer in model.layers:
        shape = tuple(layer.output.shape)
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.asarray(layer.kernel.numpy(), dtype=np.float32)
            blocks.append(ConvolutionBlock(kernel, summed=layer.name, activated=layer.name))
            size = shape[1:3]
            is_summing = layer.activation is keras.activations.linear
        elif size is not None and len(shape) == 4 and shape[1:3] == size:
            is_summing = is_summing and isinstance(layer, keras.layers.BatchNormalization)
            summed = layer.name if is_summing else blocks[-1].summed
            blocks[-1] = replace(blocks[-1], summed=summed, activated=layer.name)
        elif size is not None:
            if len(shape) == 4:
                blocks[-1] = replace(blocks[-1], pooled=layer.name)
            size = None
    if not blocks:
        raise DatasetError(
            f"The model {model.name!r} has no Conv2D layer among its {len(model.layers)} layers.\n"
            "hint: of a model that holds another one, give the inner one."
        )
    return blocks


def layer_outputs(model: Any, pixels: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """The outputs of some layers, by name, each (num_images, ...): as in prediction, without dropout.

    Args:
        model: a functional or sequential `keras.Model`.
        pixels: what the model takes, (num_images, height, width, channels).
        names: of the layers.

    Raises:
        DatasetError: if the pixels have another shape than the model takes.
    """
    import keras

    _check_pixels(model, pixels)
    probe = keras.Model(model.inputs[0], {name: model.get_layer(name).output for name in names})
    batches = [probe(pixels[start : start + _BATCH_SIZE], training=False) for start in range(0, len(pixels), _BATCH_SIZE)]
    return {name: np.concatenate([keras.ops.convert_to_numpy(batch[name]) for batch in batches]) for name in names}


def dropout_passes(
    model: Any, picture: NDArray[Any], *, num_passes: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What enters the last Dropout layer for one picture, and what leaves it in some training steps.

    Args:
        model: a functional or sequential `keras.Model`.
        picture: (height, width, channels).
        num_passes: how often the picture passes.
        seed: of what is dropped.

    Returns:
        values before, (units,); values after, (num_passes, units).

    Raises:
        DatasetError: if the model has no Dropout layer, or takes pictures of another shape.
    """
    import keras

    _check_pixels(model, picture[None])
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    if not layers:
        raise DatasetError(f"The model {model.name!r} has no Dropout layer.\nhint: give one that was built with dropout > 0.")
    before = keras.Model(model.inputs[0], layers[-1].input)(picture[None], training=False)
    # A layer of its own, outside the model: running the model as in training would move its batch-norm statistics.
    drop = keras.layers.Dropout(layers[-1].rate, seed=seed)
    after = [drop(before, training=True) for _ in range(num_passes)]
    values = np.stack([keras.ops.convert_to_numpy(x).ravel() for x in (before, *after)])
    return values[0], values[1:]


def _check_pixels(model: Any, pixels: NDArray[Any]) -> None:
    expected = tuple(model.input_shape[1:])
    if pixels.ndim != 4 or not all(size in (None, found) for size, found in zip(expected, pixels.shape[1:], strict=True)):
        raise DatasetError(
            f"The model takes pictures of shape {expected}; received {pixels.shape[1:]}.\n"
            "hint: resize them to the model's image_size."
        )
