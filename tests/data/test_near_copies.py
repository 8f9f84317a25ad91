from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from fieldguide.data.copies import Copies
from fieldguide.data.looks import look
from fieldguide.data.near_copies import alike_hashes, correlation, linked, near_copy_groups
from fieldguide.data.neighbours import nearest, principal_space
from fieldguide.records import LabeledImage


def scene(seed: int, size: tuple[int, int] = (120, 160)) -> Image.Image:
    """A picture of soft shapes, unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)


def sketch(image: Image.Image) -> bytes:
    return look(np.asarray(image))[1]


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(io.BytesIO(buffer.getvalue()))


def cropped(image: Image.Image) -> Image.Image:
    width, height = image.size
    return image.crop((0, 0, round(0.92 * width), round(0.92 * height)))


CHANGES = {
    "jpeg": jpeg,
    "smaller": lambda image: image.resize((112, 84)),
    "mirrored": ImageOps.mirror,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_copy_is_found_among_other_pictures_by_its_sketch_alone(change):
    pictures = [scene(seed) for seed in range(30)]
    sketches = [sketch(picture) for picture in [*pictures, change(pictures[7])]]
    assert near_copy_groups(sketches) == [[7, 30]]


def test_a_cropped_copy_is_found_with_embeddings():
    pictures = [scene(seed) for seed in range(30)]
    sketches = [sketch(picture) for picture in [*pictures, cropped(pictures[7])]]
    embeddings = np.random.default_rng(0).normal(size=(31, 40)).astype(np.float32)
    embeddings[30] = embeddings[7] + 0.01
    assert near_copy_groups(sketches, principal_space(embeddings)) == [[7, 30]]
    unlike = np.random.default_rng(1).normal(size=(31, 40)).astype(np.float32)
    assert near_copy_groups(sketches, principal_space(unlike)) == []


def test_where_all_pictures_look_alike_looking_alike_is_no_proof():
    common = np.asarray(scene(0), np.float32)
    alike = [Image.fromarray(np.clip(0.9 * common + 0.1 * np.asarray(scene(s)), 0, 255).astype(np.uint8)) for s in range(1, 41)]
    grey = np.stack([np.frombuffer(sketch(a), np.uint8).reshape(32, 32) for a in alike]).astype(np.float32)
    assert correlation(grey[:1], grey[1:2], crops=())[0] > 0.95
    assert near_copy_groups([sketch(a) for a in alike]) == []
    assert near_copy_groups([sketch(a) for a in [*alike, ImageOps.mirror(alike[3])]]) == [[3, 40]]


def test_flat_pictures_are_no_near_copies_of_each_other():
    assert near_copy_groups([bytes([level]) * 1024 for level in (10, 10, 200)]) == []
    assert near_copy_groups([]) == []


def test_correlation_ignores_brightness_and_contrast_and_tells_negatives():
    a = np.frombuffer(sketch(scene(1)), np.uint8).reshape(1, 32, 32).astype(np.float32)
    assert correlation(a, 0.5 * a + 20, crops=())[0] == pytest.approx(1.0, abs=1e-4)
    assert correlation(a, 255 - a, crops=())[0] < 0.9


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_correlation_knows_a_mirrored_piece_in_whichever_order_it_is_given(corner):
    picture = scene(3)
    width, height = picture.size
    left, top = corner[0] * 0.08 * width, corner[1] * 0.08 * height
    piece = ImageOps.mirror(picture.crop((round(left), round(top), round(left + 0.92 * width), round(top + 0.92 * height))))
    a, b = (np.frombuffer(sketch(x), np.uint8).reshape(1, 32, 32).astype(np.float32) for x in (picture, piece))
    fit, swapped, whole = correlation(a, b)[0], correlation(b, a)[0], correlation(a, b, crops=())[0]
    assert fit == pytest.approx(swapped, abs=1e-5)
    assert fit > 0.99 and fit - whole > 0.01


def test_large_folders_find_the_same_copies_through_pieces_of_the_hash(monkeypatch):
    pictures = [scene(seed) for seed in range(30)]
    sketches = [sketch(picture) for picture in [*pictures, jpeg(pictures[7]), ImageOps.mirror(pictures[9])]]
    monkeypatch.setattr("fieldguide.data.near_copies._MOST_COMPARED", 10)
    assert near_copy_groups(sketches) == [[7, 30], [9, 31]]


def test_linked_pairs_form_sets():
    assert linked(7, [(0, 3), (5, 3), (1, 2)]) == [[0, 3, 5], [1, 2]]


def test_nearest_equals_the_full_product():
    vectors = np.random.default_rng(0).normal(size=(700, 8)).astype(np.float32)
    found = nearest(vectors, vectors, 5)
    products = vectors @ vectors.T
    np.fill_diagonal(products, -np.inf)
    assert np.array_equal(found.positions, np.argsort(-products, axis=1)[:, :5])
    assert np.allclose(found.similarities, -np.sort(-products, axis=1)[:, :5], atol=1e-5)


def test_leaks_name_a_learned_copy_of_each_test_picture():
    parts = ["train", "test", "val", "test", "train", "test"]
    images = [LabeledImage(f"{i}.jpg", 0, part) for i, part in enumerate(parts)]
    copies = Copies(exact=(), groups=((0, 1), (2, 3, 4)), num_images=6)
    assert copies.leaks(images) == [(1, 0), (3, 2)]
    assert Copies(exact=((3, 4),), groups=((0, 1), (2, 3, 4)), num_images=6).leaks(images) == [(1, 0), (3, 4)]
    assert copies.keys == ["0", "0", "2", "2", "2", "5"]


@pytest.mark.parametrize("count", [3_000, 21_000])
def test_thousands_of_like_pictures_give_pairs_by_their_number_not_by_its_square(count):
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 8, count).astype(np.uint64) << np.uint64(3)  # silhouettes: three bits tell them apart
    pairs = alike_hashes(hashes, hashes)
    assert count / 2 < len(pairs) < 40 * count
    assert (pairs[:, 0] < pairs[:, 1]).all() and len(np.unique(pairs, axis=0)) == len(pairs)


def test_pairs_are_compared_some_at_a_time(monkeypatch):
    sketches = [sketch(scene(seed)) for seed in range(12)]
    sketches += [sketch(scene(seed).resize((90, 70))) for seed in range(6)]
    whole = near_copy_groups(sketches)
    assert [[i, 12 + i] for i in range(6)] == whole
    monkeypatch.setattr("fieldguide.data.near_copies._PAIRS_AT_ONCE", 2)
    assert near_copy_groups(sketches) == whole


@pytest.mark.parametrize("num_copies", [9, 12, 30])
def test_copies_are_found_however_many_there_are_of_one_picture(num_copies):
    def saved(seed: int, quality: int) -> Image.Image:
        buffer = io.BytesIO()
        scene(seed).save(buffer, "JPEG", quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue()))

    pictures = [scene(seed) for seed in range(100, 140)]
    pictures += [saved(seed, 95 - 2 * k) for seed in (1, 2) for k in range(num_copies)]
    groups = near_copy_groups([sketch(picture) for picture in pictures])
    assert groups == [list(range(40, 40 + num_copies)), list(range(40 + num_copies, 40 + 2 * num_copies))]
