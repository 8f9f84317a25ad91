"""A matplotlib figure as PNG bytes, or as SVG that lives inside a page.

Text stays text, ink takes the page's colour (so that dark mode works), ids are unique on the page, and the same figure
gives the same bytes.
"""

from __future__ import annotations

import html
import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from fieldguide.reporting.style import BLUE, INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE_COLOURS = {INK: "currentColor", BLUE: "var(--blue)", ORANGE: "var(--orange)"}
_one_at_a_time = threading.Lock()  # matplotlib's settings and Python's warning filters belong to the whole process


def to_png(figure: Figure) -> bytes:
    """The figure on white, at its own resolution."""
    buffer = io.BytesIO()
    with _quiet_settings():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def to_svg(figure: Figure, *, name: str, title: str, text: str) -> Markup:
    """The figure as an `<svg>` element for a page that defines the colours `--blue` and `--orange`.

    Args:
        figure: drawn with the colours of `style`.
        name: prefix of the ids, unique on the page.
        title: what the figure is, for screen readers.
        text: what it shows, for those who do not see it.
    """
    buffer = io.StringIO()
    with _quiet_settings():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    view_box = _found(r'viewBox="([^"]*)"', svg)
    body = svg[svg.index("<g ") : svg.rindex("</svg>")]
    # Only inside tags: a class may be called `id="x"`, and its name is text.
    body = re.sub(r"<[^>]*>", lambda match: _page_tag(match[0], name), body)
    return Markup(
        f'<svg viewBox="{view_box}" role="img" aria-labelledby="{name}-title {name}-description">'
        f'<title id="{name}-title">{html.escape(title)}</title>'
        f'<desc id="{name}-description">{html.escape(text)}</desc>{body}</svg>'
    )


def _page_tag(tag: str, name: str) -> str:
    if tag.startswith('<g id="open:'):
        return tag.replace('id="open:', 'data-open="')  # the page's script lets it be clicked
    if tag.startswith("<g id="):
        return re.sub(r' id="[^"]*"', "", tag)  # names of groups, which nothing refers to
    tag = tag.replace("xlink:href=", "href=").replace("\n", " ")
    tag = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = re.sub(r"font-family: [^;\"]*;?\s*", "", tag)
    tag = re.sub(r"font: [^;\"]*?([\d.]+px)[^;\"]*", r"font-size: \1", tag)
    for colour, page_colour in _PAGE_COLOURS.items():
        tag = tag.replace(colour, page_colour)
    return re.sub(r"(\.\d\d)\d+", r"\1", tag)  # a hundredth of a point is finer than any screen


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"matplotlib wrote an SVG without {pattern}")
    return match[1]


@contextmanager
def _quiet_settings() -> Iterator[None]:
    import matplotlib

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "fieldguide"}
    with _one_at_a_time, warnings.catch_warnings(), matplotlib.rc_context(settings):
        # A class name in a script that DejaVu Sans lacks: boxes in the PNG, right in the page.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield
