"""The bundle as `predict` runs it, in the shape of a format: what the exported files are timed beside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import load as load_classifier
from fieldguide.exporting.graph import PROBABILITIES

RUNTIME = "openvino"


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The run or bundle in a folder as a function: pictures -> probabilities, at the precision of `--precision auto`."""
    classifier = load_classifier(directory)
    engines = {is_one: classifier.engine(latency=is_one) for is_one in (True, False)}

    def run(pixels: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
        return {PROBABILITIES: classifier.bundle.probabilities(engines[len(pixels) == 1].embed(pixels))}

    return run
