"""Folders in the wild: every file is used or left out with its reason, whatever it is, in a bounded memory."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldguide
from fieldguide.bundle import read_tensors
from fieldguide.data.cache import Cache
from fieldguide.data.decoding import MAX_DECODED_PIXELS, decode, read_file
from fieldguide.data.index import index_folder
from fieldguide.data.parallel import BYTES_PER_WORKER
from fieldguide.data.scan import Scan, keep_pixels, scan, thumbnails
from fieldguide.errors import DatasetError, DecodeError
from fieldguide.records import Preprocessing, Skipped
from fieldguide.workflow.provenance import Stages
from tests.broken_files import saved
from tests.conftest import HUES, cli, noisy_picture
from tests.corpus import cases, uploads, write_corpus
from tests.corpus_files import NOT_READ, Case

COVER = (64, 64)
TOLERANCE = 6  # grey levels, of the mean color: lossy formats


def what_is_wrong(case: Case) -> str | None:
    """With what the decoder makes of a case; None where it is as expected."""
    assert case.content is not None
    try:
        decoded = decode(case.content, cover=COVER)
    except DecodeError as error:
        return None if error.reason in case.reasons else f"left out as {error.reason}: {error}"
    if case.reasons and not case.may_be_used:
        return "used"
    if case.size is not None and decoded.size != case.size:
        return f"size {decoded.size}"
    if case.color is not None:
        color = [float(decoded.pixels[..., channel].mean()) for channel in range(3)]
        if np.abs(np.subtract(color, case.color)).max() > TOLERANCE:
            return f"color {color}"
    return None


def test_there_are_many_kinds_of_files():
    counts = Counter(bool(case.reasons) for case in cases())
    assert counts[True] > 100 and counts[False] > 120


def test_the_decoder_makes_of_every_file_what_is_expected():
    wrong = {str(case): wrong for case in uploads() if (wrong := what_is_wrong(case)) is not None}
    assert wrong == {}


def name_of(skipped: Skipped) -> str:
    return skipped.path.rsplit("/", 1)[-1]


def test_every_file_of_a_folder_is_used_or_left_out_with_its_reason(tmp_path: Path):
    written = write_corpus(tmp_path / "wild" / "red")
    (tmp_path / "wild" / "blue").mkdir()
    noisy_picture(HUES["blue"], 0).save(tmp_path / "wild" / "blue" / "0.jpg")
    preprocessing = Preprocessing((32, 32))
    with Cache(tmp_path / "cache") as cache:
        for consumer in (None, keep_pixels(preprocessing), keep_pixels(preprocessing)):  # the third time from the cache
            index = index_folder(tmp_path / "wild")
            scanned = scan(index, preprocessing, cache=cache, consumer=consumer)
            used = {image.path.removeprefix("red/") for image in scanned.images if image.path.startswith("red/")}
            left_out = {name_of(skipped): skipped.reason for skipped in scanned.skipped}
            wrong = {}
            for case in written:
                name = case.name.encode("utf-8", "backslashreplace").decode()
                if case.is_passed_over:
                    is_right = name not in used and name not in left_out
                elif name in left_out:
                    is_right = left_out[name] in case.reasons and name not in used
                else:
                    is_right = name in used and (case.may_be_used or not case.reasons)
                if not is_right:
                    wrong[str(case)] = left_out.get(name, "used" if name in used else "nowhere")
            assert wrong == {}
            assert len(used) + len(left_out) == sum(not case.is_passed_over for case in written)


WORK = """
import json, sys
from pathlib import Path
import fieldguide
def peak():
    lines = open("/proc/self/status") if Path("/proc/self/status").exists() else ()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
