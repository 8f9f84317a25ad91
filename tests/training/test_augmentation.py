"""What the augmentation may and may not change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fieldguide import training

training.import_tensorflow()

import tensorflow as tf  # noqa: E402  # after the call that keeps it quiet

from fieldguide.training.augmentation import Augmentation, as_pixels, augment, mix  # noqa: E402

EVERYTHING = Augmentation(min_crop=0.6, max_rotation_degrees=15, brightness=0.3, contrast=0.5)


def run(pixels: np.ndarray, seed: tuple[int, int], settings: Augmentation) -> np.ndarray:
    return as_pixels(augment(tf.constant(pixels), tf.constant(seed, tf.int64), settings)).numpy()


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 20, 28, 3), dtype=np.uint8)


def test_shape_and_type_are_kept_and_values_do_not_wrap_around(pixels: np.ndarray) -> None:
    changed = run(pixels, (0, 1), EVERYTHING)
    assert changed.shape == pixels.shape
    assert changed.dtype == np.uint8
    # A brighter white stays white, a darker black stays black: had they wrapped, both extremes would mix.
    white = np.full_like(pixels, 255)
    assert run(white, (0, 1), Augmentation(brightness=0.2)).min() >= 255 * 0.8 - 1
    assert run(white * 0, (0, 1), Augmentation(brightness=0.2)).max() <= 255 * 0.2 + 1


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(pixels: np.ndarray) -> None:
    first = run(pixels, (3, 4), EVERYTHING)
    np.testing.assert_array_equal(first, run(pixels, (3, 4), EVERYTHING))
    assert (first != run(pixels, (3, 5), EVERYTHING)).any()


def test_nothing_asked_nothing_changed(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(run(pixels, (0, 0), Augmentation(horizontal_flip=False)), pixels)


def test_a_smaller_result_shows_the_whole_picture(pixels: np.ndarray) -> None:
    ramp = np.broadcast_to(np.arange(0, 200, 10, dtype=np.uint8)[None, None, :, None], (2, 16, 20, 3)).copy()
    settings = Augmentation(horizontal_flip=False)
    small = as_pixels(augment(tf.constant(ramp), tf.constant((0, 0), tf.int64), settings, tf.constant((8, 10)))).numpy()
    assert small.shape == (2, 8, 10, 3)
    # Pixel 0 of the result covers pixels 0 and 1 of the picture, and lies between them: 5, then 25, 45, ...
    np.testing.assert_array_equal(small[0, 3, :, 0], np.arange(5, 200, 20))


def test_cutmix_gives_a_label_as_much_as_of_its_picture_is_seen() -> None:
    black_and_white = np.zeros((64, 20, 28, 3), np.uint8)
    black_and_white[1::2] = 255
    labels = tf.one_hot(np.arange(64) % 2, 2)
    settings = Augmentation(cutmix=1.0)
    seen, mixed = mix(tf.constant(black_and_white, tf.float32), labels, tf.constant((1, 2), tf.int64), settings)
    white = (seen.numpy() == 255).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(mixed.numpy()[:, 1], white, atol=1e-6)
    assert set(np.unique(seen)) == {0, 255}
    strange = np.where(np.arange(64) % 2 == 1, 1 - white, white)
    assert 0 <= strange.min() and 0.3 < strange.max() <= 0.55 and 0.15 < strange.mean() < 0.35


def test_flips_are_drawn_for_each_picture_and_mirror_exactly(pixels: np.ndarray) -> None:
    changed = run(pixels, (0, 0), Augmentation(horizontal_flip=True))
    same = (changed == pixels).all(axis=(1, 2, 3))
    mirrored = (changed == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert same.any()
    assert mirrored.any()


def test_a_crop_keeps_to_the_picture() -> None:
    ramp = np.broadcast_to(np.arange(0, 200, 10, dtype=np.uint8)[None, None, :, None], (32, 20, 20, 3)).copy()
    changed = run(ramp, (0, 0), Augmentation(horizontal_flip=False, min_crop=0.5)).astype(int)
    spans = changed[:, 0, -1, 0] - changed[:, 0, 0, 0]  # 190 for the whole width
    assert spans.min() >= 190 * 0.5 - 1
    assert spans.max() <= 190
    assert np.unique(spans).size > 8
    assert (np.diff(changed[:, 0, :, 0]) >= 0).all()  # nothing is mirrored in at the edges


@pytest.mark.parametrize("size", [(20, 28), (14, 19)])
def test_pictures_that_are_not_turned_are_sampled_where_turned_ones_are(pixels: np.ndarray, size: tuple[int, int]) -> None:
    # Without turning another operation samples the pictures; the smallest turn goes the general way, to the same places.
    arguments = tf.constant(pixels), tf.constant((5, 6), tf.int64)
    straight, turned = (
        augment(*arguments, Augmentation(min_crop=0.5, max_rotation_degrees=degrees), tf.constant(size)).numpy()
        for degrees in (0.0, 1e-9)
    )
    assert straight.shape == (16, *size, 3)
    np.testing.assert_allclose(straight, turned, atol=0.02)
    assert straight[:, [0, -1]].mean() > 100  # no black line where an end would lie outside


def test_saturation_keeps_the_grey_and_moves_the_colours() -> None:
    red = np.zeros((8, 4, 4, 3), np.uint8) + np.array([200, 40, 40], np.uint8)
    changed = run(red, (0, 0), Augmentation(horizontal_flip=False, saturation=0.5)).astype(float)
    luma = changed @ [0.299, 0.587, 0.114]
    assert np.abs(luma - (200 * 0.299 + 40 * 0.701)).max() < 1  # 87.84
    spread = changed[:, 0, 0, 0] - changed[:, 0, 0, 1]
    assert spread.min() >= 160 * 0.5 - 1
    assert spread.max() <= 160 * 1.5 + 1
    assert spread.std() > 10


def mixed(pixels: np.ndarray, labels: np.ndarray, seed: tuple[int, int], alpha: float) -> tuple[np.ndarray, np.ndarray]:
    x, y = mix(tf.constant(pixels, tf.float32), tf.constant(labels), tf.constant(seed, tf.int64), Augmentation(mixup=alpha))
    return as_pixels(x).numpy(), y.numpy()


def test_mixup_blends_each_picture_with_its_neighbour_and_the_label_says_how_much() -> None:
    labels = np.eye(8, dtype=np.float32)
    pixels = np.broadcast_to(np.arange(0, 160, 20, dtype=np.uint8)[:, None, None, None], (8, 2, 2, 3)).copy()
    x, y = mixed(pixels, labels, (1, 2), 0.4)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    assert (y.argmax(axis=1) == np.arange(8)).all()  # the greater share is the picture's own
    assert ((y > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(x[:, 0, 0, 0], y @ np.arange(0, 160, 20), atol=0.5)
    again, _ = mixed(pixels, labels, (1, 2), 0.4)
    np.testing.assert_array_equal(x, again)


def test_without_mixup_pictures_and_labels_are_passed_on(pixels: np.ndarray) -> None:
    labels = np.eye(16, dtype=np.float32)
    x, y = mixed(pixels, labels, (1, 2), 0.0)
    np.testing.assert_array_equal(x, pixels)
    np.testing.assert_array_equal(y, labels)


@pytest.mark.parametrize("degrees", [0.0, 10.0])
def test_without_strength_nothing_is_cut_off_or_mixed(pixels: np.ndarray, degrees: float) -> None:
    def changed(strength: float, **settings: Any) -> np.ndarray:
        augmentation = Augmentation(brightness=0.2, max_rotation_degrees=degrees, **settings)
        seed = tf.constant((3, 4), tf.int64)
        return augment(tf.constant(pixels), seed, augmentation, strength=tf.constant(strength)).numpy()

    np.testing.assert_array_equal(changed(0.0, min_crop=0.5), changed(1.0, min_crop=1.0))
    np.testing.assert_allclose(changed(0.5, min_crop=0.5), changed(1.0, min_crop=0.75), atol=1e-3)


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_strength_is_the_share_of_pictures_that_are_mixed(strength: float) -> None:
    count = 4000
    labels = np.tile(np.eye(2, dtype=np.float32), (count // 2, 1))
    pixels = tf.zeros((count, 32, 32, 3))
    settings = Augmentation(mixup=5.0, cutmix=0.5)  # a blend of these is never one picture alone
    _, y = mix(pixels, tf.constant(labels), tf.constant((1, 2), tf.int64), settings, tf.constant(strength))
    assert (y.numpy().max(axis=1) < 1).mean() == pytest.approx(strength, abs=0.12 * strength)
