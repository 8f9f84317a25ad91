"""A small residual network: a stem of 5 x 5, stages of two convolutions with a way around them, global average pooling."""

from __future__ import annotations

from typing import Any

from fieldguide.models.operations import Operations


def residual(
    ops: Operations,
    pixels: Any,
    *,
    filters: tuple[int, ...] = (32, 64, 128, 256),
    blocks: tuple[int, ...] = (1, 1, 1, 1),
    test_time_flip: bool = False,
) -> Any:
    """Builds the network up to the layer below the last: (batch, height, width, 3) uint8 -> (batch, filters[-1]).

    Height and width are halved by the stem and by each stage but the first. It takes pictures of every size.

    Args:
        ops: the builder, of Keras or of OpenVINO.
        pixels: RGB uint8, (batch, height, width, 3).
        filters: of the convolutions in each stage.
        blocks: of two convolutions each, in each stage.
        test_time_flip: whether the last maps are averaged with those of the mirrored picture, as in a network that is not
            trained any more; it takes twice the time.

    Source: He et al. 2016, https://arxiv.org/abs/1512.03385.
    """
    x = ops.rescale(pixels, scale=1 / 127.5, offset=-1.0)  # 0..255 -> -1..1
    if test_time_flip:
        x = ops.with_mirrored(x)
    x = _conv(ops, x, "stem", filters=filters[0], kernel_size=5, strides=2)
    x = ops.relu(x)
    width_before = filters[0]
    for stage, (width, count) in enumerate(zip(filters, blocks, strict=True), start=1):
        if stage > 1:
            # Not strides: the gradient of a strided 1 x 1 convolution writes past its memory in oneDNN (TensorFlow 2.21).
            x = ops.max_pool(x)  # (batch, height / 2**stage, width / 2**stage, width_before)
        for number in range(1, count + 1):
            name = f"stage{stage}_block{number}"
            y = ops.relu(_conv(ops, x, f"{name}_a", filters=width, kernel_size=3))
            y = _conv(ops, y, f"{name}_b", filters=width, kernel_size=3)
            if width != width_before:
                x = _conv(ops, x, f"{name}_around", filters=width, kernel_size=1)
            x, width_before = ops.relu(ops.add(x, y)), width
    if test_time_flip:
        x = ops.mean_with_mirrored(x)
    return ops.global_average_pool(x)


def _conv(ops: Operations, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1) -> Any:
    x = ops.conv(x, f"{name}_conv", filters=filters, kernel_size=kernel_size, strides=strides)
    return ops.batch_norm(x, f"{name}_norm")
