"""ONNX: for ONNX Runtime and whatever else reads it, on servers, desktops, phones and in browsers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.exporting.extras import needed
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.exporting.graph import INPUTS, NONE_OF_THESE, answer_weights, answers, resize
from fieldguide.exporting.onnx_graph import OnnxOperations, Value
from fieldguide.models.registry import architecture
from fieldguide.storage import write_bytes

FILES = {TENSOR: "model.onnx", PICTURE: "model-picture.onnx"}
RUNTIME = "onnxruntime"
OPSET, IR_VERSION = 17, 8  # of 2022: what phones and browsers read by now


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes a file for each contract.

    Raises:
        MissingExtraError: if `onnx` is not installed.
        BundleError: if the architecture is none that fieldguide builds.
    """
    for contract, name in FILES.items():
        write_bytes(directory / name, build_model(classifier, contract, metadata).SerializeToString())


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The file of a contract as a function: pictures -> outputs by name."""
    # Its import would write a device id into the user's home, and report to Microsoft; turned off later, that has happened.
    os.environ |= {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}  # the first is 1.32's name, the second another
    onnxruntime = needed("onnxruntime", extra="onnx")
    onnxruntime.disable_telemetry_events()  # what Windows has
    session = onnxruntime.InferenceSession(str(directory / FILES[contract]), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return dict(zip(names, session.run(names, {INPUTS[contract]: pixels}), strict=True))

    return run


def build_model(classifier: Classifier, contract: str, metadata: Mapping[str, Any], *, with_evidence: bool = False) -> Any:
    """The classifier as an `onnx.ModelProto`.

    Args:
        classifier: what to write.
        contract: "tensor" or "picture".
        metadata: goes into the file.
        with_evidence: adds an output `evidence` (batch, rows, columns, num_classes), what each place adds to each class's logit
            (see `fieldguide.embedding.evidence`), where the network ends in a global average of maps.

    Raises:
        MissingExtraError: if `onnx` is not installed.
        BundleError: if the architecture is none that fieldguide builds.
    """
    onnx = needed("onnx", extra="onnx")
    network, (height, width) = classifier.bundle.network, classifier.image_size
    ops = OnnxOperations({**classifier.bundle.weights(), **answer_weights(classifier)})
    batch, sides = ("batch", (height, width)) if contract == TENSOR else (1, ("height", "width"))
    known = (None, height, width, 3) if contract == TENSOR else (1, None, None, 3)
    pixels = Value(INPUTS[contract], known)
    resized = pixels if contract == TENSOR else resize(ops, pixels, network.image_size)
    embedding = architecture(network.architecture)(ops, resized, **network.options)
    outputs = dict(answers(ops, embedding, classifier))
    if with_evidence and ops.averaged is not None and ops.averaged[1] == embedding:
        maps = ops.transpose(ops.averaged[0], (0, 2, 3, 1))  # (batch, rows, columns, channels)
        share = float(maps.shape[1] or 1) * float(maps.shape[2] or 1)
        head, temperature = classifier.bundle.head, classifier.certainty.temperature
        # Less the mean over the classes, which changes no probability; what belongs to no place is shared out evenly.
        kernel, bias = ((x - x.mean(axis=-1, keepdims=True)) / (temperature * share) for x in (head.kernel, head.bias))
        by_place = ops.matmul(maps, ops.constant(kernel.astype(np.float32)))
        outputs["evidence"] = ops.plus(by_place, bias.astype(np.float32)[None])
    for name, value in outputs.items():
        ops.rename(value, name)
    types = onnx.TensorProto
    described = [
        onnx.helper.make_tensor_value_info(
            name, types.BOOL if name == NONE_OF_THESE else types.FLOAT, (batch, *value.shape[1:])
        )
        for name, value in outputs.items()
    ]
    given = [onnx.helper.make_tensor_value_info(pixels.name, types.UINT8, (batch, *sides, 3))]
    graph = onnx.helper.make_graph(ops.nodes, "fieldguide", given, described, ops.initializers)
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="fieldguide",
        producer_version=metadata["fieldguide"],
    )
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    return model
