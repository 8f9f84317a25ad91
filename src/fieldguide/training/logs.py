"""What an epoch reached, for others to watch: a CSV file, event files for TensorBoard, and whoever is called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from fieldguide.errors import FieldguideError
from fieldguide.storage import csv_text, write_text
from fieldguide.training.best_weights import BestWeights


class EpochLogs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Writes a row for each epoch when it has ended. It must come after `best` in the list of callbacks.

    Args:
        best: whose history is written.
        history: the CSV file, or None. A disk that is full costs the row, and not the training.
        tensorboard: the folder of the event files, or None. `tensorboard --logdir` shows it, while training goes on too.
        watch: called with all rows.
    """

    def __init__(
        self,
        best: BestWeights,
        *,
        history: Path | None,
        tensorboard: Path | None,
        watch: Callable[[Sequence[Mapping[str, Any]]], None],
    ) -> None:
        super().__init__()
        self._best, self._history, self._watch = best, history, watch
        self._writer: Any = None if tensorboard is None else tf.summary.create_file_writer(str(tensorboard))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the newest row."""
        rows = self._best.history
        if not rows or rows[-1]["epoch"] != epoch + 1:  # the loss is no number
            return
        if self._history is not None:
            with contextlib.suppress(FieldguideError):
                write_text(self._history, csv_text(rows, list(rows[-1])))
        if self._writer is not None:
            with self._writer.as_default():
                for name, value in rows[-1].items():
                    if name != "epoch":
                        tf.summary.write(name, tf.constant(value, tf.float32), step=epoch + 1, metadata=_scalar_metadata())
            self._writer.flush()
        self._watch(rows)

    def close(self) -> None:
        """Ends the event file."""
        if self._writer is not None:
            self._writer.close()


def _scalar_metadata() -> Any:
    # What `tf.summary.scalar` writes; that function itself needs the package `tensorboard`, which only the viewer does.
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    metadata.data_class = 1  # DATA_CLASS_SCALAR
    return metadata
