"""Keras: a `.keras` file that `keras.models.load_model` opens, with no class of ours and no code in it."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.exporting.keras_graph import as_arrays, build_models
from fieldguide.training import import_tensorflow

FILES = {TENSOR: "model.keras", PICTURE: "model-picture.keras"}
RUNTIME = "keras"


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes a file for each contract.

    Raises:
        BundleError: if the architecture is none that fieldguide builds.
    """
    import_tensorflow()
    models = build_models(classifier)
    for contract, name in FILES.items():
        models[contract].save(directory / name)
        with zipfile.ZipFile(directory / name, "a") as archive:  # Keras reads the entries it knows
            archive.writestr("fieldguide.json", json.dumps(metadata, indent=1))


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The file of a contract as a function: pictures -> outputs by name."""
    import_tensorflow()
    import keras

    model = keras.models.load_model(directory / FILES[contract], compile=False)
    return lambda pixels: as_arrays(model.predict_on_batch(pixels))
