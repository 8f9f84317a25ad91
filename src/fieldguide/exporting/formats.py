"""The formats by name, and what the parity check and the timing know of one.

Two contracts. *Tensor*: RGB uint8 (batch, *image_size, 3), resized already. *Picture*: one RGB uint8 picture of any height
and width, (1, height, width, 3), which the graph resizes as Pillow does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fieldguide.errors import RecipeError

if TYPE_CHECKING:  # the command line lists the formats, and should not wait for NumPy
    import numpy as np
    from numpy.typing import NDArray

    from fieldguide.classifier import Classifier

TENSOR, PICTURE = "tensor", "picture"
CONTRACTS = (TENSOR, PICTURE)


class FormatModule(Protocol):
    """A module that writes one format, and reads it by its own runtime."""

    RUNTIME: str  # the distribution that runs it
    FILES: dict[str, str]  # contract -> what it needs, below the folder of the export

    def write(self, classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
        """Writes the files of the format into an empty folder.

        Args:
            classifier: what to export.
            directory: an empty folder.
            metadata: goes into the file, where the format has a place for it.
            calibration: training pictures, for formats that are calibrated.

        Raises:
            MissingExtraError: if an optional part is not installed.
            BundleError: if the classifier's network cannot be written in this format.
        """
        ...

    def load(self, directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
        """What `write` wrote, as a function: uint8 pictures (batch, height, width, 3) -> outputs by name."""
        ...


@dataclass(frozen=True)
class Format:
    """A format, as the user chooses it."""

    summary: str
    module: str
    contracts: tuple[str, ...] = CONTRACTS
    is_quantized: bool = False  # in 8 bits: other bounds, more pictures, and its novelty is measured again
    builds_anew: bool = True  # from an architecture that fieldguide knows; else from the bundle's own network file
    most_at_once: int | None = None  # pictures in a batch; None: any number
    is_timed: bool = True  # a page around another format's file is not

    def load_module(self) -> FormatModule:
        """The module, imported now."""
        module: Any = importlib.import_module(f"fieldguide.exporting.{self.module}")
        return module  # type: ignore[no-any-return]


FORMATS = {
    "onnx": Format("ONNX Runtime: servers, desktops, phones, browsers", "onnx_file"),
    "openvino": Format("OpenVINO on Intel and ARM processors", "openvino_file", builds_anew=False),
    "keras": Format("Keras: to go on with in Python", "keras_file"),
    "saved_model": Format("TensorFlow and TensorFlow Serving", "saved_model"),
    "litert": Format("LiteRT (TensorFlow Lite): phones, small machines", "litert", (TENSOR,), most_at_once=1),
    "web": Format("a page that computes in the browser, for any static host", "web", (TENSOR,), is_timed=False),
    "litert-int8": Format("LiteRT in 8 bits, smaller and faster", "litert_int8", (TENSOR,), is_quantized=True, most_at_once=1),
}


def format_named(name: str) -> Format:
    """The format of that name.

    Raises:
        RecipeError: if there is none.
    """
    if name not in FORMATS:
        raise RecipeError(f"There is no format {name!r}.\nhint: choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def runtime_version(module: FormatModule) -> str:
    """The runtime's name and version, as `onnxruntime 1.32.0`."""
    return f"{module.RUNTIME} {version(module.RUNTIME)}"
