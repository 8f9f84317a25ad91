"""The environment in which every page is rendered: text is escaped, and a name that is not there is an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jinja2


def environment(*filters: Callable[..., Any], autoescape: bool = True) -> jinja2.Environment:
    """The templates of `reporting/templates`, with functions as filters under their own names.

    `autoescape` is for HTML; without it each name and sentence has to be escaped by a filter.
    """
    result = jinja2.Environment(
        loader=jinja2.PackageLoader("fieldguide.reporting", "templates"),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    for function in filters:
        result.filters[function.__name__] = function
    return result
