"""A page for any static host that computes in the browser: the server's page, an ONNX file and onnxruntime-web.

    index.html, page.css, *.js      the page, as `fieldguide serve` shows it
    model.onnx, about.json          the classifier, and what it says of itself
    ort*.mjs, ort*.wasm             onnxruntime-web
    offline.js                      keeps all of these for when there is no network

The parity check runs `model.onnx` by onnxruntime; that the page agrees too is tested in a browser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.exporting import onnx_file
from fieldguide.exporting.formats import TENSOR
from fieldguide.page import WEB_FILES, page_files, read, runtime_files
from fieldguide.storage import write_bytes, write_text

FILES = {TENSOR: onnx_file.FILES[TENSOR]}
RUNTIME = onnx_file.RUNTIME
LICENSE = "onnxruntime-web-license.txt"
# A static host sends no such header, so the page says it of itself: nothing is loaded from elsewhere, nothing can be sent.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'"
)
_BEFORE = b'<meta name="viewport"'


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes the page with the classifier.

    Raises:
        MissingExtraError: if `onnx` is not installed, or the files of onnxruntime-web are not there.
        BundleError: if the architecture is none that fieldguide builds.
    """
    runtime = runtime_files()
    files = {**page_files(predictor="predictor-web.js"), **{name: read(name) for name in WEB_FILES}, **runtime}
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'.encode()
    files["index.html"] = files["index.html"].replace(_BEFORE, policy + _BEFORE, 1)
    for name, content in files.items():
        write_bytes(directory / name, content)
    write_bytes(directory / LICENSE, read(LICENSE))
    model = onnx_file.build_model(classifier, TENSOR, metadata, with_evidence=True)
    write_bytes(directory / FILES[TENSOR], model.SerializeToString())
    write_text(directory / "about.json", json.dumps(metadata, ensure_ascii=False, indent=1))
    kept = ["./", *(name for name in files if name != "index.html"), FILES[TENSOR], "about.json"]
    constants = f"const MODEL = {json.dumps(metadata['model_hash'])}, FILES = {json.dumps(kept)};\n"
    write_bytes(directory / "offline.js", constants.encode() + read("offline.js"))


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """The page's `model.onnx` as a function: pictures -> outputs by name."""
    return onnx_file.load(directory, contract)
