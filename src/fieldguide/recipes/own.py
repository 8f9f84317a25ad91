"""`own`: a network that the user wrote in Keras, trained as `classic` trains its own. From Python alone: it is code."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from fieldguide.embedding.engine import Engine, network_of_graph
from fieldguide.errors import RecipeError
from fieldguide.models.operations import Network
from fieldguide.models.registry import OWN
from fieldguide.recipes.classic import Classic
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import Recipe, TrainingData
from fieldguide.recipes.registry import DEFAULT_RECIPE, recipe_of
from fieldguide.storage import sha256

_NUM_COMPARED = 8  # pictures on which Keras and the engine must agree
_LARGEST_DIFFERENCE = 1e-3  # of a logit, relative to the largest


@dataclass(frozen=True)
class Own:
    """A network of the user's own, what `fieldguide.train(..., model=build)` makes.

    Attributes:
        build: called with image_size (height, width) and num_classes; gives a `keras.Model` that takes RGB pixels from 0 to
            255, (batch, height, width, 3), scales them itself and ends in `Dense(num_classes)` without an activation.
        training: how it is trained; what `classic` says of its own network is left out.
    """

    name: ClassVar[str] = OWN
    needs_val: ClassVar[bool] = True

    build: Callable[[tuple[int, int], int], Any]
    training: Classic = field(default_factory=Classic)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.training.image_size

    def frozen_network(self) -> None:
        """None: it learns from pixels."""
        return None

    def to_json(self) -> dict[str, Any]:
        """The settings of the training."""
        left_out = ("filters", "units", "dropout", "test_time_flip", "precision", "max_enlargement")
        return {name: value for name, value in self.training.to_json().items() if name not in left_out}

    def fit(self, data: TrainingData) -> Fitted:
        """Trains the user's network; the weights with the best validation accuracy are kept.

        Raises:
            RecipeError: if the function does not give what it should, the engine cannot run it, or as `Classic.fit`.
        """
        from fieldguide import training

        training.import_tensorflow()
        from fieldguide.models.own_network import build_own, own_weights, parts_of
        from fieldguide.training.loop import make_deterministic

        make_deterministic(data.seed)
        model = build_own(self.build, image_size=self.image_size, num_classes=data.num_classes)
        network = self._checked_network(model, data)  # before minutes are spent on what could not ship
        if data.session.checkpoints is not None:
            data.session.checkpoints.add_to_identity("SHA-256 of the model that the function gives", _digest(model, network))
        result = self.training.train_model(model, data)
        self._checked_network(model, data)
        parts = parts_of(model)
        return Fitted(
            network=Network(OWN, self.image_size),
            weights=own_weights(model),
            graph=parts.graph,
            head_kernel=parts.kernel,
            head_bias=parts.bias,
            history=result.history,
            notes=("The network is one of the user's own, written in Keras.", *result.notes),
            interrupted=result.interrupted,
            work=result.work,
        )

    def _checked_network(self, model: Any, data: TrainingData) -> Any:
        """The `openvino.Model`: the engine must be able to run it, and to give the same answers."""
        from fieldguide.models.own_network import parts_of

        parts = parts_of(model)
        pixels = data.val.values[:_NUM_COMPARED]
        network = network_of_graph(parts.graph)
        ours = Engine(network, precision="f32").embed(pixels) @ parts.kernel + parts.bias
        theirs = np.asarray(model(pixels, training=False))
        difference = float(np.abs(ours - theirs).max())
        if not difference <= _LARGEST_DIFFERENCE * max(1.0, float(np.abs(theirs).max())):
            raise RecipeError(
                f"The engine gives other answers than Keras for this model: a logit differs by {difference:.2g}.\n"
                "hint: a layer of it may behave otherwise each time it is called, as one that draws random numbers."
            )
        return network


def _digest(model: Any, network: Any) -> str:
    """What a model of `build_own` is, apart from its numbers: Keras's configuration, and the operations of the engine.

    The second tells what only the code of the user's layers says; the first, what only training has, such as dropout.
    """
    import keras

    try:
        config = keras.saving.serialize_keras_object(model.layers[2])
    except Exception:  # classes that the user wrote can raise anything; most often they have no get_config
        config = None
    operations = [
        (op.get_type_name(), [f"{end.get_element_type()}{end.get_partial_shape()}" for end in op.outputs()])
        for op in network.get_ordered_ops()
    ]
    numbers: dict[str, int] = {}
    _number_names(config, numbers)
    return sha256(json.dumps([_renamed(config, numbers), operations], sort_keys=True, default=str).encode())


def _number_names(config: Any, numbers: dict[str, int]) -> None:
    """Collects the names of layers: Keras counts them up from call to call, so that their order stands for them."""
    if isinstance(config, Mapping):
        inner = config.get("config")
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) and config.get("class_name") != "DTypePolicy":
            numbers.setdefault(inner["name"], len(numbers))
    if isinstance(config, Mapping | list | tuple):
        for value in config.values() if isinstance(config, Mapping) else config:
            _number_names(value, numbers)


def _renamed(config: Any, numbers: Mapping[str, int]) -> Any:
    if isinstance(config, Mapping):
        if config.get("class_name") == "__lambda__":
            return None  # its code has the number of its line; the operations tell what it does
        return {name: _renamed(value, numbers) for name, value in config.items()}
    if isinstance(config, list | tuple):
        return [_renamed(value, numbers) for value in config]
    return numbers.get(config, config) if isinstance(config, str) else config


def own_recipe(build: Callable[[tuple[int, int], int], Any], training: Recipe) -> Own:
    """The recipe that trains what `build` gives as `training` says; as `Classic()` where that is the default recipe.

    Raises:
        RecipeError: if that is no recipe that trains a network from scratch.
    """
    if training == recipe_of(DEFAULT_RECIPE):
        training = Classic()
    if not isinstance(training, Classic):
        raise RecipeError(
            f"A model of your own is trained as classic trains its own; received the recipe {training.name}.\n"
            "hint: leave the recipe out, or give fieldguide.Classic(epochs=..., image_size=...)."
        )
    return Own(build, training)
