"""Odd pictures: dark, bright, blurred, nearly empty, tiny, stretched, by what the scan measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fieldguide.data.looks import Looks
from fieldguide.data.scan import Facts

_MOST = 0.10  # share of the folder: what is more frequent is the nature of the pictures, and not reported


@dataclass(frozen=True)
class Oddity:
    """A way in which some pictures differ from most."""

    kind: str
    text: str  # completes "N pictures ..."
    positions: tuple[int, ...]


# Kind, what it means in words, and the limit. Half of the light that a screen can show is a brightness of 0.5.
_LOOKS: tuple[tuple[str, str, Callable[[Looks], bool]], ...] = (
    ("dark", "nearly black: 95 % of their pixels are darker than a quarter of white", lambda k: k.brightest < 0.25),
    ("bright", "nearly white: 95 % of their pixels are brighter than four fifths of white", lambda k: k.darkest > 0.8),
    ("blurred", "without a sharp edge, even where they are sharpest", lambda k: k.sharpness < 0.1),
    (
        "low_information",
        "nearly empty: hardly any difference between their pixels",
        lambda k: k.contrast < 0.03 or k.entropy < 2,
    ),
)
_TINY = 32  # pixels on the shorter side
_STRETCHED = 3.0  # longer side by shorter side; the network sees every picture squeezed to a square


def oddities(facts: Sequence[Facts]) -> Iterator[Oddity]:
    """The kinds that apply to some pictures, but not to so many that it is their nature."""
    for kind, text, is_odd in _LOOKS:
        yield from _rare(kind, text, [f.looks is not None and is_odd(f.looks) for f in facts])
    shorter = np.array([min(f.size) for f in facts])
    longer = np.array([max(f.size) for f in facts])
    limit = max(_TINY, int(np.median(shorter)) // 10) if len(facts) else _TINY
    yield from _rare("tiny", f"with a shorter side below {limit} px", (shorter < limit).tolist())
    is_stretched = (longer > _STRETCHED * np.maximum(shorter, 1)).tolist()
    yield from _rare(
        "aspect", f"more than {_STRETCHED:.0f} times as long as wide; the network sees them squeezed", is_stretched
    )


def _rare(kind: str, text: str, is_odd: Sequence[bool]) -> Iterator[Oddity]:
    positions = tuple(i for i, odd in enumerate(is_odd) if odd)
    if 0 < len(positions) <= max(1, _MOST * len(is_odd)):
        yield Oddity(kind, text, positions)
