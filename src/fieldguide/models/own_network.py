"""A network that the user wrote in Keras: checked, given our pixels, and taken apart into what ships.

Keras and TensorFlow are imported inside the functions: nothing else here needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import BundleError, RecipeError

BuildFunction = Callable[[tuple[int, int], int], Any]
CONTRACT = (
    "hint: it is called with image_size (height, width) and num_classes, and should give a keras.Model that takes RGB pixels "
    "from 0 to 255, (batch, height, width, 3), scales them itself, and ends in Dense(num_classes) without an activation."
)


class Parts(NamedTuple):
    """A network as a bundle holds it: an embedding, and a linear head on top."""

    graph: bytes  # a frozen TensorFlow graph: uint8 pixels -> embedding
    kernel: NDArray[np.float32]  # (embedding size, num_classes)
    bias: NDArray[np.float32]  # (num_classes,)


def build_own(build: BuildFunction, *, image_size: tuple[int, int], num_classes: int) -> Any:
    """A `keras.Model` around the user's: RGB uint8 (batch, *image_size, 3) -> logits (batch, num_classes), float32.

    Raises:
        RecipeError: if the function gives something else; the message says what was expected.
    """
    import keras

    network = build(image_size, num_classes)
    if not isinstance(network, keras.Model):
        raise RecipeError(f"The function should give a keras.Model; it gave {type(network).__name__}.\n{CONTRACT}")
    pixels = keras.Input((*image_size, 3), dtype="uint8", name="pixels")
    try:
        outputs = network(keras.layers.Rescaling(1.0, dtype="float32", name="to_float")(pixels))
        shape = tuple(outputs.shape)
    except Exception as error:  # layers that the user wrote can raise anything
        wanted = f"(batch, {image_size[0]}, {image_size[1]}, 3)"
        raise RecipeError(f"The model cannot take pictures of shape {wanted}: {error}\n{CONTRACT}") from error
    if shape != (None, num_classes):
        raise RecipeError(f"The model should give logits of shape (batch, {num_classes}); it gives {shape}.\n{CONTRACT}")
    last = network.layers[-1] if network.layers else None
    activation = getattr(last, "activation", None)
    if activation in (keras.activations.softmax, keras.activations.sigmoid):
        raise RecipeError(f"The model should give logits; its last layer ends in {activation.__name__}.\n{CONTRACT}")
    if isinstance(last, keras.layers.Softmax):
        raise RecipeError(f"The model should give logits; it ends in Softmax, which gives probabilities.\n{CONTRACT}")
    logits = keras.layers.Activation("linear", dtype="float32", name="logits")(outputs)
    return keras.Model(pixels, logits, name="own")


def parts_of(model: Any) -> Parts:
    """What ships of a model of `build_own`.

    The embedding is the input of the last Dense layer where Keras knows it (sequential and functional models); elsewhere it is
    the logits, and the head lets them pass.
    """
    import keras
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    network, num_classes = model.layers[2], model.output_shape[-1]
    embedding = _input_of_last_dense(network)
    if embedding is None:
        body, kernel, bias = network, np.eye(num_classes, dtype=np.float32), np.zeros(num_classes, np.float32)
    else:
        body, last = keras.Model(network.inputs, embedding), network.layers[-1]
        kernel = np.asarray(last.kernel.numpy(), np.float32)
        bias = np.zeros(num_classes, np.float32) if last.bias is None else np.asarray(last.bias.numpy(), np.float32)
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8, name="pixels")], autograph=False)  # type: ignore[untyped-decorator]
    def run(pixels: Any) -> Any:
        return tf.cast(body(tf.cast(pixels, tf.float32), training=False), tf.float32)

    frozen = convert_variables_to_constants_v2(run.get_concrete_function())
    return Parts(frozen.graph.as_graph_def().SerializeToString(), kernel, bias)


def _input_of_last_dense(network: Any) -> Any:
    """A symbolic tensor, (batch, size); None where there is no such layer or Keras does not know what goes into it."""
    import keras

    last = network.layers[-1] if network.layers else None
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.linear:
        return None
    try:
        is_output = last.output is network.outputs[0]
        return last.input if is_output and len(last.input.shape) == 2 else None
    except (AttributeError, ValueError):
        return None


def own_weights(model: Any) -> dict[str, NDArray[np.float32]]:
    """The user's weights in the order of their making, as `weight-0000`, ...; Keras's names change from call to call."""
    return {f"weight-{number:04d}": np.asarray(v.numpy(), np.float32) for number, v in enumerate(_variables(model))}


def rebuild_own(
    build: BuildFunction,
    weights: Mapping[str, NDArray[np.float32]],
    *,
    image_size: tuple[int, int],
    kernel: NDArray[np.float32],
    bias: NDArray[np.float32],
) -> Any:
    """The model of `build_own` again, with its trained weights and another head.

    Raises:
        BundleError: if the function builds another network than the one that was trained.
    """
    import keras

    model = build_own(build, image_size=image_size, num_classes=len(bias))
    variables = _variables(model)
    trained = [weights[name] for name in sorted(weights)]
    if [tuple(v.shape) for v in variables] != [value.shape for value in trained]:
        raise BundleError(
            f"The function builds another network than the one that was trained: {len(variables)} weights against "
            f"{len(trained)}, or of other shapes.\nhint: give the function that `train` was given."
        )
    for variable, value in zip(variables, trained, strict=True):
        variable.assign(value)
    network = model.layers[2]
    if _input_of_last_dense(network) is None:
        head = keras.layers.Dense(len(bias), name="head")
        model = keras.Model(model.input, head(model.output))
        head.set_weights([kernel, bias])
        return model
    network.layers[-1].kernel.assign(kernel)
    if network.layers[-1].use_bias:
        network.layers[-1].bias.assign(bias)
    return model


def _variables(model: Any) -> list[Any]:
    return [variable for variable in model.weights if "seed" not in variable.name]
