"""Builds an architecture as an OpenVINO network, from the same function that builds it in Keras."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.embedding.engine import name_by_position, openvino_module
from fieldguide.errors import BundleError
from fieldguide.models.operations import Network
from fieldguide.models.registry import architecture


class OpenVINOOperations:
    """The layers of `Operations` in OpenVINO's operator set.

    Inside, pictures are (batch, channels, height, width), the order OpenVINO's convolutions are written in.

    Args:
        weights: by the names and in the shapes that `Operations` says.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        self._weights = weights
        self._opset = openvino_module().opset13
        self._max_pool = openvino_module().opset1.max_pool  # later ones also give the positions

    def rescale(self, x: Any, *, scale: tuple[float, ...] | float, offset: tuple[float, ...] | float) -> Any:
        """See `Operations.rescale`."""
        x = self._opset.transpose(x, np.array([0, 3, 1, 2]))  # while a value is one byte, not four
        x = self._opset.convert(x, np.float32)
        return self._scale_and_shift(x, np.atleast_1d(scale), np.atleast_1d(offset))

    def conv(self, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Any:
        """See `Operations.conv`."""
        kernel = self._weight(f"{name}/kernel", (kernel_size, kernel_size, _channels(x), filters))
        kernel = kernel.transpose(3, 2, 0, 1)  # (height, width, in, out) -> (out, in, height, width)
        x = self._opset.convolution(x, kernel, *_strides(strides), auto_pad="SAME_UPPER")
        if use_bias:
            x = self._opset.add(x, self._weight(f"{name}/bias", (filters,)).reshape(1, -1, 1, 1))
        return x

    def depthwise_conv(self, x: Any, name: str, *, kernel_size: int, strides: int = 1) -> Any:
        """See `Operations.depthwise_conv`."""
        kernel = self._weight(f"{name}/kernel", (kernel_size, kernel_size, _channels(x), 1))
        kernel = kernel.transpose(2, 3, 0, 1)[:, None]  # (h, w, channels, 1) -> (channels, 1, 1, h, w)
        return self._opset.group_convolution(x, kernel, *_strides(strides), auto_pad="SAME_UPPER")

    def batch_norm(self, x: Any, name: str, *, epsilon: float = 1e-3) -> Any:
        """See `Operations.batch_norm`. One product and one sum, which OpenVINO puts into the kernel before them."""
        gamma, beta, mean, variance = (
            self._weight(f"{name}/{variable}", (_channels(x),)).astype(np.float64)
            for variable in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + epsilon)
        return self._scale_and_shift(x, scale, beta - mean * scale)

    def relu(self, x: Any, *, max_value: float | None = None) -> Any:
        """See `Operations.relu`."""
        return self._opset.relu(x) if max_value is None else self._opset.clamp(x, 0.0, max_value)

    def max_pool(self, x: Any) -> Any:
        """See `Operations.max_pool`."""
        return self._max_pool(x, [2, 2], [0, 0], [0, 0], [2, 2], "floor")

    def global_average_pool(self, x: Any) -> Any:
        """See `Operations.global_average_pool`."""
        return self._opset.reduce_mean(x, np.array([2, 3]), keep_dims=False)

    def flatten(self, x: Any) -> Any:
        """See `Operations.flatten`."""
        x = self._opset.transpose(x, np.array([0, 2, 3, 1]))  # Keras's order: height, width, channels
        return self._opset.reshape(x, np.array([0, -1]), special_zero=True)  # 0 keeps the batch

    def dense(self, x: Any, name: str, *, units: int, use_bias: bool = True) -> Any:
        """See `Operations.dense`."""
        x = self._opset.matmul(x, self._weight(f"{name}/kernel", (_channels(x), units)), False, False)
        return self._opset.add(x, self._weight(f"{name}/bias", (units,))[None]) if use_bias else x

    def dropout(self, x: Any, *, rate: float) -> Any:
        """See `Operations.dropout`; this network does not train."""
        return x

    def add(self, x: Any, y: Any) -> Any:
        """See `Operations.add`."""
        return self._opset.add(x, y)

    def with_mirrored(self, x: Any) -> Any:
        """See `Operations.with_mirrored`."""
        return self._opset.concat([x, self._mirrored(x.output(0))], 0)

    def mean_with_mirrored(self, x: Any) -> Any:
        """See `Operations.mean_with_mirrored`."""
        plain, mirrored = self._opset.split(x, np.array(0), 2).outputs()
        rank = len(x.get_output_partial_shape(0))
        if rank == 4:
            mirrored = self._mirrored(mirrored)
        return self._opset.multiply(self._opset.add(plain, mirrored), np.full((1,) * rank, 0.5, np.float32))

    def _mirrored(self, x: Any) -> Any:
        columns = np.arange(x.get_partial_shape()[3].get_length())
        return self._opset.gather(x, columns[::-1].copy(), np.array(3))

    def _scale_and_shift(self, x: Any, scale: NDArray[Any], shift: NDArray[Any]) -> Any:
        # (channels,) -> (1, channels, 1, 1) for pictures, (1, channels) after flatten
        shape = (1, -1) + (1,) * (len(x.get_output_partial_shape(0)) - 2)
        x = self._opset.multiply(x, scale.astype(np.float32).reshape(shape))
        return self._opset.add(x, shift.astype(np.float32).reshape(shape))

    def _weight(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        value = self._weights.get(name)
        if value is None or value.shape != shape:
            found = "it is missing" if value is None else f"received {value.shape}"
            raise BundleError(f"Weight {name!r} should have shape {shape}; {found}.")
        return np.asarray(value, dtype=np.float32)


def build_network(network: Network, weights: Mapping[str, NDArray[np.float32]]) -> Any:
    """An `openvino.Model`: `pixels`, RGB uint8 (any batch, *image_size, 3) -> `embedding`, float32 (batch, size).

    Args:
        network: names the architecture.
        weights: by the names and in the shapes that `Operations` says; more than needed may be given.

    Raises:
        BundleError: if the architecture is unknown, or a weight is missing or has another shape.
    """
    openvino = openvino_module()
    build = architecture(network.architecture)
    height, width = network.image_size
    pixels = openvino.opset13.parameter([-1, height, width, 3], np.uint8)
    pixels.output(0).set_names({"pixels"})
    embedding = openvino.opset13.result(build(OpenVINOOperations(weights), pixels, **network.options))
    embedding.output(0).set_names({"embedding"})
    model = openvino.Model([embedding], [pixels], network.architecture)
    name_by_position(model)
    return model


def _channels(x: Any) -> int:
    return int(x.get_output_partial_shape(0)[1].get_length())


def _strides(strides: int) -> tuple[list[int], list[int], list[int], list[int]]:
    # strides, zeros before, zeros after (both left to auto_pad), dilation
    return [strides, strides], [0, 0], [0, 0], [1, 1]
