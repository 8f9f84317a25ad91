"""What a network computes on its way to an answer. Keras is imported inside the functions: nothing else here needs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DatasetError

_BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class ConvolutionBlock:
    """A convolution and the layers behind it, by name, up to the next convolution or the end of the maps.

    Attributes:
        kernel: its filters, (height, width, channels in, channels out).
        summed: the layer whose output enters the activation: the normalisation, or what stands in its place.
        activated: the activation; the convolution itself where that has one inside.
        pooling: the layer before the first one that makes the maps smaller, and that one; or None.
    """

    kernel: NDArray[np.float32]
    summed: str
    activated: str
    pooling: tuple[str, str] | None


def convolution_blocks(model: Any) -> list[ConvolutionBlock]:
    """The convolutions of a `keras.Model`, in order. Those inside a nested model are not looked for.

    Raises:
        DatasetError: if there is none.
    """
    import keras

    groups: list[list[Any]] = []  # the layers of each block
    is_open = False
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            groups.append([])
            is_open = True
        is_open = is_open and len(layer.output.shape) == 4
        if is_open:
            groups[-1].append(layer)
    if not groups:
        raise DatasetError(
            f"The model {model.name!r} has no Conv2D layer among its {len(model.layers)} layers.\n"
            "hint: of a model that holds another one, give the inner one."
        )
    return [_block(layers) for layers in groups]


def _block(layers: Sequence[Any]) -> ConvolutionBlock:
    import keras

    kinds = (keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU)
    names = [layer.name for layer in layers]
    if layers[0].activation is not keras.activations.linear:
        summed, activated = names[0], names[0]
    else:
        found = [number for number, layer in enumerate(layers) if isinstance(layer, kinds)]
        last = found[0] if found else len(layers) - 1
        activated, summed = names[last], names[last - 1] if found else names[last]
    heights = [layer.output.shape[1] for layer in layers]
    smaller = [number for number, height in enumerate(heights) if height != heights[0]]
    pooling = (names[smaller[0] - 1], names[smaller[0]]) if smaller else None
    return ConvolutionBlock(np.asarray(layers[0].kernel.numpy(), dtype=np.float32), summed, activated, pooling)


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
