"""The architectures by name. A bundle names one of these and brings numbers; it never brings code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fieldguide.errors import BundleError
from fieldguide.models.classic import classic
from fieldguide.models.efficientnet_lite import efficientnet_lite0
from fieldguide.models.residual import residual

ARCHITECTURES: dict[str, Callable[..., Any]] = {
    "classic": classic,
    "efficientnet_lite0": efficientnet_lite0,
    "residual": residual,
}

OWN = "own"  # what a bundle names a network that its user wrote in Keras


def architecture(name: str) -> Callable[..., Any]:
    """The function that builds the architecture of that name.

    Raises:
        BundleError: if there is none.
    """
    if name == OWN:
        raise BundleError(
            "The network is one that its user wrote in Keras, and a bundle holds no code: it cannot be built again from it.\n"
            "hint: `fieldguide.load(RUN).to_keras(build)`, with the function that built it."
        )
    try:
        return ARCHITECTURES[name]
    except KeyError:
        raise BundleError(
            f"Unknown architecture {name!r}; this version knows {', '.join(sorted(ARCHITECTURES))}.\n"
            "hint: update fieldguide, or train again."
        ) from None
