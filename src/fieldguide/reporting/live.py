"""Curves that grow in a notebook's cell while a network learns."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from fieldguide.progress import InPlace, in_notebook
from fieldguide.reporting import plots
from fieldguide.reporting.rendering import to_png

_MIN_SECONDS = 2.0  # between two drawings, which take some of the time for learning
_LEAST_ROWS = 2  # one point is no curve


class LiveCurves:
    """Loss and accuracy by epoch, as one picture in the output of the cell that is drawn anew; nothing outside a notebook.

    As a context it draws the last rows in the end, if they were passed over.

    Args:
        shown: False for curves that are not drawn there either.
    """

    def __init__(self, *, shown: bool = True) -> None:
        self._is_shown = shown and in_notebook()
        self._place = InPlace()
        self._waiting: Sequence[Mapping[str, Any]] | None = None
        self._drawn_at = -_MIN_SECONDS

    def __call__(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Takes the rows of the epochs so far, as `fieldguide.plots.curves` does."""
        if not self._is_shown or len(history) < _LEAST_ROWS:
            return
        self._waiting = tuple(history)
        if time.monotonic() - self._drawn_at >= _MIN_SECONDS:
            self._draw(self._waiting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._waiting is not None:
            self._draw(self._waiting)

    def _draw(self, history: Sequence[Mapping[str, Any]]) -> None:
        self._waiting = None
        best = plots.best_row(history)
        word = "best so far" if "val_accuracy" in history[0] else "now"
        text = f"loss and accuracy after {len(history)} epochs"
        try:
            figure = plots.epoch_curves(history, ("loss", "accuracy"), mark=(word, best))
            self._place.show({"text/plain": text, "image/png": to_png(figure)})
        except (
            Exception
        ):  # hours of learning must not hang on a picture; the report draws the curves again, and says what is wrong
            self._is_shown = False
        self._drawn_at = time.monotonic()
