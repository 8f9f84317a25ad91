from __future__ import annotations

import numpy as np
import pytest

from fieldguide.data import pixels as pixels_module
from fieldguide.data.cache import Cache
from fieldguide.data.decoding import load
from fieldguide.data.index import index_folder
from fieldguide.data.pixels import read_pixels
from fieldguide.data.scan import keep_pixels, scan
from fieldguide.errors import DatasetError
from fieldguide.records import Preprocessing

FIRST, SIZE = Preprocessing((32, 32)), Preprocessing((16, 24))


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as opened:
        yield opened


def test_pixels_are_those_of_a_scan_at_that_size(tiny_folder, cache, tmp_path):
    (tiny_folder / "training_set" / "red" / "broken.jpg").write_bytes(b"no picture")
    index = index_folder(tiny_folder)
    scanned = scan(index, FIRST, cache=cache)
    counted: list[int] = []
    found = read_pixels(scanned, index.root, SIZE, cache=cache, progress=counted.append)
    with Cache(tmp_path / "another") as empty:
        expected = scan(index, SIZE, cache=empty, consumer=keep_pixels(SIZE)).values
    assert found.shape == (len(scanned.images), 16, 24, 3) and np.array_equal(found, expected)
    assert sum(counted) == len(scanned.images) == len(index.images) - 1


def test_what_the_cache_holds_is_not_decoded_again(tiny_folder, cache, monkeypatch):
    index = index_folder(tiny_folder)
    scanned = scan(index, FIRST, cache=cache)
    first = read_pixels(scanned, index.root, SIZE, cache=cache)
    calls: list[int] = []
    monkeypatch.setattr(pixels_module, "load", lambda *a, **k: calls.append(1) or load(*a, **k))
    assert np.array_equal(read_pixels(scanned, index.root, SIZE, cache=cache), first) and not calls
    read_pixels(scanned, index.root, FIRST, cache=cache)
    assert len(calls) == len(scanned.images)  # of another size


def test_white_of_16_bits_is_where_the_user_says(tmp_path, cache):
    from PIL import Image

    for name, value in (("a", 4095), ("b", 2048)):
        (tmp_path / "grey" / name).mkdir(parents=True)
        Image.fromarray(np.full((20, 20), value, np.uint16)).save(tmp_path / "grey" / name / "0.png")
    index = index_folder(tmp_path / "grey")
    twelve = Preprocessing((8, 8), sixteen_bit_max=4095)
    found = read_pixels(scan(index, twelve, cache=cache), index.root, twelve, cache=cache)
    assert found[0].min() == 255 and set(found[1].ravel()) == {128}


@pytest.mark.parametrize("what", ["changed", "vanished"])
def test_a_picture_that_is_no_longer_what_it_was_is_an_error(tiny_folder, cache, what):
    index = index_folder(tiny_folder)
    scanned = scan(index, FIRST, cache=cache)
    picture = tiny_folder / scanned.images[5].path
    if what == "vanished":
        picture.unlink()
    else:
        picture.write_bytes((tiny_folder / scanned.images[6].path).read_bytes())
    with pytest.raises(DatasetError, match=f"{scanned.images[5].path}.*(has changed|no longer)"):
        read_pixels(scanned, index.root, SIZE, cache=cache)
