"""The last result of a costly function of arrays, kept: the audit and a recipe ask for the same of the same embeddings."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")
_MOST_BYTES = 2**26  # of arrays that are compared; hashing more would take a tenth of a second


def remembers_last(function: Callable[..., Result]) -> Callable[..., Result]:
    """The same function, which computes nothing when it is called with what it was called with before.

    Arguments are arrays, compared by their bytes, or what `repr` tells apart. The result is shared: nobody may change it.
    """
    last: tuple[bytes, Result] | None = None

    @functools.wraps(function)
    def remembered(*args: Any) -> Result:
        nonlocal last
        if sum(x.nbytes for x in args if isinstance(x, np.ndarray)) > _MOST_BYTES:
            return function(*args)
        key = _key(args)
        if last is None or last[0] != key:
            last = key, function(*args)
        return last[1]

    return remembered


def _key(args: tuple[Any, ...]) -> bytes:
    digest = hashlib.sha256()  # which processors have instructions for
    for x in args:
        if isinstance(x, np.ndarray):
            digest.update(f"{x.shape} {x.dtype};".encode())
            digest.update(np.ascontiguousarray(x).data.cast("B"))
        else:
            digest.update(f"{x!r};".encode())
    return digest.digest()
