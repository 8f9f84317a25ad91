"""The block table of EfficientNet-Lite0 against published figures."""

from __future__ import annotations

from fieldguide.models.efficientnet_lite import LITE0_BLOCKS


def test_sixteen_blocks_follow_each_other_and_divide_the_picture_by_sixteen_more() -> None:
    assert len(LITE0_BLOCKS) == 16
    assert [b.filters_in for b in LITE0_BLOCKS[1:]] == [b.filters_out for b in LITE0_BLOCKS[:-1]]
    strides = 2  # of the stem
    for block in LITE0_BLOCKS:
        strides *= block.strides
    assert strides == 32


def test_the_network_has_the_number_of_multiplications_that_was_published() -> None:
    """0.385 G at 224 x 224, the 1,000 classes included: https://github.com/d-li14/efficientnet-lite.pytorch."""
    size = 112
    total = size * size * 27 * 32
    for block in LITE0_BLOCKS:
        wide = block.filters_in * block.expansion
        total += size * size * block.filters_in * wide if block.expansion > 1 else 0
        size //= block.strides
        total += size * size * wide * (block.kernel_size**2 + block.filters_out)
    total += size * size * 320 * 1280
    assert round((total + 1280 * 1000) / 1e6) == 385
