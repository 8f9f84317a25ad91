"""SavedModel: for TensorFlow, TensorFlow Serving and converters. Both contracts are signatures of one model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.exporting.graph import INPUTS
from fieldguide.exporting.keras_graph import as_arrays, build_models
from fieldguide.storage import write_text
from fieldguide.training import import_tensorflow

FILES = {TENSOR: "saved_model", PICTURE: "saved_model"}
RUNTIME = "tensorflow"
SIGNATURES = {TENSOR: "serving_default", PICTURE: "picture"}


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes one SavedModel with a signature for each contract.

    Raises:
        BundleError: if the architecture is none that fieldguide builds.
    """
    import_tensorflow()
    import keras
    import tensorflow as tf

    models = build_models(classifier)
    archive = keras.export.ExportArchive()
    archive.track(models[PICTURE])
    shapes = {TENSOR: (None, *classifier.image_size, 3), PICTURE: (1, None, None, 3)}
    for contract, model in models.items():
        given = tf.TensorSpec(shapes[contract], tf.uint8, name=INPUTS[contract])
        archive.add_endpoint(SIGNATURES[contract], _endpoint(model), input_signature=[given])
    archive.write_out(directory / FILES[TENSOR], verbose=False)
    write_text(directory / FILES[TENSOR] / "assets.extra" / "fieldguide.json", json.dumps(metadata, indent=1))


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The signature of a contract as a function: pictures -> outputs by name."""
    import_tensorflow()
    import tensorflow as tf

    model = tf.saved_model.load(str(directory / FILES[contract]))
    signature = model.signatures[SIGNATURES[contract]]
    # The signature lives as long as its model, so the function keeps both.
    return lambda pixels, _model=model: as_arrays(signature(**{INPUTS[contract]: tf.constant(pixels)}))  # type: ignore[misc]


def _endpoint(model: Any) -> Callable[[Any], Any]:
    return lambda pixels: model(pixels, training=False)
