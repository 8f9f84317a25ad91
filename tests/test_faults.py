"""Damage and mischance: caches, runs and records that are not what they were, two trainings at once, clocks that jump."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fieldguide
from fieldguide.data.cache import Cache
from fieldguide.data.index import index_folder
from fieldguide.data.scan import keep_pixels, scan
from fieldguide.errors import BundleError, DecodeError, EngineError, FieldguideError
from fieldguide.exporting.elsewhere import answers_of
from fieldguide.records import Preprocessing
from tests.fuzz_targets import BUNDLE

SIZE = Preprocessing((16, 16))


def zero_a_page(path: Path) -> None:
    """What a power cut leaves of a file whose data was not synced."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(len(content[middle : middle + 4096]))
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def lose(path: Path) -> None:
    path.unlink()


DAMAGES = [zero_a_page, cut, empty, lose]


# --- the cache


def scanned_pixels(folder: Path, directory: Path) -> tuple[bytes, int]:
    with Cache(directory) as cache:
        found = scan(index_folder(folder), SIZE, cache=cache, consumer=keep_pixels(SIZE))
        return found.values.tobytes(), found.num_decoded


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_costs_time_and_changes_nothing(tiny_folder: Path, tmp_path: Path, damage: Callable[[Path], None]):
    whole, decoded = scanned_pixels(tiny_folder, tmp_path / "cache")
    assert decoded == 78 and scanned_pixels(tiny_folder, tmp_path / "cache") == (whole, 0)
    damage(tmp_path / "cache" / "cache.sqlite")
    again, decoded = scanned_pixels(tiny_folder, tmp_path / "cache")
    assert again == whole
    # What could not be used was made again, and the cache serves once more.
    assert scanned_pixels(tiny_folder, tmp_path / "cache")[0] == whole


@pytest.mark.parametrize("keep", [("cache.sqlite",), ("cache.sqlite-wal",), ("cache.sqlite-wal", "cache.sqlite-shm")])
def test_a_cache_of_which_half_was_deleted(tiny_folder: Path, tmp_path: Path, keep: tuple[str, ...]):
    whole, _ = scanned_pixels(tiny_folder, tmp_path / "whole")
    cache = Cache(tmp_path / "cache")
    scan(index_folder(tiny_folder), SIZE, cache=cache, consumer=keep_pixels(SIZE))
    (tmp_path / "half").mkdir()
    for path in (tmp_path / "cache").iterdir():  # while it is open: its newest rows are in the -wal file
        if path.name in keep:
            shutil.copy(path, tmp_path / "half")
    cache.close()
    assert scanned_pixels(tiny_folder, tmp_path / "half")[0] == whole


def test_every_page_of_the_cache_may_be_lost(tiny_folder: Path, tmp_path: Path):
    whole, _ = scanned_pixels(tiny_folder, tmp_path / "cache")
    path = tmp_path / "cache" / "cache.sqlite"
    content = path.read_bytes()
    for start in range(0, len(content), 4096 * 5):
        directory = tmp_path / str(start)
        directory.mkdir()
        (directory / "cache.sqlite").write_bytes(content[:start] + bytes(4096) + content[start + 4096 :])
        assert scanned_pixels(tiny_folder, directory)[0] == whole, start


