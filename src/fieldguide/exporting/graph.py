"""What an exported file computes besides the network, written once for every builder: the answers, and the resize."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.models.operations import Operations

INPUTS = {TENSOR: "pixels", PICTURE: "picture"}  # name of the input
PROBABILITIES, NOVELTY, NONE_OF_THESE = "probabilities", "novelty", "none_of_these"
_NEVER = 3e38  # no novelty is above it


class GraphOperations(Operations, Protocol):
    """What the functions below use besides the layers of `Operations`. A `y` may be a number or an array of float32.

    Shapes broadcast as NumPy's do, and sums and minima keep their axis with size 1.
    """

    def to_float(self, x: Any) -> Any:
        """uint8 -> float32."""
        ...

    def to_pixels(self, x: Any) -> Any:
        """float32 whole numbers from 0 to 255 -> uint8."""
        ...

    def positions(self, x: Any, axis: int) -> Any:
        """0, 1, 2, ... along an axis of x, as float32 (size of the axis, 1)."""
        ...

    def plus(self, x: Any, y: Any) -> Any:
        """`x + y`."""
        ...

    def first(self, x: Any, axis: int, count: Any) -> Any:
        """The first `count`, float32 (1, 1), along an axis; all, where a builder cannot cut: what lies behind is not used."""
        ...

    def subtract(self, x: Any, y: Any) -> Any:
        """`x - y`."""
        ...

    def multiply(self, x: Any, y: Any) -> Any:
        """`x * y`."""
        ...

    def divide(self, x: Any, y: Any) -> Any:
        """`x / y`."""
        ...

    def maximum(self, x: Any, y: Any) -> Any:
        """The larger of two."""
        ...

    def is_greater(self, x: Any, y: Any) -> Any:
        """`x > y`, boolean."""
        ...

    def matmul(self, x: Any, y: Any) -> Any:
        """The product over the last axis of x and the first of y, (..., n) and (n, m) -> (..., m)."""
        ...

    def absolute(self, x: Any) -> Any:
        """`|x|`."""
        ...

    def floor(self, x: Any) -> Any:
        """The next whole number below."""
        ...

    def sqrt(self, x: Any) -> Any:
        """The square root."""
        ...

    def sum(self, x: Any, axis: int) -> Any:
        """The sum over an axis."""
        ...

    def min(self, x: Any, axis: int) -> Any:
        """The smallest along an axis."""
        ...

    def softmax(self, x: Any) -> Any:
        """Over the last axis."""
        ...

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """The axes in another order."""
        ...

    def drop_last_axis(self, x: Any) -> Any:
        """(batch, 1) -> (batch,)."""
        ...


def answer_weights(classifier: Classifier) -> dict[str, NDArray[np.float32]]:
    """What `answers` needs, by the names and in the shapes of `Operations.dense`."""
    head, temperature, novelty = classifier.bundle.head, classifier.certainty.temperature, classifier.certainty.novelty
    weights = {"head/kernel": head.kernel / temperature, "head/bias": head.bias / temperature}
    if novelty is not None:
        means = novelty.class_means.astype(np.float64)
        weights["novelty_whitening/kernel"] = novelty.whitening
        weights["novelty_means/kernel"] = -2 * means.T
        weights["novelty_means/bias"] = np.square(means).sum(axis=1)
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def answers(ops: GraphOperations, embedding: Any, classifier: Classifier) -> Mapping[str, Any]:
    """The outputs by name, from an embedding (batch, embedding_size).

    `probabilities` (batch, num_classes), rows sum to 1; and where the bundle knows novelty: `novelty` (batch,), distance from
    the nearest class, 1 at the border; `none_of_these` (batch,), whether it lies beyond. The same rules as
    `fieldguide.embedding.novelty`.

    Args:
        ops: a builder with the weights of `answer_weights`.
        embedding: what the network gives.
        classifier: class names, and the novelty with the share that may be turned away.
    """
    num_classes = len(classifier.class_names)
    found = {PROBABILITIES: ops.softmax(ops.dense(embedding, "head", units=num_classes))}
    novelty = classifier.certainty.novelty
    if novelty is None:
        return found
    length = ops.sqrt(ops.sum(ops.multiply(embedding, embedding), 1))
    centred = ops.subtract(ops.divide(embedding, ops.maximum(length, 1e-12)), novelty.center[None])
    whitened = ops.dense(centred, "novelty_whitening", units=len(novelty.whitening), use_bias=False)
    # |w - m|^2 = |w|^2 - 2 w.m + |m|^2: no array of (batch, num_classes, embedding_size) is made.
    from_means = ops.dense(whitened, "novelty_means", units=num_classes)
    squared = ops.plus(from_means, ops.sum(ops.multiply(whitened, whitened), 1))
    nearest = ops.sqrt(ops.maximum(ops.min(squared, 1), 0.0))
    score = ops.drop_last_axis(ops.divide(nearest, novelty.threshold))
    return {**found, NOVELTY: score, NONE_OF_THESE: ops.is_greater(score, 1.0 if novelty.reject else _NEVER)}


def resize(ops: GraphOperations, picture: Any, image_size: tuple[int, int]) -> Any:
    """Pillow's antialiased bilinear resize: uint8 (1, height, width, 3) -> uint8 (1, *image_size, 3), to the last bit.

    Each pass is a product with a matrix of weights. Pillow's are whole multiples of 2**-22, and it rounds after each pass;
    where a small picture grows, a hundredth of its values lie just between two grey levels, so that both matter. From
    version 13 on it takes the vertical pass first in tall pictures, where `height - new_height > max(0, 2 * (width -
    new_width))`: both orders are in the graph, and the one that is not used gets a single pixel to work on.

    Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c, `precompute_coeffs`
    """
    height, width = image_size
    old_height, old_width = _count(ops, picture, 1), _count(ops, picture, 2)
    spare = ops.maximum(ops.multiply(ops.subtract(old_width, float(width)), 2.0), 0.0)
    excess = ops.maximum(ops.subtract(ops.subtract(old_height, float(height)), spare), 0.0)
    is_tall = ops.subtract(1.0, ops.maximum(ops.subtract(1.0, excess), 0.0))  # (1, 1): 0 or 1, as excess is whole
    rows = _bilinear_weights(ops, picture, old_height, axis=1, size=height)
    columns = _bilinear_weights(ops, picture, old_width, axis=2, size=width)

    def part(is_used: Any) -> tuple[Any, Any, Any]:
        """The picture (1, height, width, 3) in float32 and both matrices; a single pixel of them where it is not used."""
        tall, wide = (ops.plus(ops.multiply(ops.subtract(count, 1.0), is_used), 1.0) for count in (old_height, old_width))
        pixels = ops.to_float(ops.first(ops.first(picture, 1, tall), 2, wide))
        return pixels, [ops.first(w, 0, tall) for w in rows], [ops.first(w, 0, wide) for w in columns]

    x, of_rows, of_columns = part(ops.subtract(1.0, is_tall))
    x = _resized(ops, ops.transpose(x, (0, 1, 3, 2)), of_columns)  # (1, height, 3, new width)
    usual = _resized(ops, ops.transpose(x, (0, 2, 3, 1)), of_rows)  # (1, 3, new width, new height)
    x, of_rows, of_columns = part(is_tall)
    x = _resized(ops, ops.transpose(x, (0, 2, 3, 1)), of_rows)  # (1, width, 3, new height)
    tall = _resized(ops, ops.transpose(x, (0, 2, 3, 1)), of_columns)  # (1, 3, new height, new width)
    tall = ops.transpose(tall, (0, 1, 3, 2))
    chosen = ops.plus(usual, ops.multiply(ops.subtract(tall, usual), is_tall))
    return ops.to_pixels(ops.transpose(chosen, (0, 3, 2, 1)))


_UNIT = 2048.0  # 2**11: float32 has no 22 bits for a weight beside the 8 of a pixel, so each weight goes as two numbers of 11


def _resized(ops: GraphOperations, x: Any, weights: Sequence[Any]) -> Any:
    """One pass over the last axis of x; every number here is whole, and exact in float32."""
    coarse, fine = weights
    sums = ops.matmul(x, coarse)  # of values times weights, in units of 1 / 2048
    whole = ops.floor(ops.divide(sums, _UNIT))
    rest = ops.subtract(sums, ops.multiply(whole, _UNIT))
    rest = ops.plus(rest, ops.divide(ops.matmul(x, fine), _UNIT))
    return ops.plus(whole, ops.floor(ops.divide(ops.plus(rest, _UNIT / 2), _UNIT)))


def _count(ops: GraphOperations, picture: Any, axis: int) -> Any:
    """The pixels along an axis, as float32 (1, 1)."""
    return ops.sum(ops.plus(ops.multiply(ops.positions(picture, axis), 0.0), 1.0), 0)


def _bilinear_weights(ops: GraphOperations, picture: Any, count: Any, *, axis: int, size: int) -> tuple[Any, Any]:
    """Two matrices (pixels along that axis, size): weights in units of 2**-11, and what is left of them in units of 2**-22.

    A weight is a triangle around the place of the new pixel, as wide as what lies between two new pixels where the picture
    shrinks, and as two old ones where it grows. Times twice both numbers of pixels, it is a whole number.
    """
    old = ops.positions(picture, axis)  # (pixels, 1)
    places = ops.multiply(ops.plus(ops.multiply(old, 2.0), 1.0), float(size))
    centers = ops.multiply(count, (2 * np.arange(size, dtype=np.float32) + 1)[None])  # (1, size)
    reach = ops.multiply(ops.maximum(count, float(size)), 2.0)
    triangle = ops.maximum(ops.subtract(reach, ops.absolute(ops.subtract(places, centers))), 0.0)
    total = ops.sum(triangle, 0)
    scaled = ops.multiply(triangle, _UNIT)
    coarse = ops.floor(ops.divide(scaled, total))
    rest = ops.subtract(scaled, ops.multiply(coarse, total))
    fine = ops.floor(ops.plus(ops.divide(ops.multiply(rest, _UNIT), total), 0.5))
    return coarse, fine
