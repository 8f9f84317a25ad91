"""LiteRT (once TensorFlow Lite): for phones and small machines. One picture at a time, resized already."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.exporting.extras import needed
from fieldguide.exporting.formats import TENSOR
from fieldguide.exporting.graph import INPUTS
from fieldguide.exporting.keras_graph import as_arrays, build_tensor_model
from fieldguide.page import read
from fieldguide.storage import write_bytes
from fieldguide.training import import_tensorflow

FILES = {TENSOR: "model.tflite"}
RUNTIME = "ai-edge-litert"
SIGNATURE = "serving_default"


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes `model.tflite`: pixels (1, *image_size, 3) -> the answers by name, in its signature `serving_default`.

    Raises:
        BundleError: if the architecture is none that fieldguide builds.
    """
    write_model(directory / FILES[TENSOR], converted(classifier), metadata)


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The file as a function: one picture -> outputs by name."""
    interpreter = needed("ai_edge_litert.interpreter", extra="litert").Interpreter(
        model_path=str(directory / FILES[contract]), num_threads=os.cpu_count()
    )
    runner = interpreter.get_signature_runner(SIGNATURE)
    return lambda pixels: as_arrays(runner(**{INPUTS[contract]: pixels}))


def converted(classifier: Classifier) -> bytes:
    """The classifier in LiteRT's format, in float32.

    A batch of one: sizes that are not known stop the accelerators of phones.
    """
    import_tensorflow()
    import keras
    import tensorflow as tf

    model = build_tensor_model(classifier, batch_size=1)
    given = tf.TensorSpec((1, *classifier.image_size, 3), tf.uint8, name=INPUTS[TENSOR])
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(SIGNATURE, lambda pixels: model(pixels, training=False), input_signature=[given])
    with tempfile.TemporaryDirectory(prefix="fieldguide-litert-") as folder:
        archive.write_out(folder, verbose=False)
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=[SIGNATURE]).convert())


def write_model(path: Path, model: bytes, metadata: Mapping[str, Any]) -> None:
    """Writes a model with `labels.txt` and `fieldguide.json` behind it, as a zip that any program opens, and the resize."""
    write_bytes(path, model)
    # Pictures have to be resized before they come here.
    here = resources.files("fieldguide.exporting")
    write_bytes(path.with_name("resize.py"), here.joinpath("resize_reference.py").read_bytes())
    write_bytes(path.with_name("resize.kt"), here.joinpath("resize.kt").read_bytes())
    write_bytes(path.with_name("resize.js"), read("resize.js"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "".join(f"{name}\n" for name in metadata["class_names"]))
        archive.writestr("fieldguide.json", json.dumps(metadata, indent=1))
