"""Keras's callback for the bar: epoch, images per second, loss, validation accuracy, time left."""

from __future__ import annotations

import keras

from fieldguide.progress import progress_bar


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """One bar over all epochs."""

    def __init__(self, *, num_images: int, steps: int, epochs: int, first: int = 0) -> None:
        super().__init__()
        self._images_per_step, self._epochs = num_images / steps, epochs
        done, total = first * self._images_per_step, num_images * epochs
        self._bar = progress_bar(total, title="epoch 1", unit="images", leave=True, initial=done)
        self._shown: dict[str, str] = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Names the epoch."""
        self._bar.set_description(f"epoch {epoch + 1}/{self._epochs}", refresh=False)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the bar on."""
        self._shown["loss"] = f"{(logs or {})['loss']:.3f}"
        self._bar.set_postfix(self._shown, refresh=False)
        self._bar.update(self._images_per_step)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds the validation accuracy, to be seen with the next batch."""
        self._shown["val accuracy"] = f"{100 * (logs or {})['val_accuracy']:.1f}%"
        self._bar.set_postfix(self._shown, refresh=False)

    def close(self) -> None:
        """Ends the bar, also where training was interrupted."""
        self._bar.close()
