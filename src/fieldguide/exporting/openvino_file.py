"""OpenVINO: the network as it runs here, with its answers, for programs that use OpenVINO themselves."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.embedding.engine import core, name_by_position, openvino_module, read_network, save_network
from fieldguide.embedding.graph import OpenVINOOperations
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.exporting.graph import INPUTS, answer_weights, answers, resize

FILES = {TENSOR: "model.xml", PICTURE: "model-picture.xml"}  # each with its numbers in a .bin beside it
RUNTIME = "openvino"


class OpenVINOGraphOperations(OpenVINOOperations):
    """`GraphOperations` in OpenVINO's operator set."""

    def to_float(self, x: Any) -> Any:
        """See `GraphOperations.to_float`."""
        return self._opset.convert(x, np.float32)

    def to_pixels(self, x: Any) -> Any:
        """See `GraphOperations.to_pixels`."""
        return self._opset.convert(x, np.uint8)

    def positions(self, x: Any, axis: int) -> Any:
        """See `GraphOperations.positions`."""
        size = self._opset.gather(self._opset.shape_of(x), np.int64(axis), np.int64(0))
        return self._opset.unsqueeze(self._opset.range(np.int64(0), size, np.int64(1), output_type="f32"), np.array([1]))

    def plus(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.plus`."""
        return self._opset.add(_number(x), _number(y))

    def first(self, x: Any, axis: int, count: Any) -> Any:
        """See `GraphOperations.first`."""
        end = self._opset.convert(self._opset.reshape(count, np.array([1]), special_zero=False), np.int64)
        return self._opset.slice(x, np.array([0]), end, np.array([1]), np.array([axis]))

    def subtract(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.subtract`."""
        return self._opset.subtract(_number(x), _number(y))

    def multiply(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.multiply`."""
        return self._opset.multiply(_number(x), _number(y))

    def divide(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.divide`."""
        return self._opset.divide(_number(x), _number(y))

    def maximum(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.maximum`."""
        return self._opset.maximum(_number(x), _number(y))

    def is_greater(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.is_greater`."""
        return self._opset.greater(_number(x), _number(y))

    def matmul(self, x: Any, y: Any) -> Any:
        """See `GraphOperations.matmul`."""
        return self._opset.matmul(x, y, False, False)

    def absolute(self, x: Any) -> Any:
        """See `GraphOperations.absolute`."""
        return self._opset.absolute(x)

    def floor(self, x: Any) -> Any:
        """See `GraphOperations.floor`."""
        return self._opset.floor(x)

    def sqrt(self, x: Any) -> Any:
        """See `GraphOperations.sqrt`."""
        return self._opset.sqrt(x)

    def sum(self, x: Any, axis: int) -> Any:
        """See `GraphOperations.sum`."""
        return self._opset.reduce_sum(x, np.array([axis]), keep_dims=True)

    def min(self, x: Any, axis: int) -> Any:
        """See `GraphOperations.min`."""
        return self._opset.reduce_min(x, np.array([axis]), keep_dims=True)

    def softmax(self, x: Any) -> Any:
        """See `GraphOperations.softmax`."""
        return self._opset.softmax(x, -1)

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """See `GraphOperations.transpose`."""
        return self._opset.transpose(x, np.array(order))

    def drop_last_axis(self, x: Any) -> Any:
        """See `GraphOperations.drop_last_axis`."""
        return self._opset.squeeze(x, np.array([-1]))


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes a network for each contract, on top of the bundle's own: any network that fieldguide runs can be written."""
    for contract, name in FILES.items():
        save_network(_model(classifier, contract, metadata), directory / name)


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The network of a contract as a function at f32: pictures -> outputs by name."""
    compiled = core().compile_model(str(directory / FILES[contract]), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {output.get_any_name(): np.array(value) for output, value in compiled([pixels]).items()}

    return run


def _model(classifier: Classifier, contract: str, metadata: Mapping[str, Any]) -> Any:
    openvino = openvino_module()
    ops = OpenVINOGraphOperations(answer_weights(classifier))
    network = read_network(classifier.bundle.directory / "network.xml")
    given = network.get_parameters()[0]
    if contract == PICTURE:
        picture = openvino.opset13.parameter([1, -1, -1, 3], np.uint8)
        given.output(0).replace(resize(ops, picture, classifier.image_size).output(0))
        given = picture
    given.output(0).set_names({INPUTS[contract]})
    results = []
    for name, value in answers(ops, network.get_results()[0].input_value(0).get_node(), classifier).items():
        result = openvino.opset13.result(value)
        result.output(0).set_names({name})
        results.append(result)
    model = openvino.Model(results, [given], "fieldguide")
    name_by_position(model)
    for key, value in metadata.items():
        model.set_rt_info(value if isinstance(value, str) else json.dumps(value), ["fieldguide", key])
    return model


def _number(x: Any) -> Any:
    return np.asarray(x, np.float32) if isinstance(x, float | np.ndarray) else x
