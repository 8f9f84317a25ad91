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


def test_they_are_drawn_anew_but_not_for_each_quick_epoch(
    notebook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [100.0]
    monkeypatch.setattr(live, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))
    with LiveCurves() as curves:
        for count in range(1, 7):
            curves(ROWS[:count])
            seconds[0] += 0.9
        assert [bundle["text/plain"][-8:] for bundle in notebook] == ["2 epochs", "5 epochs"]
    assert [bundle["text/plain"][-8:] for bundle in notebook] == ["2 epochs", "5 epochs", "6 epochs"]
    first, last = (Image.open(io.BytesIO(bundle["image/png"])) for bundle in (notebook[0], notebook[-1]))
    assert first.size == last.size and first.size[0] > first.size[1]
    assert notebook[0]["image/png"] != notebook[-1]["image/png"]


def test_without_a_validation_part_there_is_one_line_less(notebook: list[dict[str, Any]]) -> None:
    LiveCurves()([{name: row[name] for name in ("epoch", "loss", "accuracy")} for row in ROWS])
    assert len(notebook) == 1


def test_a_picture_that_cannot_be_drawn_costs_no_training(
    notebook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(figure: Any) -> bytes:
        calls.append(figure)
        raise RuntimeError("no fonts here")

    monkeypatch.setattr(live, "to_png", broken)
    with LiveCurves() as curves:
        curves(ROWS[:3])
        curves(ROWS)
    assert len(calls) == 1 and notebook == []


def test_nothing_is_drawn_where_it_is_not_wanted(notebook: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    with LiveCurves(shown=False) as curves:
        curves(ROWS)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    with LiveCurves() as curves:
        curves(ROWS)
    assert notebook == []
