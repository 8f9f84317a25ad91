"""A second folder to learn from: `train DIR --also DIR2`."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

import fieldguide
from fieldguide.data.index import ALSO, describe, index_folder
from fieldguide.data.split import split_images
from fieldguide.errors import DatasetError
from tests.conftest import HUES


@pytest.fixture
def both(make_folder, tmp_path):
    """A flat folder of 20 pictures a class, and one of corrections, 3 a class, one of them a copy."""
    main = make_folder(dict.fromkeys(HUES, 20), root=tmp_path / "main")
    more = make_folder(dict.fromkeys(HUES, 3), root=tmp_path / "more", first_seed=500)
    return main, more


def divided(index, keys=None, seed=0):
    hashes = keys or [image.path for image in index.images]
    return split_images(index.images, index.class_names, pixel_hashes=hashes, seed=seed)


@pytest.mark.parametrize("seed", range(3))
def test_pictures_of_the_second_folder_are_learned_from_alone(both, seed):
    main, more = both
    index = index_folder(main, also=more)
    also = [i for i, image in enumerate(index.images) if image.part == ALSO]
    assert len(also) == 9 and "9 of them from the folder to learn from as well" in describe(index)
    assert all((main / index.images[i].path).resolve().is_relative_to(more.resolve()) for i in also)
    split = divided(index, seed=seed)
    assert set(also) <= set(split.train.tolist())
    without = divided(index_folder(main), seed=seed)
    for part in ("val", "test"):
        assert [split.paths[i] for i in getattr(split, part)] == [without.paths[i] for i in getattr(without, part)]


def test_a_layout_with_parts_keeps_them(make_folder, both, tmp_path):
    parts = make_folder({f"{part}/{hue}": 8 for part in ("train", "test") for hue in HUES}, root=tmp_path / "parts")
    index = index_folder(parts, also=both[1])
    split = divided(index)
    also = {i for i, image in enumerate(index.images) if image.part == ALSO}
    assert also <= set(split.train.tolist()) and not also & {*split.val.tolist(), *split.test.tolist()}
    assert len(split.test) == 24 and len(split.val) > 0


def test_copies_of_held_out_pictures_are_not_learned_from(both):
    index = index_folder(both[0], also=both[1])
    split = divided(index)
    tested, chosen = int(split.test[0]), int(split.val[0])
    also = [i for i, image in enumerate(index.images) if image.part == ALSO]
    keys = [image.path for image in index.images]
    keys[also[0]], keys[also[1]] = keys[tested], keys[chosen]
    again = divided(index, keys)
    assert np.array_equal(again.test, split.test) and np.array_equal(again.val, split.val)
    assert set(also) - set(again.train.tolist()) == {also[0], also[1]}


def test_a_copy_of_a_training_picture_stays_in_its_fold(both):
    index = index_folder(both[0], also=both[1])
    split = divided(index)
    also = next(i for i, image in enumerate(index.images) if image.part == ALSO)
    twin = int(split.train[0]) if split.train[0] != also else int(split.train[1])
    keys = [image.path for image in index.images]
    keys[also] = keys[twin]
    again = divided(index, keys)
    assert again.groups[also] == again.groups[twin]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("purple", "has a class 'purple'"),
        ("missing", "no folder"),
        ("inside", "one in the other"),
        ("empty", "No class folder"),
    ],
)
def test_a_second_folder_that_cannot_be_used_is_refused(both, make_folder, tmp_path, name, message):
    main, _ = both
    folder = tmp_path / name
    if name == "purple":
        make_folder({"purple": 1}, root=folder)
    elif name == "inside":
        folder = main / "red"
    elif name == "empty":
        folder.mkdir()
    with pytest.raises(DatasetError, match=message):
        index_folder(main, also=folder)


def test_a_training_takes_them_and_says_so(both, tmp_path):
    main, more = both
    copied = sorted((main / "red").iterdir())
    for path in copied:  # of which some are test pictures
        shutil.copyfile(path, more / "red" / f"again-{path.name}")
    run = fieldguide.train(main, also=more, out=tmp_path / "run", recipe="transfer", progress=False)
    (note,) = [note for note in run.notes if "--also" in note]
    plain = fieldguide.train(main, out=tmp_path / "plain", recipe="transfer", progress=False)
    assert run.scores["test"]["num_images"] == plain.scores["test"]["num_images"]
    learned = run.scores["train"]["num_images"] - plain.scores["train"]["num_images"]
    assert note.startswith(f"{learned:,} pictures came from a second folder")
    assert 9 <= learned < 9 + len(copied)
    assert f"--also {more}" in run.environment["command"]
