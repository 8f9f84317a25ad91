"""Arrays for networks of one's own: the same pictures, in the same parts, as a recipe sees."""

from __future__ import annotations

import numpy as np
import pytest

import fieldguide
from fieldguide.data import decoding
from fieldguide.errors import DatasetError
from fieldguide.records import Split
from fieldguide.storage import read_json


def test_the_parts_are_those_that_train_uses(tiny_folder, tmp_path):
    pictures = fieldguide.load_pictures(tiny_folder, image_size=(24, 32), seed=3, progress=False)
    run = fieldguide.train(tiny_folder, out=tmp_path / "run", seed=3, progress=False)
    split = Split.from_json(read_json(tmp_path / "run" / "split.json"))
    assert run.class_names == pictures.class_names
    for part in ("train", "val", "test"):
        own = getattr(pictures, part)
        assert own.paths == tuple(split.paths[i] for i in getattr(split, part))
        assert own.labels.tolist() == split.labels[getattr(split, part)].tolist()
    assert len(pictures.val) == 9 and len(pictures.test) == 18


def test_the_pixels_are_the_decoders(tiny_folder):
    pictures = fieldguide.load_pictures(tiny_folder, image_size=(24, 32), progress=False)
    part = pictures.test
    assert part.pixels.shape == (18, 24, 32, 3) and part.pixels.dtype == np.uint8
    for i in (0, 17):
        expected = decoding.load((pictures.root / part.paths[i]).read_bytes(), (24, 32))
        assert np.array_equal(part.pixels[i], expected)
        assert part.paths[i].split("/")[1] == pictures.class_names[part.labels[i]]


def test_a_file_that_cannot_be_read_is_left_out(tiny_folder):
    (tiny_folder / "test_set" / "red" / "000.jpg").write_bytes(b"\xff\xd8 no picture")
    pictures = fieldguide.load_pictures(tiny_folder, image_size=(8, 8), progress=False)
    assert len(pictures.test) == 17 and "test_set/red/000.jpg" not in pictures.test.paths


def test_a_folder_without_a_test_part_is_divided(make_folder):
    pictures = fieldguide.load_pictures(make_folder({"red": 20, "blue": 20}), image_size=(8, 8), progress=False)
    assert [len(part) for part in (pictures.train, pictures.val, pictures.test)] == [28, 6, 6]


def test_it_is_short_in_print(tiny_folder):
    pictures = fieldguide.load_pictures(tiny_folder, image_size=(8, 8), progress=False)
    assert len(repr(pictures)) < 500 and "18 pictures" in repr(pictures)


@pytest.mark.parametrize("image_size", [(0, 8), (8.0, 8), (8,), (8, 5000)])
def test_a_size_out_of_range_is_refused(tiny_folder, image_size):
    with pytest.raises(DatasetError, match=r"image_size should be \(height, width\).*\nhint"):
        fieldguide.load_pictures(tiny_folder, image_size=image_size)
