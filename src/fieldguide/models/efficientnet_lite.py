"""EfficientNet-Lite0: the backbone whose ImageNet weights come as a Python package.

EfficientNet without squeeze-and-excitation and with ReLU6 in place of swish: what made it fast on the chips of phones
makes it fast on ordinary processors too.

Source: Tan & Le 2019, https://arxiv.org/abs/1905.11946;
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fieldguide.models.operations import Operations


class Block(NamedTuple):
    """One inverted residual: widen by 1 x 1, filter each channel by itself, narrow by 1 x 1."""

    kernel_size: int
    strides: int
    expansion: int
    filters_in: int
    filters_out: int


STEM_FILTERS = 32
TOP_FILTERS = 1280
LITE0_STAGES = (  # repeats, then the first block of the stage; the others have strides 1 and filters_in = filters_out
    (1, Block(3, 1, 1, 32, 16)),
    (2, Block(3, 2, 6, 16, 24)),
    (2, Block(5, 2, 6, 24, 40)),
    (3, Block(3, 2, 6, 40, 80)),
    (3, Block(5, 1, 6, 80, 112)),
    (4, Block(5, 2, 6, 112, 192)),
    (1, Block(3, 1, 6, 192, 320)),
)
LITE0_BLOCKS = tuple(
    first if position == 0 else first._replace(strides=1, filters_in=first.filters_out)
    for repeats, first in LITE0_STAGES
    for position in range(repeats)
)


def efficientnet_lite0(ops: Operations, pixels: Any, *, test_time_flip: bool = False) -> Any:
    """Builds the network up to the layer below the last: (batch, height, width, 3) uint8 -> (batch, 1280).

    Args:
        ops: the builder, of Keras or of OpenVINO.
        pixels: RGB uint8, (batch, height, width, 3); the weights were trained at 224 x 224.
        test_time_flip: whether the last maps are averaged with those of the mirrored picture; twice the work.
    """
    x = ops.rescale(pixels, scale=1 / 128, offset=-127 / 128)  # as in training: (pixels - 127) / 128
    if test_time_flip:
        x = ops.with_mirrored(x)
    x = ops.conv(x, "stem_conv", filters=STEM_FILTERS, kernel_size=3, strides=2)
    x = ops.batch_norm(x, "stem_norm")
    x = ops.relu(x, max_value=6.0)
    for number, block in enumerate(LITE0_BLOCKS, start=1):
        x = _inverted_residual(ops, x, f"block{number}", block)
    x = ops.conv(x, "top_conv", filters=TOP_FILTERS, kernel_size=1)  # (batch, height / 32, width / 32, 1280)
    x = ops.batch_norm(x, "top_norm")
    x = ops.relu(x, max_value=6.0)
    if test_time_flip:
        x = ops.mean_with_mirrored(x)
    return ops.global_average_pool(x)


def _inverted_residual(ops: Operations, x: Any, name: str, block: Block) -> Any:
    y = x
    if block.expansion > 1:
        y = ops.conv(y, f"{name}_expand_conv", filters=block.filters_in * block.expansion, kernel_size=1)
        y = ops.batch_norm(y, f"{name}_expand_norm")
        y = ops.relu(y, max_value=6.0)
    y = ops.depthwise_conv(y, f"{name}_depthwise_conv", kernel_size=block.kernel_size, strides=block.strides)
    y = ops.batch_norm(y, f"{name}_depthwise_norm")
    y = ops.relu(y, max_value=6.0)
    y = ops.conv(y, f"{name}_project_conv", filters=block.filters_out, kernel_size=1)
    y = ops.batch_norm(y, f"{name}_project_norm")  # no activation: the narrow ends are linear
    return ops.add(x, y) if block.strides == 1 and block.filters_in == block.filters_out else y
