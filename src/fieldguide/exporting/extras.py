"""Optional parts: imported where they are used, and asked for by the command that installs them."""

from __future__ import annotations

import importlib
from typing import Any

from fieldguide.errors import MissingExtraError


def needed(module: str, *, extra: str) -> Any:
    """That module.

    Raises:
        MissingExtraError: if it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"This needs {module}, which cannot be imported: {error}.\nhint: pip install 'fieldguide[{extra}]'"
        ) from error
