"""Random changes that leave a picture's class as it is, for whole batches, outside the network.

Everything is drawn from stateless generators: the same seed gives the same pictures, whatever ran before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in a grey, ITU-R BT.601


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


def augment(pixels: Any, seed: Any, settings: Augmentation, size: Any = None, strength: Any = 1.0) -> Any:
    """Each picture of a batch, changed by its own random draw.

    Args:
        pixels: uint8 tensor, (batch, height, width, 3).
        seed: int tensor of shape (2,); equal seeds give equal results.
        settings: how far the changes go.
        size: int tensor (height, width) of the result, at most half as large again smaller than the pictures, for nothing
            is averaged; None leaves it as it is.
        strength: number or tensor in [0, 1]: share of what `min_crop` allows to cut off that may be cut off.

    Returns:
        float32 tensor of values in [0, 255], (batch, *size, 3).
    """
    geometry_seed, colour_seed = tf.unstack(tf.random.split(seed, num=2))
    x = tf.cast(pixels, tf.float32)
    x = _crop_turn_and_flip(x, geometry_seed, settings, tf.shape(pixels)[1:3] if size is None else size, strength)
    x = tf.clip_by_value(_change_light(x, colour_seed, settings), 0.0, 255.0)
    return tf.ensure_shape(x, pixels.shape if size is None else (pixels.shape[0], None, None, 3))  # sampling forgets it


def as_pixels(values: Any) -> Any:
    """The uint8 tensor nearest to one of float32 values in [0, 255]."""
    return tf.cast(values + 0.5, tf.uint8)


def _crop_turn_and_flip(x: Any, seed: Any, settings: Augmentation, size: Any, strength: Any) -> Any:
    shape = tf.shape(x)
    draws = tf.random.stateless_uniform((7, shape[0]), seed)
    # One draw for the size, one each that lets height and width differ by up to half of the range.
    room = strength * (1.0 - settings.min_crop)
    scale = tf.stack([1.0 - room * (draws[0] + draws[1]) / 2, 1.0 - room * (draws[0] + draws[2]) / 2])  # (2, batch)
    center = tf.cast(shape[1:3] - 1, tf.float32)[:, None] / 2
    middle = center + (2.0 * draws[3:5] - 1.0) * (1.0 - scale) * center  # of the crop, in pixels: (2, batch)
    # A step of one pixel in the result is one of `step` pixels in the picture.
    step = scale * (tf.cast(shape[1:3], tf.float32) / tf.cast(size, tf.float32))[:, None]
    mirrored = tf.logical_and(draws[6] < 0.5, settings.horizontal_flip)
    step = tf.stack([step[0], tf.where(mirrored, -step[1], step[1])])
    from_middle = tf.cast(size - 1, tf.float32)[:, None] / 2  # of the result, to its first and last pixel
    if settings.max_rotation_degrees == 0:
        ends = tf.concat([middle - step * from_middle, middle + step * from_middle], axis=0) / tf.tile(2.0 * center, (2, 1))
        # What lies outside is black, so that an end must not fall there by a rounding error.
        boxes = tf.transpose(tf.clip_by_value(ends, 1e-6, 1.0 - 1e-6))  # (batch, 4): top, left, bottom, right
        return tf.image.crop_and_resize(x, boxes, tf.range(shape[0]), size)  # a third of the time of the other way
    angle = (2.0 * draws[5] - 1.0) * math.radians(settings.max_rotation_degrees)
    a0, a1 = step[1] * tf.cos(angle), -step[0] * tf.sin(angle)
    b0, b1 = step[1] * tf.sin(angle), step[0] * tf.cos(angle)
    a2 = middle[1] - a0 * from_middle[1] - a1 * from_middle[0]
    b2 = middle[0] - b0 * from_middle[1] - b1 * from_middle[0]
    zeros = tf.zeros_like(angle)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zeros, zeros], axis=1),  # (batch, 8)
        output_shape=size,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def mix(values: Any, labels: Any, seed: Any, settings: Augmentation, strength: Any = 1.0) -> tuple[Any, Any]:
    """Mixup and CutMix: each picture of a batch blended with the one before it, or given a part of it; its label likewise.

    Args:
        values: float32 tensor of pictures, (batch, height, width, 3).
        labels: one-hot, float32 tensor, (batch, num_classes).
        seed: int tensor of shape (2,); equal seeds give equal results.
        settings: `mixup` is the alpha of the draw, `cutmix` the share of the pictures that are given a part.
        strength: number or tensor in [0, 1]: share of the pictures that are mixed at all.

    Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412; Yun et al. 2019, https://arxiv.org/abs/1905.04899.
    """
    if settings.mixup == 0 and settings.cutmix == 0:
        return values, labels
    blend_seed, cut_seed = (seed, seed) if settings.cutmix == 0 else tf.unstack(tf.random.split(seed, num=2))
    count = tf.shape(values)[0]
    is_mixed = (tf.random.stateless_uniform((count,), tf.random.fold_in(seed, 1)) < strength)[:, None]
    share = _share_of_blends(count, blend_seed, settings.mixup)[:, None]
    share = tf.where(is_mixed, share, 1.0)  # of each picture in what becomes of it: (batch, 1)
    weights = share[:, None]  # the same for each of its values: (batch, 1 or height, 1 or 3 * width)
    if settings.cutmix:
        draws = tf.random.stateless_uniform((4, count), cut_seed)  # whether, how large, where
        is_cut = tf.logical_and(draws[0] < settings.cutmix, is_mixed[:, 0])[:, None]
        side = tf.sqrt(0.5 * draws[1])  # of the rectangle, as a share of the picture's: its area is a half at most
        rows = _between(draws[2] * (1.0 - side), side, tf.shape(values)[1])
        columns = _between(draws[3] * (1.0 - side), side, tf.shape(values)[2])
        share = tf.where(
            is_cut, 1.0 - tf.reduce_mean(rows, 1, keepdims=True) * tf.reduce_mean(columns, 1, keepdims=True), share
        )
        outside = 1.0 - rows[:, :, None] * tf.repeat(columns, 3, axis=1)[:, None, :]  # (batch, height, 3 * width)
        weights = tf.where(is_cut[:, None], outside, weights)
    shape = tf.shape(values)
    flat = tf.reshape(values, (count, shape[1], 3 * shape[2]))  # spreading a weight over a last axis of 3 is slow
    other = tf.roll(flat, 1, axis=0)
    mixed = tf.reshape(other + weights * (flat - other), shape)
    return tf.ensure_shape(mixed, values.shape), share * labels + (1.0 - share) * tf.roll(labels, 1, axis=0)


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
    draws = 2.0 * tf.random.stateless_uniform((3, tf.shape(x)[0], 1, 1), seed) - 1.0  # (3, batch, 1, 1)
    contrast, saturation = 1.0 + settings.contrast * draws[0], 1.0 + settings.saturation * draws[2]
    colours = tf.reshape(x, (tf.shape(x)[0], -1, 3))
    # All changes of a colour are one linear map, (batch, 3, 3), the same for each pixel of a picture.
    saturate = saturation * tf.eye(3) + (1.0 - saturation) * tf.tile([[share] for share in _LUMA], (1, 3))
    mean = tf.reduce_mean(tf.reduce_mean(colours, axis=1, keepdims=True) @ saturate, axis=2, keepdims=True)
    colours = colours @ (contrast * saturate) + (mean * (1.0 - contrast) + 255.0 * settings.brightness * draws[1])
    return tf.reshape(colours, tf.shape(x))
