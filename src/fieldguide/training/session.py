"""How a training runs, as opposed to what it learns: the bar, the lines, the checkpoints, the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldguide.training.checkpoint import Checkpoints


@dataclass(frozen=True, eq=False)
class Session:
    """What the workflow hands to a recipe beside the pictures. None of it changes what is learned, `deadline` excepted.

    Attributes:
        progress: whether a bar is shown, where standard error is a terminal or a notebook.
        say: called with a line at each event worth one.
        checkpoints: where the state is kept and taken up again; None keeps none.
        deadline: when training has to end, by `time.perf_counter`; None lets the recipe say how long it takes.
        history: a CSV file that has a row for each epoch as soon as it has ended.
        tensorboard: a folder for the same numbers as TensorBoard reads them.
        watch: called with all rows so far when an epoch has ended.
    """

    progress: bool = False
    say: Callable[[str], None] = lambda line: None
    checkpoints: Checkpoints | None = None
    deadline: float | None = None
    history: Path | None = None
    tensorboard: Path | None = None
    watch: Callable[[Sequence[Mapping[str, Any]]], None] = lambda history: None