folder, out, kinds = *sys.argv[1:], sys.stdin.read().split()
run = fieldguide.train(folder, out=out, recipe="transfer", progress=False)
audit = fieldguide.audit(folder, progress=False)
predictions = [vars(p) for p in fieldguide.predict(out, Path(folder) / "red")]
split = json.loads(Path(out, "split.json").read_text(encoding="utf-8"))
print(json.dumps({
    "accuracy": run.scores["test"]["accuracy"], "peak": peak(),
    "used": [image["path"] for image in split["images"]],
    "left out": {path: f.kind for f in audit.findings if f.kind in kinds for path in f.paths},
    "audited": audit.num_images,
    "predicted": {p["path"]: p["error"] for p in predictions},
}))
"""


@pytest.mark.timeout(850)
@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_folder_of_which_30_percent_is_broken_trains_predicts_and_is_audited(
    make_folder: Callable[..., Path], tmp_path: Path, step: int
):
    chosen = cases()[::step]
    count = round(len(chosen) * 7 / 9)  # of each color: all three together are 70 % of the files
    folder = make_folder(dict.fromkeys(HUES, count), root=tmp_path / "wild")
    written = write_corpus(folder / "red", chosen)
    command = [sys.executable, "-W", "error", "-c", WORK, str(folder), str(tmp_path / "run")]
    kinds = " ".join({reason for case in cases() for reason in case.reasons})
    done = subprocess.run(command, input=kinds, capture_output=True, encoding="utf-8", timeout=800)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)

    known = [case for case in written if not case.is_passed_over]
    used = {path for path in answer["used"] if Path(path).name in {case.name for case in known}}
    assert len(answer["used"]) - len(used) == 3 * count  # every good picture
    assert len(used) + len(answer["left out"]) == len(known)  # found = used + left out with a reason
    assert not used & set(answer["left out"]) and answer["audited"] == len(answer["used"])
    assert answer["accuracy"] > 0.8
    predicted = {path: error for path, error in answer["predicted"].items() if Path(path).name in {c.name for c in known}}
    pictures = [case for case in known if case.reasons != NOT_READ]
    strangely_named = {case.name for case in pictures if "UTF-8" in case.what}  # no report can name it, but it can be read
    assert len(predicted) == len(pictures)
    for case in pictures:
        error = predicted[str(folder / "red" / case.name)]
        assert case.may_be_used or (error is not None) == bool(case.reasons and case.name not in strangely_named), (
            str(case),
            error,
        )
    assert answer["peak"] < 1_000_000_000 + 2 * BYTES_PER_WORKER  # the engine, and two pictures at once


def peak_bytes_of(code: str) -> int:
    """The most memory that a new process holds while it runs some code, above what it held before."""
    script = f"""
import sys
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
from fieldguide.data.decoding import MAX_DECODED_PIXELS, decode, read_file
from fieldguide.errors import DecodeError
from tests.broken_files import flat_png
{code}
def decoded():
    try:
        return decode(content, cover=(224, 224)).format
    except DecodeError as error:
        return error.reason
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins anew
before = peak()
print(decoded(), peak() - before)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=200)
    return int(answer.stdout.split()[-1])


only_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for the peak")


@only_linux
def test_a_picture_that_is_too_large_is_refused_before_it_takes_memory():
    assert peak_bytes_of("content = flat_png(8, 1, 2, 3, 4, size=(9000, 9000))") < 20_000_000


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize("pixel", ["8, 1, 2, 3", "8, 1, 2, 3, 4", "16, 30000", "16, 1, 2, 3", "1, 1"])
def test_the_largest_picture_that_is_decoded_takes_16_bytes_a_pixel_at_most(pixel: str):
    assert peak_bytes_of(f"content = flat_png({pixel}, size=(6300, 6300))") < 16 * MAX_DECODED_PIXELS


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize("settings", ["lossless=True, method=0", "quality=80, method=0"])
def test_the_largest_webp_picture_takes_no_more_than_a_decoder_is_given(settings: str):
    made = f"""
import io
import numpy as np
from PIL import Image
file = io.BytesIO()
pixels = np.random.default_rng(0).integers(0, 256, (400, 630, 3), np.uint8)
Image.fromarray(pixels).resize((6300, 6300)).save(file, "WEBP", {settings})
content = file.getvalue()
del pixels, file
"""
    assert 8 * MAX_DECODED_PIXELS < peak_bytes_of(made) < BYTES_PER_WORKER


def test_a_picture_that_vanishes_before_it_is_read_is_left_out(tiny_folder: Path, tmp_path: Path):
    index = index_folder(tiny_folder)
    (tiny_folder / "training_set" / "red" / "003.jpg").unlink()
    with Cache(tmp_path / "cache") as cache:
        scanned = scan(index, Preprocessing((16, 16)), cache=cache)
    assert [(s.path, s.reason) for s in scanned.skipped] == [("training_set/red/003.jpg", "unreadable")]


