"""The CNN of the textbooks: blocks of Conv2D, MaxPooling2D, BatchNormalization and ReLU, then Flatten, Dense, Dropout."""

from __future__ import annotations

from typing import Any

from fieldguide.models.operations import Operations


def classic(
    ops: Operations,
    pixels: Any,
    *,
    filters: tuple[int, ...] = (32, 64, 128, 128),
    units: int = 128,
    dropout: float = 0.5,
    test_time_flip: bool = False,
) -> Any:
    """Builds the network up to the layer below the last: (batch, height, width, 3) uint8 -> (batch, units).

    Args:
        ops: the builder, of Keras or of OpenVINO.
        pixels: RGB uint8, (batch, height, width, 3).
        filters: of the convolution in each block; each block halves height and width.
        units: of the dense layer that the classes are told apart by.
        dropout: share of the dense layer's values set to zero while training, in [0, 1).
        test_time_flip: whether the embedding is averaged with that of the mirrored picture, as in a network that is not
            trained any more; it takes twice the time.
    """
    x = ops.rescale(pixels, scale=1 / 127.5, offset=-1.0)  # 0..255 -> -1..1
    if test_time_flip:
        x = ops.with_mirrored(x)
    for number, width in enumerate(filters, start=1):
        x = ops.conv(x, f"block{number}_conv", filters=width, kernel_size=3)
        x = ops.max_pool(x)  # (batch, height / 2**number, width / 2**number, width)
        x = ops.batch_norm(x, f"block{number}_norm")
        x = ops.relu(x)
    x = ops.flatten(x)
    x = ops.dense(x, "dense", units=units, use_bias=False)  # the normalisation below has the bias
    x = ops.batch_norm(x, "dense_norm")
    x = ops.relu(x)
    x = ops.dropout(x, rate=dropout)
    return ops.mean_with_mirrored(x) if test_time_flip else x
