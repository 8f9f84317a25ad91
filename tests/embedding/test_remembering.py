"""A costly function of arrays is asked the same twice, and computes it once."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.embedding import remembering
from fieldguide.embedding.remembering import remembers_last


def test_it_computes_again_for_another_array_shape_type_or_number(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    @remembers_last
    def total(x: NDArray[np.float32], times: int) -> float:
        calls.append(times)
        return float(x.sum()) * times

    x = np.arange(12, dtype=np.float32)
    assert total(x, 2) == total(x.copy(), 2) == 132.0 and len(calls) == 1
    assert total(x[::-1], 2) == 132.0 and len(calls) == 2
    for other in ((x, 3), (x.reshape(3, 4), 3), (x.view(np.int32), 3), (x + 1, 3)):
        total(*other)
    assert len(calls) == 6
    total(x, 2)
    assert len(calls) == 7  # the last alone is kept
    monkeypatch.setattr(remembering, "_MOST_BYTES", 10)
    assert total(x, 2) == total(x, 2) and len(calls) == 9