def test_pictures_that_change_or_vanish_during_a_run_do_not_stop_it(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    original = Stages.time

    def time(self: Stages, name: str) -> contextlib.AbstractContextManager[None]:
        if name == "train":
            for color in HUES:  # the first of each class is what the probe is made of
                (tiny_folder / "training_set" / color / "000.jpg").unlink()
            (tiny_folder / "test_set" / "red" / "000.jpg").unlink()
            (tiny_folder / "test_set" / "blue" / "001.jpg").write_bytes(b"something else")
            monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path / "new cache"))
        return original(self, name)

    monkeypatch.setattr(Stages, "time", time)
    monkeypatch.setattr("fieldguide.workflow.paging.thumbnails", without_cache)
    run = fieldguide.train(tiny_folder, out=tmp_path / "run", progress=False)
    assert run.scores["test"]["num_images"] == 18
    assert any("2 of the pictures" in note and "changed or vanished" in note for note in run.notes)
    assert fieldguide.verify(run.directory) < 1e-3
    assert len(read_tensors(tmp_path / "run" / "bundle" / "probe.safetensors")["pixels"]) == 4


def without_cache(root: Path, scanned: Scan, positions: Sequence[int], preprocessing: Preprocessing, cache: Cache):
    with Cache(root.parent / "empty cache") as empty:
        return thumbnails(root, scanned, positions, preprocessing, empty)


@pytest.mark.slow
def test_a_run_without_any_training_picture_left_says_so(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    original = Stages.time

    def time(self: Stages, name: str) -> contextlib.AbstractContextManager[None]:
        if name == "train":
            shutil.rmtree(tiny_folder / "training_set")
        return original(self, name)

    monkeypatch.setattr(Stages, "time", time)
    with pytest.raises(DatasetError, match=r"changed or vanished.*\nhint:"):
        fieldguide.train(tiny_folder, out=tmp_path / "run", progress=False)


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Simulates a folder that may not be read: root, who runs some tests, may read everything."""
    original = os.scandir

    def scandir(path: Any = ".") -> Any:
        if os.fspath(path) == str(folder):
            raise PermissionError(13, "Permission denied", str(folder))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_subfolder_that_cannot_be_read_is_said(
    make_folder: Callable[..., Path], run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    folder = make_folder({"red": 2, "red/inner": 2, "blue": 2})
    forbid(monkeypatch, folder / "red" / "inner")
    skipped = index_folder(folder).skipped
    assert [(s.path, s.reason) for s in skipped] == [("red/inner", "unreadable")] and "Permission denied" in skipped[0].message
    assert cli("predict", str(run_folder), str(folder)) == 1
    answer, error = capsys.readouterr()
    assert f"{folder / 'red' / 'inner'}: error: the file cannot be read: Permission denied" in answer.splitlines()
    assert len(answer.splitlines()) == 5 and "1 of 5 could not be read" in error


def test_a_folder_is_no_picture(tmp_path: Path):
    with pytest.raises(DecodeError, match="it is a folder"):
        read_file(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="no such names there")
@pytest.mark.parametrize("form", ["text", "--json", "--csv"])
def test_names_from_strangers_break_no_line_and_move_no_cursor(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
):
    names = ["a\nb.png", "\x1b[2Jc.png", os.fsdecode(b"\xe9.png")]
    try:
        for name in names:
            (tmp_path / name).write_bytes(saved("PNG"))
    except OSError:
        pytest.skip("this file system permits no such names")
    assert cli("predict", str(run_folder), str(tmp_path), *([] if form == "text" else [form])) == 0
    answer = capsys.readouterr().out
    if form == "text":
        assert len(answer.splitlines()) == 3 and "\x1b" not in answer and r"a\nb.png" in answer and r"\udce9.png" in answer
    elif form == "--json":
        read = [json.loads(line)["path"] for line in answer.splitlines()]
        assert sorted(read) == sorted(str(tmp_path / name) for name in names)
    else:
        assert len(list(csv.reader(io.StringIO(answer)))) == 4 and r"\udce9.png" in answer


@pytest.mark.skipif(os.name != "posix", reason="no such names there")
def test_classes_and_folders_whose_names_are_no_unicode(make_folder: Callable[..., Path], tmp_path: Path):
    bad = os.fsdecode(b"\xe9")
    folder = make_folder({"red": 1, "blue": 1})
    try:
        make_folder({bad: 1}, root=folder)
    except OSError:
        pytest.skip("this file system permits no such names")
    (folder / f"{bad}.txt").touch()
    index = index_folder(folder)
    assert index.class_names == ("blue", "red")
    assert [(s.path, s.reason) for s in index.skipped] == [(r"\udce9", "unreadable"), (r"\udce9.txt", "unreadable")]
    with pytest.raises(DatasetError, match=r"not valid Unicode.*\nhint: rename"):
        index_folder(folder.rename(tmp_path / bad))
