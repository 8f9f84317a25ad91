from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from fieldguide.data.neighbours import nearest, principal_axes


@pytest.mark.parametrize("count", [2, 40, 330, 3001])
@pytest.mark.parametrize("k", [1, 10])
def test_the_nearest_are_those_of_a_full_sort(count, k):
    vectors = np.random.default_rng(count).standard_normal((count, 8)).astype(np.float32)
    queries = vectors[:37]
    found = nearest(queries, vectors, k)
    products = queries @ vectors.T
    products[np.arange(len(queries)), np.arange(len(queries))] = -np.inf
    expected = np.sort(products, axis=1)[:, ::-1][:, : min(k, count - 1)]
    assert found.similarities == pytest.approx(expected, abs=1e-5)
    assert np.take_along_axis(products, found.positions, axis=1) == pytest.approx(expected, abs=1e-5)


def test_blocks_of_columns_are_put_together(monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((900, 6)).astype(np.float32)
    whole = nearest(vectors, vectors, 5)
    monkeypatch.setattr("fieldguide.data.neighbours._COLUMNS_PER_BLOCK", 350)
    monkeypatch.setattr("fieldguide.data.neighbours._ROWS_PER_BLOCK", 64)
    assert (nearest(vectors, vectors, 5).positions == whole.positions).all()


def test_axes_are_found_with_one_thread_of_blas(monkeypatch):
    """With more, each step of a small factorisation waits for all of them: seconds, where another program has a core."""
    original, found = np.linalg.qr, []

    def watched(matrix):
        found.extend(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
        return original(matrix)

    monkeypatch.setattr(np.linalg, "qr", watched)
    principal_axes(np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32), num_axes=8)
    assert found and set(found) == {1}
