"""LiteRT in 8 bits: convolutions in int8, calibrated on training pictures; the head and the novelty stay float32.

Numbers of one tensor share one scale, so what follows a convolution and spreads its channels apart (a normalisation that
could not be folded into the kernel) stays float32 too, and so does the embedding: distances are measured in it.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.data import decoding
from fieldguide.errors import DatasetError, DecodeError
from fieldguide.exporting import litert
from fieldguide.exporting.extras import needed
from fieldguide.exporting.formats import TENSOR
from fieldguide.exporting.graph import INPUTS

FILES = litert.FILES
RUNTIME = litert.RUNTIME
NUM_CALIBRATED = 128
_LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D")  # wherever they are
_RESIDUAL_SUMS = r"/add(_\d+)*/"  # Keras's layer Add, not the sums inside a normalisation
_NETWORK = r"^(?!.*(head|novelty))"  # dense layers that are not the answer's


def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
    """Writes `model.tflite`, like `litert.write`.

    Raises:
        MissingExtraError: if `ai-edge-quantizer` is not installed.
        DatasetError: if there is no training picture to calibrate on.
        BundleError: if the architecture is none that fieldguide builds.
    """
    needed("ai_edge_quantizer", extra="litert")
    pictures = _calibrating(classifier, calibration)
    converted = litert.converted(classifier)
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
        # It draws bars of its own, prints what it saved, and calibrates in a mode that its interpreter advises against.
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        model = _quantized(converted, pictures)
    litert.write_model(directory / FILES[TENSOR], model, metadata)


def load(directory: Path, contract: str) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[Any]]]:
    """As `litert.load`."""
    return litert.load(directory, contract)


def _quantized(model: bytes, pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer

    weights = qtyping.TensorQuantizationConfig(num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE)
    in_integers = qtyping.OpQuantizationConfig(
        activation_tensor_config=qtyping.TensorQuantizationConfig(num_bits=8, symmetric=False),
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )
    # Weights of 8 bits, with inputs that are scaled picture by picture, and float32 out.
    in_floats = qtyping.OpQuantizationConfig(weight_tensor_config=weights, compute_precision=qtyping.ComputePrecision.INTEGER)
    kinds = qtyping.TFLOperationName
    work = quantizer.Quantizer(bytearray(model))
    for kind in _LAYERS:
        work.update_quantization_recipe(".*", kinds[kind], in_integers)
    work.update_quantization_recipe(_RESIDUAL_SUMS, kinds.ADD, in_integers)
    work.update_quantization_recipe(_NETWORK, kinds.FULLY_CONNECTED, in_floats)
    calibrated = work.calibrate({litert.SIGNATURE: [{INPUTS[TENSOR]: picture[None]} for picture in pictures]})
    return bytes(work.quantize(calibrated).quantized_model)


def _calibrating(classifier: Classifier, paths: Sequence[Path]) -> list[NDArray[np.uint8]]:
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(NUM_CALIBRATED, len(paths))).round().astype(int))
    preprocessing, found = classifier.bundle.preprocessing, []
    for i in chosen:
        with contextlib.suppress(DecodeError):
            content = decoding.read_file(paths[i])
            found.append(decoding.load(content, preprocessing.image_size, sixteen_bit_max=preprocessing.sixteen_bit_max))
    if not found:
        raise DatasetError(
            "8 bits are calibrated on pictures of the training part, and none can be read.\n"
            "hint: export the run folder, with its pictures where they were, or choose the format litert."
        )
    return found
