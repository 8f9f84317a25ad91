"""Ctrl-C and SIGTERM while a network learns: a flag that is looked at between two steps, so that no step is cut in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """Whether, and by which signal, the end was asked for: `SIGINT`, `SIGTERM` or None."""

    signal_name: str | None = None


@contextlib.contextmanager
def deferred_interrupts(say: Callable[[str], None]) -> Iterator[Interruption]:
    """Turns the first signal in the block into a flag; the second does what signals did before the block.

    Signals reach the main thread only; in another one the flag stays down.

    Args:
        say: called with a line when the first signal comes.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        while before:
            number, handler = before.popitem()
            # None stands for a handler that was not set by Python and cannot be set again by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def note(number: int, frame: Any) -> None:
        interruption.signal_name = signal.Signals(number).name
        restore()
        say(f"{interruption.signal_name}: after this step the best model so far is kept; once more to leave at once")

    for number in SIGNALS:
        before[number] = signal.signal(number, note)
    try:
        yield interruption
    finally:
        restore()
