"""The layers our architectures are written in, once, and built from twice: by Keras to train, by OpenVINO to run.

An architecture is a function `architecture(ops, pixels, **options) -> embedding` that calls the methods below. What a
method returns is opaque to the architecture (a Keras tensor, an OpenVINO output); it only passes it on. Each layer with
weights has a name; its weights are called `NAME/kernel`, `NAME/bias`, `NAME/gamma`, `NAME/beta`, `NAME/moving_mean`,
`NAME/moving_variance`, in Keras's shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fieldguide.records import Record


@dataclass(frozen=True)
class Network(Record):
    """What is needed, with the weights, to build a network again: a name from the registry and plain numbers."""

    architecture: str
    image_size: tuple[int, int]  # (height, width)
    options: Mapping[str, Any] = field(default_factory=dict)


class Operations(Protocol):
    """What an architecture may use. Layout is (batch, height, width, channels) throughout."""

    def rescale(self, x: Any, *, scale: tuple[float, ...] | float, offset: tuple[float, ...] | float) -> Any:
        """`x * scale + offset` in float32, from uint8 pixels; per channel where tuples are given."""
        ...

    def conv(self, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Any:
        """2-D convolution with zero padding "same", as TensorFlow pads.

        Height and width become `ceil(size / strides)`; an odd zero goes below and to the right. The published weights of
        EfficientNet-Lite were trained so: PyTorch's even padding shifts every grid by a pixel.
        """
        ...

    def depthwise_conv(self, x: Any, name: str, *, kernel_size: int, strides: int = 1) -> Any:
        """Depthwise 2-D convolution without bias, padded as `conv` pads."""
        ...

    def batch_norm(self, x: Any, name: str, *, epsilon: float = 1e-3) -> Any:
        """Batch normalisation over the last axis, with the moving statistics when not training."""
        ...

    def relu(self, x: Any, *, max_value: float | None = None) -> Any:
        """`max(x, 0)`, cut at `max_value` where given."""
        ...

    def max_pool(self, x: Any) -> Any:
        """Maximum over 2 x 2 windows, strides 2; an odd last row or column is dropped."""
        ...

    def global_average_pool(self, x: Any) -> Any:
        """(batch, height, width, channels) -> (batch, channels)."""
        ...

    def flatten(self, x: Any) -> Any:
        """(batch, height, width, channels) -> (batch, height * width * channels), in this order."""
        ...

    def dense(self, x: Any, name: str, *, units: int, use_bias: bool = True) -> Any:
        """(batch, n) -> (batch, units)."""
        ...

    def dropout(self, x: Any, *, rate: float) -> Any:
        """Sets a share `rate` of the values to zero while training; nothing otherwise."""
        ...

    def add(self, x: Any, y: Any) -> Any:
        """The sum of two tensors of one shape."""
        ...

    def with_mirrored(self, x: Any) -> Any:
        """(batch, ...) -> (2 * batch, ...): the pictures, and behind them the same pictures with left and right swapped."""
        ...

    def mean_with_mirrored(self, x: Any) -> Any:
        """Undoes `with_mirrored`: the mean of the first half of the batch and the second; maps are turned back for it."""
        ...
