"""A bundle from a stranger: nothing in it runs, leaves its folder, or takes more room than it may."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import fieldguide
from fieldguide.bundle import read_bundle
from fieldguide.classifier import NONE_OF_THESE, copy_into_class_folder
from fieldguide.embedding.engine import openvino_module, save_network
from fieldguide.errors import BundleError
from fieldguide.records import Prediction
from fieldguide.storage import sha256_file
from tests.broken_files import saved
from tests.fuzz_targets import BUNDLE


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))


def change_manifest(bundle: Path, **changes: Any) -> None:
    values = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    (bundle / "manifest.json").write_text(json.dumps({**values, **changes}), encoding="utf-8")


def sign(bundle: Path, *names: str) -> None:
    """Writes the right hashes of files that were changed: whoever sends a bundle can do so."""
    hashes = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["hashes"]
    change_manifest(bundle, hashes={**hashes, **{name: sha256_file(bundle / name) for name in names}})


def answer(source: Path) -> Prediction:
    return fieldguide.load(source).predict(saved("PNG"))


def write_zip(path: Path, members: list[tuple[zipfile.ZipInfo | str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def members_of(bundle: Path, folder: str = "") -> list[tuple[zipfile.ZipInfo | str, bytes]]:
    return [(f"{folder}{path.name}", path.read_bytes()) for path in sorted(bundle.iterdir())]


def temporary_folders() -> set[str]:
    return {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("fieldguide-bundle-")}


@pytest.mark.parametrize("folder", ["../../../", "/etc/", "a/../../b/"])
def test_names_in_a_zip_are_no_paths(bundle: Path, tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch):
    inside = tmp_path / "temporary"
    inside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(inside))
    before = sorted(tmp_path.rglob("*"))
    zipped = write_zip(tmp_path / "b.zip", members_of(bundle, folder))
    read_bundle(zipped)
    made = [path for path in sorted(tmp_path.rglob("*")) if path not in before and path != zipped]
    assert all(inside in path.parents for path in made)


def test_a_zip_that_is_refused_leaves_nothing_behind(bundle: Path, tmp_path: Path):
    before = temporary_folders()
    (bundle / "head.safetensors").write_bytes(b"something else")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        read_bundle(write_zip(tmp_path / "b.zip", members_of(bundle)))
    assert temporary_folders() == before


def test_a_zip_bomb_is_refused_before_it_is_unpacked(bundle: Path, tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members_of(bundle):
            if name != "manifest.json":
                archive.writestr(name, content)
        with archive.open("manifest.json", "w") as file:
            for _ in range(20):
                file.write(bytes(1_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(BundleError, match=r"manifest\.json in .* has 20,000,000 bytes; at most 16,000,000"):
        read_bundle(path)


def test_a_zip_that_lies_about_a_size_is_refused(bundle: Path, tmp_path: Path):
    """The directory says ten bytes; the data unfold to a million."""
    path = write_zip(tmp_path / "b.zip", [*members_of(bundle), ("other", b"")])
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("head.safetensors").file_size
    content = path.read_bytes()
    at = content.rindex(b"head.safetensors") - 46 + 24  # of the directory's entry: the unpacked size
    assert struct.unpack("<I", content[at : at + 4]) == (size,)
    path.write_bytes(content[:at] + struct.pack("<I", 10) + content[at + 4 :])
    with pytest.raises(BundleError):
        read_bundle(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(bundle: Path, tmp_path: Path):
    members = [*members_of(bundle), ("head.safetensors", b"another one")]
    with pytest.raises(BundleError, match=r"holds head\.safetensors twice"):
        read_bundle(write_zip(tmp_path / "b.zip", members))


def test_a_link_in_a_zip_is_no_link_when_unpacked(bundle: Path, tmp_path: Path):
    link = zipfile.ZipInfo("head.safetensors")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    members = [member for member in members_of(bundle) if member[0] != "head.safetensors"]
    with pytest.raises(BundleError, match="SHA-256 differs"):
        read_bundle(write_zip(tmp_path / "b.zip", [*members, (link, b"/etc/passwd")]))


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" + bytes(50)])
def test_what_is_hardly_a_zip_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "b.zip")


@pytest.mark.skipif(os.name != "posix", reason="links need a privilege there")
def test_a_link_out_of_the_folder_is_refused(bundle: Path, tmp_path: Path):
    (bundle / "head.safetensors").rename(tmp_path / "head.safetensors")
    (bundle / "head.safetensors").symlink_to(tmp_path / "head.safetensors")
    with pytest.raises(BundleError, match=r"link out of the bundle.*\nhint:"):
        read_bundle(bundle)


@pytest.mark.skipif(os.name != "posix", reason="it would take the room")
@pytest.mark.parametrize("name", ["manifest.json", "head.safetensors", "network.bin"])
def test_a_file_that_is_too_large_is_refused_before_it_is_read(bundle: Path, name: str):
    with (bundle / name).open("r+b") as file:
        file.truncate(2_100_000_000)  # sparse: it takes no room
    with pytest.raises(BundleError, match="has more than"):
        read_bundle(bundle)


def tensors_that_declare(shape: list[int], offsets: list[int], data: bytes = b"") -> bytes:
    header = json.dumps({"kernel": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}).encode()
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize(
    "content",
    [
        tensors_that_declare([2**31, 2**31], [0, 2**62]),
        tensors_that_declare([2**20, 2**20], [0, 16], bytes(16)),
        tensors_that_declare([0, 2**63 - 1], [0, 0]),
        tensors_that_declare([-1, 4], [0, 16], bytes(16)),
        tensors_that_declare([4], [8, 24], bytes(24)),
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 10**8) + b"{}",
        b"",
    ],
)
def test_declared_shapes_are_held_against_the_size_of_the_file(bundle: Path, content: bytes):
    (bundle / "head.safetensors").write_bytes(content)
    sign(bundle, "head.safetensors")
    with pytest.raises(BundleError, match=r"head\.safetensors is damaged"):
        read_bundle(bundle)


def test_numbers_that_are_no_numbers_are_refused(bundle: Path):
    head = load_file(bundle / "head.safetensors")
    save_file({**head, "bias": np.full_like(head["bias"], np.nan)}, bundle / "head.safetensors")
    sign(bundle, "head.safetensors")
    with pytest.raises(BundleError, match="not finite"):
        read_bundle(bundle)
    save_file({**head, "kernel": np.full_like(head["kernel"], 3e38)}, bundle / "head.safetensors")
    sign(bundle, "head.safetensors")
    with pytest.raises(BundleError, match="infinite numbers"):
        answer(bundle)


@pytest.mark.parametrize(
    "names", [["a", "a", "b"], ["a", "b", ""], ["a", "b", 3], ["a", "b", "\ud800"], [], ["a", "b"], {"a": 1}, None]
)
def test_classes_need_names_of_their_own(bundle: Path, names: Any):
    change_manifest(bundle, class_names=names)
    with pytest.raises(BundleError, match="is damaged"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": [100_000, 100_000]},
        {"image_size": [16, 0]},
        {"image_size": [16]},
        {"image_size": [16.0, 16.0]},
        {"image_size": [32, 32]},  # the network takes 16
        {"resize": "nearest"},
        {"sixteen_bit_max": -1},
        {"sixteen_bit_max": "white"},
    ],
)
def test_preprocessing_that_cannot_be_is_refused(bundle: Path, changes: dict[str, Any]):
    values = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    change_manifest(bundle, preprocessing={**values["preprocessing"], **changes})
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        read_bundle(bundle)


def test_sizes_that_agree_among_themselves_are_held_against_the_network(bundle: Path):
    values = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    change_manifest(
        bundle,
        preprocessing={**values["preprocessing"], "image_size": [32, 32]},
        network={**values["network"], "image_size": [32, 32]},
    )
    with pytest.raises(BundleError, match=r"takes pictures of \(16, 16\)"):
        answer(bundle)


def test_an_architecture_that_asks_for_more_than_its_weights_is_refused_before_keras_makes_room(bundle: Path):
    values = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    options = {**values["network"]["options"], "filters": [10**9]}
    change_manifest(bundle, network={**values["network"], "options": options})
    with pytest.raises(BundleError, match="should have shape"):
        fieldguide.load(bundle).to_keras()


def looped(opset: Any, x: Any) -> Any:
    body_x = opset.parameter([1, 8], np.float32)
    again = opset.constant(np.array(True))
    import openvino

    body = openvino.Model([opset.result(opset.relu(body_x)), opset.result(again)], [body_x], "body")
    loop = opset.loop(opset.constant(np.array(2**31 - 1)), opset.constant(np.array(True)))
    loop.set_function(body)
    loop.set_merged_input(body_x, x.output(0), body.get_results()[0].output(0))
    loop.set_special_body_ports([-1, 1])
    return loop.get_iter_value(body.get_results()[0].output(0), -1)


def chosen_by_chance(opset: Any, x: Any) -> Any:
    noise = opset.random_uniform(np.array([1, 8]), np.array(0.0, np.float32), np.array(1.0, np.float32), "f32")
    return opset.add(x, noise)


def spread_out(opset: Any, x: Any) -> Any:
    """Forty kilobytes of network that ask for 4 GB."""
    wide = opset.matmul(x, np.zeros((8, 50), np.float32), False, False)
    column, row = opset.unsqueeze(wide, np.array([2])), opset.unsqueeze(wide, np.array([1]))
    square = opset.matmul(column, row, False, False)  # (?, 50, 50)
    cells = opset.reshape(square, np.array([0, 2500, 1, 1]), special_zero=True)
    others = opset.reshape(square, np.array([0, 1, 2500, 1]), special_zero=True)
    huge = opset.multiply(opset.multiply(cells, others), opset.reshape(wide, np.array([0, 1, 1, 50]), special_zero=True))
    return opset.reduce_mean(huge, np.array([2, 3]), keep_dims=False)


@pytest.mark.parametrize("operation", [looped, chosen_by_chance, spread_out])
def test_networks_do_not_loop_remember_or_fill_the_memory(bundle: Path, operation: Callable[[Any, Any], Any]):
    openvino = openvino_module()
    opset = openvino.opset13
    pixels = opset.parameter([-1, 16, 16, 3], np.uint8)
    numbers = opset.reduce_mean(opset.convert(pixels, np.float32), np.array([1, 2]), keep_dims=False)
    eight = opset.matmul(numbers, np.ones((3, 8), np.float32), False, False)
    model = openvino.Model([opset.result(operation(opset, eight))], [pixels], "classic")
    save_network(model, bundle / "network.xml")
    sign(bundle, "network.xml", "network.bin")
    with pytest.raises(BundleError, match=r"operation '(Loop|RandomUniform)'|at most 268,435,456 numbers"):
        answer(bundle)


@pytest.mark.parametrize(
    "content", [b"", b"\x08\x01" * 40, b"node { name: 'x' op: 'Const' }", b"<net>", b"<?xml version='1.0'?>"]
)
def test_a_network_of_another_framework_is_not_even_tried(bundle: Path, content: bytes, capfd: pytest.CaptureFixture[str]):
    (bundle / "network.xml").write_bytes(content)
    sign(bundle, "network.xml")
    with pytest.raises(BundleError, match="not a network as OpenVINO writes it"):
        answer(bundle)
    assert "tensorflow" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["../../outside", "/etc/cron.d", "..", ".", " ", "a\\..\\b", "C:evil", "a\nb", "nul\x00"])
def test_pictures_are_sorted_into_one_folder_below_whatever_a_class_is_called(tmp_path: Path, name: str):
    picture = tmp_path / "p.png"
    picture.write_bytes(saved("PNG"))
    target = tmp_path / "deep" / "down" / "sorted"
    copied = copy_into_class_folder(Prediction(str(picture), name, name, 1.0), target)
    assert copied.resolve().parent.parent == target.resolve() and copied.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "p.png"]
    strange = copy_into_class_folder(Prediction(str(picture), None, name, 1.0), target)
    assert strange.parent.name == NONE_OF_THESE
