"""How far a long step has come: a bar in a terminal, an element of the page in a notebook, a line now and then in a log.

tqdm counts, and reckons the rate; what differs is where that is shown. In a notebook it is shown without
widgets, whose absence or version tqdm's own notebook bar depends on, and without a word on standard error.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape
from typing import Any

from tqdm.std import tqdm

_SECONDS_BETWEEN_LINES = 30.0  # in a log
_NOTEBOOK_INTERVAL = 0.2  # seconds between two updates of the page
_TERMINAL_FORMAT = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{time_left}, {rate_fmt}{postfix}]"
_FORMAT = "{desc}{percentage:.0f} %, {n:,.0f} of {total:,.0f}{unit}, {rate_fmt}, {time_left} left{postfix}"
_FINAL_FORMAT = "{desc}{n:,.0f}{unit} in {elapsed}{postfix}"


def progress_bar(total: float, *, title: str, unit: str, shown: bool = True, leave: bool = False, initial: float = 0) -> Any:
    """A tqdm bar that suits the place: `update(count)`, `set_description`, `set_postfix`, `close()`, and `with`.

    Where the units to come take longer than those that were, set `to_come`: how many units of today's kind take as long.

    Args:
        total: how many there are.
        title: what is being done.
        unit: what is counted, in the plural.
        shown: False for a bar that shows nothing.
        leave: whether the bar stays on a terminal when all is done. In a notebook one line stays in any case.
        initial: how many were done before, and do not count for the rate.
    """
    options: dict[str, Any] = {"total": total, "desc": f"{title}: ", "unit": f" {unit}", "unit_scale": True, "initial": initial}
    if not shown:
        return tqdm(**options, disable=True)
    if in_notebook():
        bar = _NotebookBar(**options, gui=True, mininterval=_NOTEBOOK_INTERVAL)
        bar.refresh()
        return bar
    if sys.stderr.isatty():
        return _Bar(**options, leave=leave, file=sys.stderr, bar_format=_TERMINAL_FORMAT)
    return _LogLines(**options, gui=True, mininterval=_SECONDS_BETWEEN_LINES, miniters=1)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook: Jupyter, Colab, VS Code and their like."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class InPlace:
    """One output of a notebook's cell, replaced by what is shown next."""

    _handle: Any = None

    def show(self, bundle: Mapping[str, Any]) -> None:
        """Shows contents by media type, as IPython takes them."""
        from IPython.display import display

        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class _Bar(tqdm):  # type: ignore[misc]  # tqdm ships no types
    """A tqdm whose formats know `time_left`, which goes by `to_come` where that is set."""

    to_come: float | None = None

    @property
    def format_dict(self) -> Any:
        """tqdm's, and `time_left`."""
        values = super().format_dict
        done, elapsed = self.n - self.initial, values["elapsed"]
        rate = values.get("rate") or (done / elapsed if elapsed else 0.0)
        to_come = max(0.0, self.total - self.n) if self.to_come is None else self.to_come
        values["time_left"] = self.format_interval(to_come / rate) if rate else "?"
        return values


class _Quiet(_Bar, ABC):
    """A tqdm that is told where to show itself; `gui=True` keeps it from writing bars."""

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Shows how far it is; tqdm calls this when `mininterval` has passed."""
        self._show(self._text(_FORMAT), is_done=False)
        return True

    def close(self) -> None:
        """Shows the end, once."""
        if not self.disable:
            super().close()
            self._show(self._text(_FINAL_FORMAT), is_done=True)

    def _text(self, bar_format: str) -> str:
        return str(self.format_meter(**{**self.format_dict, "bar_format": bar_format}))

    @abstractmethod
    def _show(self, text: str, *, is_done: bool) -> None:
        """Shows a line where this bar is shown."""


class _NotebookBar(_Quiet):
    """One output of the cell, updated in place."""

    def __init__(self, **options: Any) -> None:
        self._place = InPlace()
        super().__init__(**options)

    def _show(self, text: str, *, is_done: bool) -> None:
        bar = "" if is_done else f'<progress value="{self.n}" max="{self.total}" style="width: 12em"></progress> '
        self._place.show({"text/plain": text, "text/html": f"{bar}<small>{escape(text)}</small>"})


class _LogLines(_Quiet):
    """A line on standard error every half minute; nothing for what is quicker."""

    _has_spoken = False

    def _show(self, text: str, *, is_done: bool) -> None:
        if self._has_spoken or not is_done:
            print(text, file=sys.stderr, flush=True)
        self._has_spoken = True
