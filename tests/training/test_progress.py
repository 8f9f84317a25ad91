"""The bar of a training whose pictures grow says from the start how long it will take."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace

import pytest

from fieldguide import training

training.import_tensorflow()

from fieldguide.training.progress import ProgressBar  # noqa: E402


def lefts(monkeypatch: pytest.MonkeyPatch, first: int) -> list[tuple[float, float]]:
    """What the bar says is left, and what is, in seconds: 4 epochs of 5 steps, each epoch slower than the one before."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    now, said = 0.0, []
    monkeypatch.setattr("tqdm.std.time", lambda: now)
    seconds = [10.0, 20.0, 40.0, 60.0]  # a step
    best = SimpleNamespace(best_epoch=0, history=[])
    bar = ProgressBar(
        best, num_images=50, steps=5, first=first, epochs=4, budget=None, work_of_epoch=lambda epoch: 7 * seconds[epoch]
    )
    bar._bar._time, bar._bar.mininterval = lambda: now, 0.0  # a line a step
    bar._bar.start_t = bar._bar.last_print_t = now
    for step in range(first, 20):
        if step % 5 == 0 or step == first:
            bar.on_epoch_begin(step // 5)
        now += seconds[step // 5]
        bar.on_train_batch_end(step % 5, {"loss": 1.0})
        left = 5 * sum(seconds[step // 5 + 1 :]) + (4 - step % 5) * seconds[step // 5]
        shown = re.findall(r"(\d+):(\d+) left", sys.stderr.getvalue())
        said.append((60.0 * int(shown[-1][0]) + int(shown[-1][1]) if shown else -1.0, left))
        if step % 5 == 4:
            bar.on_epoch_end(step // 5, {})
    bar.close()
    return said


@pytest.mark.parametrize("first", [0, 7])
def test_it_reckons_with_larger_pictures_later(monkeypatch: pytest.MonkeyPatch, first: int) -> None:
    said = lefts(monkeypatch, first)
    for shown, left in said[1:3]:
        assert shown == pytest.approx(left, rel=0.05)
