"""Builds an architecture and its answers as ONNX nodes, from the same functions that build them in Keras and OpenVINO."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import BundleError

Shape = tuple[int | None, ...]


class Value(NamedTuple):
    """A tensor of the graph: its name, and its shape as far as it is known."""

    name: str
    shape: Shape


class OnnxOperations:
    """`GraphOperations` in ONNX. Pictures are (batch, channels, height, width) inside, as ONNX's convolutions want them.

    Args:
        weights: by the names and in the shapes that `Operations` says.

    Attributes:
        nodes: of the graph so far.
        initializers: its numbers.
        averaged: the last maps that were averaged over their places, and the averages; None where none were.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.averaged: tuple[Value, Value] | None = None
        self._weights = weights

    def rescale(self, x: Value, *, scale: tuple[float, ...] | float, offset: tuple[float, ...] | float) -> Value:
        """See `Operations.rescale`."""
        x = self.to_float(self.transpose(x, (0, 3, 1, 2)))  # moved while a value is one byte, not four
        scales, offsets = (np.asarray(v, np.float32).reshape(1, -1, 1, 1) for v in (scale, offset))
        return self.plus(self.multiply(x, scales), offsets)

    def conv(self, x: Value, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Value:
        """See `Operations.conv`."""
        kernel = self._weight(f"{name}/kernel", (kernel_size, kernel_size, x.shape[1], filters))
        bias = [self._weight(f"{name}/bias", (filters,))] if use_bias else []
        return self._convolution(x, kernel.transpose(3, 2, 0, 1), strides, 1, bias)

    def depthwise_conv(self, x: Value, name: str, *, kernel_size: int, strides: int = 1) -> Value:
        """See `Operations.depthwise_conv`."""
        channels = _known(x.shape[1])
        kernel = self._weight(f"{name}/kernel", (kernel_size, kernel_size, channels, 1))
        return self._convolution(x, kernel.transpose(2, 3, 0, 1), strides, channels, [])

    def batch_norm(self, x: Value, name: str, *, epsilon: float = 1e-3) -> Value:
        """See `Operations.batch_norm`."""
        variables = ("gamma", "beta", "moving_mean", "moving_variance")
        numbers = [self._weight(f"{name}/{variable}", (x.shape[1],)) for variable in variables]
        return self._node("BatchNormalization", [x, *numbers], x.shape, epsilon=epsilon)

    def relu(self, x: Value, *, max_value: float | None = None) -> Value:
        """See `Operations.relu`."""
        if max_value is None:
            return self._node("Relu", [x], x.shape)
        return self._node("Clip", [x, np.float32(0), np.float32(max_value)], x.shape)

    def max_pool(self, x: Value) -> Value:
        """See `Operations.max_pool`."""
        height, width = (_known(side) // 2 for side in x.shape[2:])
        return self._node("MaxPool", [x], (*x.shape[:2], height, width), kernel_shape=[2, 2], strides=[2, 2])

    def global_average_pool(self, x: Value) -> Value:
        """See `Operations.global_average_pool`."""
        pooled = self._node("GlobalAveragePool", [x], (*x.shape[:2], 1, 1))
        averages = self._node("Flatten", [pooled], x.shape[:2])
        self.averaged = (x, averages)
        return averages

    def flatten(self, x: Value) -> Value:
        """See `Operations.flatten`."""
        x = self.transpose(x, (0, 2, 3, 1))  # Keras's order: height, width, channels
        return self._node("Flatten", [x], (x.shape[0], math.prod(_known(side) for side in x.shape[1:])))

    def dense(self, x: Value, name: str, *, units: int, use_bias: bool = True) -> Value:
        """See `Operations.dense`."""
        kernel = self._weight(f"{name}/kernel", (x.shape[1], units))
        bias = [self._weight(f"{name}/bias", (units,))] if use_bias else []
        return self._node("Gemm", [x, kernel, *bias], (x.shape[0], units))

    def dropout(self, x: Value, *, rate: float) -> Value:
        """See `Operations.dropout`; this network does not train."""
        return x

    def add(self, x: Value, y: Value) -> Value:
        """See `Operations.add`."""
        return self.plus(x, y)

    def with_mirrored(self, x: Value) -> Value:
        """See `Operations.with_mirrored`."""
        batch = None if x.shape[0] is None else 2 * x.shape[0]
        return self._node("Concat", [x, self._mirrored(x)], (batch, *x.shape[1:]), axis=0)

    def mean_with_mirrored(self, x: Value) -> Value:
        """See `Operations.mean_with_mirrored`."""
        sizes = [_known(size) for size in x.shape[1:]]
        half = None if x.shape[0] is None else x.shape[0] // 2
        halves = self._node("Reshape", [x, np.array([2, -1, *sizes])], (2, half, *sizes))
        plain, mirrored = (self._node("Gather", [halves, np.int64(i)], (half, *sizes), axis=0) for i in (0, 1))
        if len(x.shape) == 4:
            mirrored = self._mirrored(mirrored)
        return self.multiply(self.plus(plain, mirrored), np.float32(0.5))

    def to_float(self, x: Value) -> Value:
        """See `GraphOperations.to_float`."""
        return self._node("Cast", [x], x.shape, to=1)  # TensorProto.FLOAT

    def to_pixels(self, x: Value) -> Value:
        """See `GraphOperations.to_pixels`."""
        return self._node("Cast", [x], x.shape, to=2)  # TensorProto.UINT8

    def positions(self, x: Value, axis: int) -> Value:
        """See `GraphOperations.positions`."""
        size = self._node("Squeeze", [self._node("Shape", [x], (1,), start=axis, end=axis + 1)], ())
        numbers = self._node("Range", [np.int64(0), size, np.int64(1)], (x.shape[axis],))
        return self._node("Unsqueeze", [self.to_float(numbers), np.array([1])], (x.shape[axis], 1))

    def plus(self, x: Any, y: Any) -> Value:
        """See `GraphOperations.plus`."""
        return self._elementwise("Add", x, y)

    def first(self, x: Value, axis: int, count: Value) -> Value:
        """See `GraphOperations.first`."""
        end = self._node("Cast", [self._node("Reshape", [count, np.array([1])], (1,))], (1,), to=7)  # TensorProto.INT64
        shape = tuple(None if position == axis else size for position, size in enumerate(x.shape))
        return self._node("Slice", [x, np.array([0]), end, np.array([axis])], shape)

    def subtract(self, x: Any, y: Any) -> Value:
        """See `GraphOperations.subtract`."""
        return self._elementwise("Sub", x, y)

    def multiply(self, x: Any, y: Any) -> Value:
        """See `GraphOperations.multiply`."""
        return self._elementwise("Mul", x, y)

    def divide(self, x: Any, y: Any) -> Value:
        """See `GraphOperations.divide`."""
        return self._elementwise("Div", x, y)

    def maximum(self, x: Any, y: Any) -> Value:
        """See `GraphOperations.maximum`."""
        return self._elementwise("Max", x, y)

    def is_greater(self, x: Any, y: Any) -> Value:
        """See `GraphOperations.is_greater`."""
        return self._elementwise("Greater", x, y)

    def matmul(self, x: Value, y: Value) -> Value:
        """See `GraphOperations.matmul`."""
        return self._node("MatMul", [x, y], (*x.shape[:-1], y.shape[-1]))

    def constant(self, x: NDArray[np.float32]) -> Value:
        """Numbers as a value of the graph."""
        return self._value(x)

    def absolute(self, x: Value) -> Value:
        """See `GraphOperations.absolute`."""
        return self._node("Abs", [x], x.shape)

    def floor(self, x: Value) -> Value:
        """See `GraphOperations.floor`."""
        return self._node("Floor", [x], x.shape)

    def sqrt(self, x: Value) -> Value:
        """See `GraphOperations.sqrt`."""
        return self._node("Sqrt", [x], x.shape)

    def sum(self, x: Value, axis: int) -> Value:
        """See `GraphOperations.sum`."""
        return self._node("ReduceSum", [x, np.array([axis])], _reduced(x.shape, axis), keepdims=1)

    def min(self, x: Value, axis: int) -> Value:
        """See `GraphOperations.min`."""
        return self._node("ReduceMin", [x], _reduced(x.shape, axis), axes=[axis], keepdims=1)

    def softmax(self, x: Value) -> Value:
        """See `GraphOperations.softmax`."""
        return self._node("Softmax", [x], x.shape, axis=-1)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """See `GraphOperations.transpose`."""
        return self._node("Transpose", [x], tuple(x.shape[axis] for axis in order), perm=list(order))

    def drop_last_axis(self, x: Value) -> Value:
        """See `GraphOperations.drop_last_axis`."""
        return self._node("Squeeze", [x, np.array([-1])], x.shape[:-1])

    def rename(self, x: Value, name: str) -> None:
        """Gives the last use of a value in the graph, an output, its name."""
        self.nodes.append(_helper().make_node("Identity", [x.name], [name], name=name))

    def _mirrored(self, x: Value) -> Value:
        return self._node("Gather", [x, np.arange(_known(x.shape[3]))[::-1]], x.shape, axis=3)

    def _convolution(
        self, x: Value, kernel: NDArray[np.float32], strides: int, groups: int, bias: list[NDArray[np.float32]]
    ) -> Value:
        size = kernel.shape[-1]
        sides = [_known(side) for side in x.shape[2:]]
        new_sides = [math.ceil(side / strides) for side in sides]
        # An odd zero goes below and to the right, as TensorFlow pads.
        zeros = [max((new - 1) * strides + size - side, 0) for side, new in zip(sides, new_sides, strict=True)]
        pads = [count // 2 for count in zeros] + [count - count // 2 for count in zeros]
        shape = (x.shape[0], kernel.shape[0], *new_sides)
        settings = {"kernel_shape": [size, size], "strides": [strides, strides], "group": groups, "pads": pads}
        return self._node("Conv", [x, kernel, *bias], shape, **settings)

    def _elementwise(self, kind: str, x: Any, y: Any) -> Value:
        x, y = self._value(x), self._value(y)
        return self._node(kind, [x, y], _broadcast(x.shape, y.shape))

    def _node(self, kind: str, inputs: Sequence[Any], shape: Shape, **attributes: Any) -> Value:
        name = f"{kind}_{len(self.nodes)}"
        given = [self._value(value).name for value in inputs]
        self.nodes.append(_helper().make_node(kind, given, [name], name=name, **attributes))
        return Value(name, shape)

    def _value(self, x: Any) -> Value:
        if isinstance(x, Value):
            return x
        array = np.asarray(x, np.float32) if isinstance(x, float) else np.asarray(x)
        name = f"number_{len(self.initializers)}"
        self.initializers.append(_numpy_helper().from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return Value(name, array.shape)

    def _weight(self, name: str, shape: Shape) -> NDArray[np.float32]:
        value = self._weights.get(name)
        if value is None or value.shape != shape:
            found = "it is missing" if value is None else f"received {value.shape}"
            raise BundleError(f"Weight {name!r} should have shape {shape}; {found}.")
        return np.asarray(value, dtype=np.float32)


def _helper() -> Any:
    import onnx.helper

    return onnx.helper


def _numpy_helper() -> Any:
    import onnx.numpy_helper

    return onnx.numpy_helper


def _known(size: int | None) -> int:
    if size is None:
        raise ValueError("The size of an axis must be known here.")
    return size


def _reduced(shape: Shape, axis: int) -> Shape:
    return tuple(1 if position == axis else size for position, size in enumerate(shape))


def _broadcast(a: Shape, b: Shape) -> Shape:
    length = max(len(a), len(b))
    pairs = zip((1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True)
    return tuple(y if x == 1 else x for x, y in pairs)
