"""The page that shows how two runs differ: the verdict, each class, and the pictures that flipped."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fieldguide.evaluation.compare import Comparison, Flip
from fieldguide.reporting import templating, wording
from fieldguide.storage import write_text

_MOST_SHOWN = 24  # of each kind
_TITLES = {
    "gained": ("Gained", "Wrong in A, right in B."),
    "lost": ("Lost", "Right in A, wrong in B."),
    "changed": ("Changed", "Wrong in both, differently."),
}


def write_comparison(path: Path, comparison: Comparison, thumbnails: Mapping[str, bytes]) -> Path:
    """Writes one self-contained page without a script.

    Args:
        path: of the page.
        comparison: what it shows.
        thumbnails: small JPEG files by the path of their picture; `shown_flips` tells which are worth making.

    Raises:
        FieldguideError: if the file cannot be written.
    """
    environment = templating.environment(wording.percent, wording.number, wording.points)
    page = environment.get_template("comparison.html.jinja").render(
        comparison=comparison,
        verdict=wording.comparison(comparison),
        galleries=[_gallery(kind, comparison, thumbnails) for kind in _TITLES],
    )
    write_text(path, page)
    return path


def shown_flips(comparison: Comparison) -> list[Flip]:
    """The flips whose pictures the page shows: of each kind the surest."""
    return [flip for kind in _TITLES for flip in _of_kind(comparison, kind)[:_MOST_SHOWN]]


def _of_kind(comparison: Comparison, kind: str) -> list[Flip]:
    return [flip for flip in comparison.flips if flip.kind == kind]


def _gallery(kind: str, comparison: Comparison, thumbnails: Mapping[str, bytes]) -> dict[str, Any]:
    flips = _of_kind(comparison, kind)
    title, text = _TITLES[kind]
    return {
        "title": title,
        "text": text,
        "count": len(flips),
        "flips": [{"flip": flip, "source": _source(thumbnails.get(flip.path))} for flip in flips[:_MOST_SHOWN]],
        "others": [flip.path for flip in flips[_MOST_SHOWN:]],
    }


def _source(content: bytes | None) -> str | None:
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}" if content else None
