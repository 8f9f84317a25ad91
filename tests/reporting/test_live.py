"""A cell of a notebook shows the curves while they grow."""

from __future__ import annotations

import io
import sys
import types
from typing import Any

import pytest
from PIL import Image

from fieldguide.reporting import live
from fieldguide.reporting.live import LiveCurves

ROWS = [
    {"epoch": n, "loss": 1 / n, "accuracy": 1 - 0.5 / n, "val_loss": 1.1 / n, "val_accuracy": 1 - 0.6 / n} for n in range(1, 7)
]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a notebook is given to show, one after the other in one place."""
    bundles: list[dict[str, Any]] = []

    class Handle:
        def update(self, bundle: dict[str, Any], raw: bool) -> None:
            assert raw
            bundles.append(bundle)

    def display(bundle: dict[str, Any], raw: bool, display_id: bool) -> Handle:
        assert not bundles, "displayed once, updated from then on"
        bundles.append(bundle)
        return Handle()

    kernel = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel="here"), version_info=(9, 0))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return bundles


def test_they_are_drawn_anew_but_not_for_each_quick_epoch(shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [100.0]
    monkeypatch.setattr(live, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))
    with LiveCurves() as curves:
        for count in range(1, 7):
            curves(ROWS[:count])
            seconds[0] += 0.9
        assert [bundle["text/plain"][-8:] for bundle in shown] == ["2 epochs", "5 epochs"]
    assert [bundle["text/plain"][-8:] for bundle in shown] == ["2 epochs", "5 epochs", "6 epochs"]
    first, last = (Image.open(io.BytesIO(bundle["image/png"])) for bundle in (shown[0], shown[-1]))
    assert first.size == last.size and first.size[0] > first.size[1]
    assert shown[0]["image/png"] != shown[-1]["image/png"]


def test_without_a_validation_part_there_is_one_line_less(shown: list[dict[str, Any]]) -> None:
    LiveCurves()([{name: row[name] for name in ("epoch", "loss", "accuracy")} for row in ROWS])
    assert len(shown) == 1


def test_nothing_is_drawn_where_it_is_not_wanted(shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with LiveCurves(shown=False) as curves:
        curves(ROWS)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    with LiveCurves() as curves:
        curves(ROWS)
    assert shown == []
