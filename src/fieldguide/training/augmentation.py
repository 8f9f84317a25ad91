"""Random changes that leave a picture's class as it is, for whole batches, outside the network.

Everything is drawn from stateless generators: the same seed gives the same pictures, whatever ran before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; all zero (and `min_crop` 1) leaves them alone."""

    horizontal_flip: bool = True
    min_crop: float = 1.0  # smallest share of the height and of the width that is kept, in (0, 1]
    max_rotation_degrees: float = 0.0
    brightness: float = 0.0  # largest shift, as a share of white
    contrast: float = 0.0  # largest relative change of the distance from the picture's mean
    saturation: float = 0.0  # largest relative change of the distance of a colour from its grey
    mixup: float = 0.0  # alpha of the Beta(alpha, alpha) draw by which two pictures and their labels are mixed; 0 mixes none


def augment(pixels: Any, seed: Any, settings: Augmentation) -> Any:
    """Each picture of a batch, changed by its own random draw.

    Args:
        pixels: uint8 tensor, (batch, height, width, 3).
        seed: int tensor of shape (2,); equal seeds give equal results.
        settings: how far the changes go.

    Returns:
        uint8 tensor of the same shape.
    """
    geometry_seed, colour_seed = tf.unstack(tf.random.split(seed, num=2))
    x = tf.cast(pixels, tf.float32)
    x = _crop_turn_and_flip(x, geometry_seed, settings)
    x = _change_light(x, colour_seed, settings)
    x = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 255.0)), tf.uint8)
    return tf.ensure_shape(x, pixels.shape)  # the sampling above forgets it


def _crop_turn_and_flip(x: Any, seed: Any, settings: Augmentation) -> Any:
    # All three are one affine map from a place in the result to a place in the picture, so pixels are sampled once.
    shape = tf.shape(x)
    batch, center_y, center_x = shape[0], tf.cast(shape[1] - 1, tf.float32) / 2, tf.cast(shape[2] - 1, tf.float32) / 2
    draws = tf.random.stateless_uniform((7, batch), seed)
    # One draw for the size, one each that lets height and width differ by up to half of the range.
    room = 1.0 - settings.min_crop
    scale_y = 1.0 - room * (draws[0] + draws[1]) / 2
    scale_x = 1.0 - room * (draws[0] + draws[2]) / 2
    shift_y = (2.0 * draws[3] - 1.0) * (1.0 - scale_y) * center_y
    shift_x = (2.0 * draws[4] - 1.0) * (1.0 - scale_x) * center_x
    angle = (2.0 * draws[5] - 1.0) * math.radians(settings.max_rotation_degrees)
    mirrored = tf.logical_and(draws[6] < 0.5, settings.horizontal_flip)
    scale_x = tf.where(mirrored, -scale_x, scale_x)

    a0, a1 = scale_x * tf.cos(angle), -scale_y * tf.sin(angle)
    b0, b1 = scale_x * tf.sin(angle), scale_y * tf.cos(angle)
    a2 = center_x + shift_x - a0 * center_x - a1 * center_y
    b2 = center_y + shift_y - b0 * center_x - b1 * center_y
    zeros = tf.zeros(batch)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1),  # (batch, 8)
        output_shape=shape[1:3],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def mix(pixels: Any, labels: Any, seed: Any, settings: Augmentation) -> tuple[Any, Any]:
    """Mixup: each picture of a batch blended with the one before it, and its label likewise.

    Args:
        pixels: uint8 tensor, (batch, height, width, 3).
        labels: one-hot, float32 tensor, (batch, num_classes).
        seed: int tensor of shape (2,); equal seeds give equal results.
        settings: `mixup` is the alpha of the draw.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412.
    """
    if settings.mixup == 0:
        return pixels, labels
    # Two Gamma(alpha) draws x, y make x / (x + y) a Beta(alpha, alpha) draw.
    draws = tf.random.stateless_gamma((2, tf.shape(pixels)[0]), seed, settings.mixup)
    draws = tf.maximum(draws, 1e-30)
    share = draws[0] / (draws[0] + draws[1])  # (batch,)
    share = tf.maximum(share, 1.0 - share)
    of_pixels, of_labels = share[:, None, None, None], share[:, None]
    x = tf.cast(pixels, tf.float32)
    x = of_pixels * x + (1.0 - of_pixels) * tf.roll(x, 1, axis=0)
    labels = of_labels * labels + (1.0 - of_labels) * tf.roll(labels, 1, axis=0)
    return tf.cast(tf.round(x), tf.uint8), labels


def _change_light(x: Any, seed: Any, settings: Augmentation) -> Any:
    draws = 2.0 * tf.random.stateless_uniform((3, tf.shape(x)[0], 1, 1, 1), seed) - 1.0  # (3, batch, 1, 1, 1)
    if settings.saturation:
        grey = tf.tensordot(x, [0.299, 0.587, 0.114], 1)[..., None]  # ITU-R BT.601 luma
        x = grey + (1.0 + settings.saturation * draws[2]) * (x - grey)
    mean = tf.reduce_mean(x, axis=(1, 2, 3), keepdims=True)
    contrast = 1.0 + settings.contrast * draws[0]
    return x * contrast + (mean * (1.0 - contrast) + 255.0 * settings.brightness * draws[1])