def test_a_cache_of_another_version_is_made_anew_and_said(tiny_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    whole, _ = scanned_pixels(tiny_folder, tmp_path / "cache")
    for version in (99, -1):
        connection = sqlite3.connect(tmp_path / "cache" / "cache.sqlite")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.close()
        assert scanned_pixels(tiny_folder, tmp_path / "cache") == (whole, 78)
        assert "is made anew" in caplog.text
        caplog.clear()
        assert scanned_pixels(tiny_folder, tmp_path / "cache") == (whole, 0)


def test_values_of_an_older_decoder_are_not_taken(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scanned_pixels(tiny_folder, tmp_path / "cache")
    monkeypatch.setattr("fieldguide.data.scan.DECODER_VERSION", 999)
    assert scanned_pixels(tiny_folder, tmp_path / "cache")[1] == 78


def test_a_cache_whose_rows_lie_is_not_believed(tiny_folder: Path, tmp_path: Path):
    whole, _ = scanned_pixels(tiny_folder, tmp_path / "cache")
    with contextlib.closing(sqlite3.connect(tmp_path / "cache" / "cache.sqlite")) as connection, connection:
        connection.execute("UPDATE entries SET value = zeroblob(length(value))")
    assert scanned_pixels(tiny_folder, tmp_path / "cache") == (whole, 78)


def test_two_scans_of_one_folder_share_a_cache(tiny_folder: Path, tmp_path: Path):
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(scanned_pixels(tiny_folder, tmp_path / "cache")[0])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1
    assert scanned_pixels(tiny_folder, tmp_path / "cache") == (found[0], 0)


@pytest.mark.slow
def test_two_trainings_at_once_on_one_cache_give_what_one_gives(tiny_folder: Path, tmp_path: Path):
    code = "import sys, fieldguide; fieldguide.train(sys.argv[1], out=sys.argv[2], recipe='transfer', progress=False)"
    commands = [[sys.executable, "-W", "error", "-c", code, str(tiny_folder), str(tmp_path / name)] for name in "ab"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in processes:
        assert process.communicate(timeout=280)[1] == "" and process.returncode == 0
    for name in ("network.bin", "head.safetensors", "novelty.safetensors"):
        assert len({(tmp_path / run / "bundle" / name).read_bytes() for run in "ab"}) == 1


# --- clocks and disks


@pytest.mark.parametrize("days", [-4000, 4000])
def test_a_clock_that_jumps_changes_nothing(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int):
    whole, _ = scanned_pixels(tiny_folder, tmp_path / "cache")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + days * 86400)
    assert scanned_pixels(tiny_folder, tmp_path / "cache") == (whole, 0)


def test_a_mount_that_vanishes_is_an_error_that_names_it(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    index = index_folder(tiny_folder)
    tiny_folder.rename(tmp_path / "elsewhere")
    with (
        Cache(tmp_path / "cache") as cache,
        pytest.raises(FieldguideError, match=r"None of the 78 files in .*dataset") as caught,
    ):
        scan(index, SIZE, cache=cache)
    assert "cannot be read" in str(caught.value)


def test_a_picture_for_which_there_is_no_memory_is_left_out_today_and_read_tomorrow(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = fieldguide.data.scan.decode
    count = iter(range(1000))

    def decode(*args: Any, **options: Any) -> Any:
        if next(count) == 5:
            raise DecodeError("no_memory", "there is not enough memory to decode it")
        return original(*args, **options)

    with monkeypatch.context() as patch, Cache(tmp_path / "cache") as cache:
        patch.setattr("fieldguide.data.scan.decode", decode)
        found = scan(index_folder(tiny_folder), SIZE, cache=cache)
        assert [skipped.reason for skipped in found.skipped] == ["no_memory"]
    with Cache(tmp_path / "cache") as cache:
        assert scan(index_folder(tiny_folder), SIZE, cache=cache).skipped == ()


def test_a_process_that_the_system_ends_for_want_of_memory_is_an_error_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    killed = subprocess.CompletedProcess([], -9, "", "")
    monkeypatch.setattr("fieldguide.exporting.elsewhere.subprocess.run", lambda *args, **options: killed)
    with pytest.raises(EngineError, match=r"ended by signal 9, as the system does where memory runs out.*\nhint:"):
        answers_of(tmp_path, "onnx_file", [], preprocessing=SIZE)


# --- runs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BUNDLE.parent, tmp_path / "run"))


FILES = ["run.json", "split.json", "audit.json", "evaluation/test.json", "evaluation/test.safetensors", "bundle/manifest.json",
         "bundle/head.safetensors", "bundle/network.bin", "bundle/network.xml", "bundle/novelty.safetensors"]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_of_a_run_is_named_and_nothing_else_is_raised(run: Path, name: str, damage: Callable[[Path], None]):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    damage(run / name)
    damaged = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    errors = []
    is_of_bundle = name.startswith("bundle/")
    for verb in (fieldguide.verify,) if is_of_bundle else (fieldguide.evaluate, fieldguide.report):
        try:
            verb(run)
        except BundleError as error:
            errors.append(str(error))
    if name != "split.json":  # which none of them reads
        assert errors and any(Path(name).name in error or "holds no evaluation" in error for error in errors), errors
    assert {path for path in before if path not in damaged} <= {run / name}


@pytest.mark.parametrize("name", ["run.json", "audit.json", "evaluation/test.json"])
@pytest.mark.parametrize("text", ["{}", '{"format_version": 1}', '{"format_version": 1, "findings": 3}', "[1, 2]", "null"])
def test_records_that_are_json_and_no_records_are_named(run: Path, name: str, text: str):
    (run / name).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=Path(name).name):
        fieldguide.evaluate(run)
        fieldguide.report(run)


def test_a_bundle_that_was_damaged_is_found_when_it_is_loaded_and_verified(run: Path):
    zero_a_page(run / "bundle" / "weights.safetensors")
    with pytest.raises(BundleError, match="SHA-256 differs"):
        fieldguide.verify(run)
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["recipe"] == "classic"
