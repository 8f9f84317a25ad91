"""Every picture is seen, in an order that the seed fixes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fieldguide import training

training.import_tensorflow()

from fieldguide.training.augmentation import Augmentation  # noqa: E402
from fieldguide.training.input import epoch_batches, training_batches, validation_batches  # noqa: E402


@pytest.mark.parametrize(("num_images", "sizes"), [(64, {32}), (65, {21, 22}), (5, {5}), (33, {16, 17})])
def test_every_picture_is_seen_once_an_epoch_in_batches_of_nearly_one_size(num_images: int, sizes: set[int]) -> None:
    batches = epoch_batches(num_images, batch_size=32, seed=0, epoch=0)
    assert {len(batch) for batch in batches} == sizes
    assert sorted(np.concatenate(batches)) == list(range(num_images))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return list(np.concatenate(epoch_batches(50, batch_size=8, seed=seed, epoch=epoch)))

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_training_batches_hold_all_labels_and_go_on_after_an_epoch() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    pixels = np.zeros((7, 16, 16, 3), np.uint8)
    batches = training_batches(
        pixels, labels, num_classes=3, batch_size=4, seed=0, augmentation=Augmentation()
    ).as_numpy_iterator()
    seen = np.concatenate([y for _, y in itertools.islice(batches, 4)])  # two epochs of two batches
    np.testing.assert_array_equal(seen.sum(axis=0), [6, 4, 4])


def test_batches_that_start_later_are_those_that_would_have_come() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(11) % 2

    def batches(start: tuple[int, int]) -> list[tuple[np.ndarray, np.ndarray]]:
        augmentation = Augmentation(min_crop=0.5, contrast=0.3)
        settings = {"num_classes": 2, "batch_size": 3, "seed": 7, "augmentation": augmentation}
        return list(itertools.islice(training_batches(pixels, labels, start=start, **settings).as_numpy_iterator(), 5))

    whole = [*batches((0, 0))[:4], *batches((1, 0))]  # four batches an epoch
    for later, expected in zip(batches((0, 3)), whole[3:], strict=False):
        np.testing.assert_array_equal(later[0], expected[0])
        np.testing.assert_array_equal(later[1], expected[1])


def test_validation_batches_include_the_last_partial_one_unchanged_and_in_order() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 16, 16, 3), dtype=np.uint8)
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    batches = list(validation_batches(pixels, labels, num_classes=2, batch_size=3).as_numpy_iterator())
    assert [len(y) for _, y in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), pixels)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]).argmax(axis=1), labels)
