"""Folders in the wild: every file is used or left out with its reason, whatever it is, in a bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fieldguide.data.cache import Cache
from fieldguide.data.decoding import MAX_DECODED_PIXELS, decode
from fieldguide.data.index import index_folder
from fieldguide.data.scan import keep_pixels, scan
from fieldguide.errors import DecodeError
from fieldguide.records import Preprocessing, Skipped
from tests.conftest import HUES, noisy_picture
from tests.corpus import cases, uploads, write_corpus
from tests.corpus_files import Case

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


def peak_bytes_of(code: str) -> int:
    """The most memory that a new process holds while it runs some code, above what it held before."""
    script = f"""
import sys
def peak():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
from fieldguide.data.decoding import MAX_DECODED_PIXELS, decode
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
