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
    cutmix: float = 0.0  # share of the pictures that get a rectangle of another one instead of being mixed with it, in [0, 1]


def augment(pixels: Any, seed: Any, settings: Augmentation, size: Any = None) -> Any:
    """Each picture of a batch, changed by its own random draw.

    Args:
        pixels: uint8 tensor, (batch, height, width, 3).
        seed: int tensor of shape (2,); equal seeds give equal results.
        settings: how far the changes go.
        size: int tensor (height, width) of the result, at most half as large again smaller than the pictures, for nothing
            is averaged; None leaves it as it is.

    Returns:
        uint8 tensor, (batch, *size, 3).
    """
    geometry_seed, colour_seed = tf.unstack(tf.random.split(seed, num=2))
    x = tf.cast(pixels, tf.float32)
    x = _crop_turn_and_flip(x, geometry_seed, settings, tf.shape(pixels)[1:3] if size is None else size)
    x = _change_light(x, colour_seed, settings)
    x = tf.cast(tf.round(tf.clip_by_value(x, 0.0, 255.0)), tf.uint8)
    return tf.ensure_shape(x, pixels.shape if size is None else (pixels.shape[0], None, None, 3))  # sampling forgets it


def _crop_turn_and_flip(x: Any, seed: Any, settings: Augmentation, size: Any) -> Any:
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
    # A step of one pixel in the result is one of `ratio` pixels in the picture.
    ratio = tf.cast(shape[1:3], tf.float32) / tf.cast(size, tf.float32)
    scale_y, scale_x = scale_y * ratio[0], scale_x * ratio[1]
    middle = tf.cast(size - 1, tf.float32) / 2

    a0, a1 = scale_x * tf.cos(angle), -scale_y * tf.sin(angle)
    b0, b1 = scale_x * tf.sin(angle), scale_y * tf.cos(angle)
    a2 = center_x + shift_x - a0 * middle[1] - a1 * middle[0]
    b2 = center_y + shift_y - b0 * middle[1] - b1 * middle[0]
    zeros = tf.zeros(batch)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1),  # (batch, 8)
        output_shape=size,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def mix(pixels: Any, labels: Any, seed: Any, settings: Augmentation) -> tuple[Any, Any]:
    """Mixup and CutMix: each picture of a batch blended with the one before it, or given a part of it; its label likewise.

    Args:
        pixels: uint8 tensor, (batch, height, width, 3).
        labels: one-hot, float32 tensor, (batch, num_classes).
        seed: int tensor of shape (2,); equal seeds give equal results.
        settings: `mixup` is the alpha of the draw, `cutmix` the share of the pictures that are given a part.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412; Yun et al. 2019, https://arxiv.org/abs/1905.04899.
    """
    if settings.mixup == 0 and settings.cutmix == 0:
        return pixels, labels
    blend_seed, cut_seed = (seed, seed) if settings.cutmix == 0 else tf.unstack(tf.random.split(seed, num=2))
    count = tf.shape(pixels)[0]
    share = _share_of_blends(count, blend_seed, settings.mixup)[:, None]  # of each picture in what becomes of it: (batch, 1)
    weights = share[:, None]  # the same for each of its pixels: (batch, 1 or height, 1 or width)
    if settings.cutmix:
        draws = tf.random.stateless_uniform((4, count), cut_seed)  # whether, how large, where
        is_cut = (draws[0] < settings.cutmix)[:, None]
        side = tf.sqrt(0.5 * draws[1])  # of the rectangle, as a share of the picture's: its area is a half at most
        rows = _between(draws[2] * (1.0 - side), side, tf.shape(pixels)[1])
        columns = _between(draws[3] * (1.0 - side), side, tf.shape(pixels)[2])
        outside = 1.0 - rows[:, :, None] * columns[:, None, :]  # (batch, height, width)
        weights = tf.where(is_cut[:, None], outside, weights)
        share = tf.where(is_cut, tf.reduce_mean(outside, axis=(1, 2))[:, None], share)
    x = tf.cast(pixels, tf.float32)
    other = tf.roll(x, 1, axis=0)
    x = other + weights[..., None] * (x - other)
    labels = share * labels + (1.0 - share) * tf.roll(labels, 1, axis=0)
    return tf.cast(tf.round(x), tf.uint8), labels


def _share_of_blends(count: Any, seed: Any, alpha: float) -> Any:
    """(count,): how much of each picture stays when it is blended with another, a half at least."""
    if alpha == 0:
        return tf.ones(count)
    # Two Gamma(alpha) draws x, y make x / (x + y) a Beta(alpha, alpha) draw.
    draws = tf.maximum(tf.random.stateless_gamma((2, count), seed, alpha), 1e-30)
    share = draws[0] / (draws[0] + draws[1])
    return tf.maximum(share, 1.0 - share)


def _between(start: Any, length: Any, count: Any) -> Any:
    """(batch, count): 1 for the places that lie in the stretch of each picture, else 0; start and length are shares."""
    places = (tf.cast(tf.range(count), tf.float32) + 0.5) / tf.cast(count, tf.float32)
    return tf.cast(tf.logical_and(places >= start[:, None], places < (start + length)[:, None]), tf.float32)


def _change_light(x: Any, seed: Any, settings: Augmentation) -> Any:
    draws = 2.0 * tf.random.stateless_uniform((3, tf.shape(x)[0], 1, 1, 1), seed) - 1.0  # (3, batch, 1, 1, 1)
    if settings.saturation:
        grey = tf.tensordot(x, [0.299, 0.587, 0.114], 1)[..., None]  # ITU-R BT.601 luma
        x = grey + (1.0 + settings.saturation * draws[2]) * (x - grey)
    mean = tf.reduce_mean(x, axis=(1, 2, 3), keepdims=True)
    contrast = 1.0 + settings.contrast * draws[0]
    return x * contrast + (mean * (1.0 - contrast) + 255.0 * settings.brightness * draws[1])
