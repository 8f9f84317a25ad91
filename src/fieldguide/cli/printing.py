"""How the verbs speak: answers to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any


def say(line: str) -> None:
    """A line of progress, to standard error."""
    print(line, file=sys.stderr, flush=True)


def print_json(values: Any) -> None:
    """An answer as one line of JSON."""
    print(json.dumps(values, ensure_ascii=False))


def score_line(score: Mapping[str, Any] | None) -> str:
    """One part's accuracy with its interval and its number of pictures."""
    if score is None:
        return "no pictures"
    low, high = score["interval"]
    text = f"{score['accuracy']:.2%} (95 % interval {low:.2%} to {high:.2%}, {score['num_images']:,} pictures"
    without = score.get("without_leaks")
    text += f", {score['method']})"
    if without:
        text += f"; {without['accuracy']:.2%} without {score['num_leaked']} copies of training pictures"
    if (score.get("times_scored") or 0) > 1:
        text += f"; scored {score['times_scored']} times on this machine"
    return text
