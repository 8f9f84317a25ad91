"""What the augmentation may and may not change."""

from __future__ import annotations

import numpy as np
import pytest

from fieldguide import training

training.import_tensorflow()

import tensorflow as tf  # noqa: E402  # after the call that keeps it quiet

from fieldguide.training.augmentation import Augmentation, augment  # noqa: E402

EVERYTHING = Augmentation(min_crop=0.6, max_rotation_degrees=15, brightness=0.3, contrast=0.5)


def run(pixels: np.ndarray, seed: tuple[int, int], settings: Augmentation) -> np.ndarray:
    return augment(tf.constant(pixels), tf.constant(seed, tf.int64), settings).numpy()


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
