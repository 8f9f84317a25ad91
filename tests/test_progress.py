"""Progress in a terminal, a log and the kernel of a notebook."""

from __future__ import annotations

import io
import sys
import types

import pytest

from fieldguide import progress
from fieldguide.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tqdm.std.time", clock)
    return clock


def work(clock: Clock, *, steps: int, seconds: float) -> None:
    with progress_bar(100 * steps, title="scan", unit="pictures") as bar:
        bar._time = clock
        bar.start_t = bar.last_print_t = clock.now
        for _ in range(steps):
            clock.now += seconds
            bar.update(100)


def test_a_terminal_gets_a_bar_that_goes_away(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    work(clock, steps=20, seconds=1)
    text = sys.stderr.getvalue()
    assert "scan:  50%" in text and "pictures/s" in text
    assert text.split("\r")[-2].strip() == ""


def test_a_log_gets_a_line_each_half_minute_and_one_at_the_end(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    work(clock, steps=20, seconds=5)
    assert sys.stderr.getvalue().splitlines() == [
        "scan: 30 %, 600 of 2,000 pictures, 20.0 pictures/s, 01:10 left",
        "scan: 60 %, 1,200 of 2,000 pictures, 20.0 pictures/s, 00:40 left",
        "scan: 90 %, 1,800 of 2,000 pictures, 20.0 pictures/s, 00:10 left",
        "scan: 2,000 pictures in 01:40",
    ]


@pytest.mark.parametrize("place", [io.StringIO, Terminal])
def test_the_time_left_goes_by_what_is_to_come_where_that_is_known(monkeypatch, clock, place):
    monkeypatch.setattr(sys, "stderr", place())
    with progress_bar(100, title="train", unit="images") as bar:
        bar._time = clock
        bar.start_t = bar.last_print_t = clock.now
        bar.to_come = 180.0  # 60 more, each as long as three of these
        clock.now += 40
        bar.update(40)
    assert "03:00 left" in sys.stderr.getvalue() or "[00:40<03:00, 1.00 images/s" in sys.stderr.getvalue()


def test_a_log_gets_nothing_for_what_is_quick(monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    work(clock, steps=20, seconds=1)
    assert sys.stderr.getvalue() == ""


def test_what_is_not_wanted_is_not_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress_bar(10, title="scan", unit="pictures", shown=False) as bar:
        bar.update(10)
    assert sys.stderr.getvalue() == ""


def test_a_notebook_gets_one_output_that_is_updated_in_place(notebook, monkeypatch, clock):
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert progress.in_notebook()
    work(clock, steps=20, seconds=1)
    assert sys.stderr.getvalue() == ""
    assert '<progress value="1000" max="2000"' in notebook[10]["text/html"]
    assert "50 %, 1,000 of 2,000 pictures" in notebook[10]["text/plain"]
    assert notebook[-1] == {
        "text/plain": "scan: 2,000 pictures in 00:20",
        "text/html": "<small>scan: 2,000 pictures in 00:20</small>",
    }


def test_a_script_under_ipython_is_no_notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert not progress.in_notebook()
