"""What every recipe hands back: a network, its weights, a head, and how it went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.models.operations import Network

if TYPE_CHECKING:
    from fieldguide.recipes.recipe import Recipe


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions for training pictures by models that did not see them."""

    positions: NDArray[np.int64]  # of the pictures, in the order they were given to `fit`
    probabilities: NDArray[np.float32]  # (len(positions), num_classes)
    folds: NDArray[np.int64]  # (len(positions),); the fold that held each picture out


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained network, ready to be bundled.

    Attributes:
        network: what is needed, with the weights, to build it again.
        weights: all but the head's, named as `models.keras_operations.get_weights` names them.
        graph: the network as a frozen TensorFlow graph, uint8 pixels -> embedding, where its architecture is none of ours.
        head_kernel: (embedding size, num_classes).
        head_bias: (num_classes,).
        history: one row per epoch, or per strength of the regularisation path.
        notes: what a reader of the run should know.
        interrupted: the signal by which the user ended training early, SIGINT or SIGTERM.
        num_correct: validation pictures it names rightly, where it was chosen by them.
        made_by: the name of the recipe whose work it is, where another one was asked for.
        follow_up: a recipe that learns from pixels, to be tried next: its work ships if it does better on validation.
        work: of a network that was trained: steps, repeated_steps (lost with a process that was killed), starts.
    """

    network: Network
    weights: Mapping[str, NDArray[np.float32]]
    head_kernel: NDArray[np.float32]
    head_bias: NDArray[np.float32]
    history: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    interrupted: str | None = None
    work: Mapping[str, int] = field(default_factory=dict)
    learning_curve: tuple[Mapping[str, Any], ...] = ()  # rows of num_images, accuracy, low, high
    out_of_fold: OutOfFold | None = None
    graph: bytes | None = None
    num_correct: int | None = None
    made_by: str | None = None
    follow_up: Recipe | None = None
