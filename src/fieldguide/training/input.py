"""Batches from pictures that were decoded once and lie in memory, or in a memory-mapped file."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from fieldguide.training.augmentation import Augmentation, as_pixels, augment, mix


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """The number of batches in which every picture is seen once."""
    return math.ceil(num_images / batch_size)


def epoch_batches(num_images: int, *, batch_size: int, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """Positions of the pictures in each batch of an epoch (counted from 0): a permutation of all of them.

    Batch sizes differ by one picture at most: a last batch of one picture would have no variance to normalise by.
    """
    order = np.random.default_rng((seed, epoch)).permutation(num_images)
    return np.array_split(order, steps_per_epoch(num_images, batch_size))


def training_batches(
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    num_classes: int,
    batch_size: int,
    seed: int,
    augmentation: Augmentation,
    start: tuple[int, int] = (0, 0),
    size_of_epoch: Callable[[int], tuple[int, int]] | None = None,
    strength_of_epoch: Callable[[int], float] = lambda epoch: 1.0,
) -> Any:
    """A `tf.data.Dataset` of (pixels uint8, one-hot labels float32) that goes through epoch after epoch without end.

    Args:
        pixels: (num_images, height, width, 3).
        labels: (num_images,); positions in class_names.
        num_classes: length of the one-hot labels.
        batch_size: most pictures in a batch.
        seed: of the order and of the augmentation; with it, epoch and step fix every batch.
        augmentation: what is done to each picture.
        start: (epoch, step) of the first batch, both counted from 0; what comes before is skipped, and costs nothing.
        size_of_epoch: (height, width) of the batches of an epoch, counted from 0, where it is not that of the pictures.
        strength_of_epoch: of crops and mixing in an epoch, asked as it begins; see `augment`.
    """
    first_epoch, first_step = start

    def batches() -> Iterator[tuple[Any, ...]]:
        for epoch in itertools.count(first_epoch):
            skipped = first_step if epoch == first_epoch else 0
            strength = np.float32(strength_of_epoch(epoch))
            rows_of_steps = epoch_batches(len(labels), batch_size=batch_size, seed=seed, epoch=epoch)
            for step, rows in enumerate(rows_of_steps[skipped:], start=skipped):
                key = np.random.SeedSequence((seed, epoch, step)).generate_state(2).astype(np.int64)
                size = pixels.shape[1:3] if size_of_epoch is None else size_of_epoch(epoch)
                yield pixels[rows], labels[rows], key, np.array(size, np.int32), strength

    numbers = (tf.TensorSpec((2,), tf.int64), tf.TensorSpec((2,), tf.int32), tf.TensorSpec((), tf.float32))
    signature = (*_signature(pixels), *numbers)
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)

    def changed(x: Any, y: Any, key: Any, size: Any, strength: Any) -> tuple[Any, Any]:
        of_each, of_pairs = tf.unstack(tf.random.split(key, num=2))
        x = augment(x, of_each, augmentation, None if size_of_epoch is None else size, strength)
        x, y = mix(x, tf.one_hot(y, num_classes), of_pairs, augmentation, strength)
        return as_pixels(x), y

    return _with_options(dataset.map(changed).prefetch(4))


def validation_batches(pixels: NDArray[np.uint8], labels: NDArray[np.int64], *, num_classes: int, batch_size: int = 64) -> Any:
    """A `tf.data.Dataset` of (pixels uint8, one-hot labels float32): every picture once, in order, unchanged."""

    def batches() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        for start in range(0, len(labels), batch_size):
            yield pixels[start : start + batch_size], labels[start : start + batch_size]

    dataset = tf.data.Dataset.from_generator(batches, output_signature=_signature(pixels))
    dataset = dataset.map(lambda x, y: (x, tf.one_hot(y, num_classes)))
    num_batches = steps_per_epoch(len(labels), batch_size)
    return _with_options(dataset.apply(tf.data.experimental.assert_cardinality(num_batches)).prefetch(4))


def _signature(pixels: NDArray[np.uint8]) -> tuple[Any, Any]:
    return tf.TensorSpec((None, *pixels.shape[1:]), tf.uint8), tf.TensorSpec((None,), tf.int64)


def _with_options(dataset: Any) -> Any:
    options = tf.data.Options()
    # There is nothing to tune, and on a busy machine the tuner holds up the end of an epoch by up to 20 seconds.
    options.autotune.enabled = False
    # Left alone, an operation on a batch keeps to one core while the step that waits for it needs both.
    options.threading.max_intra_op_parallelism = os.cpu_count() or 1
    return dataset.with_options(options)
