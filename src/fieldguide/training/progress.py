"""Keras's callback for the bar: epoch, step, images per second, loss, validation accuracy, best so far, time left."""

from __future__ import annotations

from collections.abc import Callable

import keras

from fieldguide.progress import progress_bar
from fieldguide.training.best_weights import BestWeights
from fieldguide.training.budget import TimeBudget


class ProgressBar(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """One bar over all epochs.

    Args:
        best: whose history is shown.
        num_images: to learn from.
        steps: in an epoch.
        first: steps done before.
        epochs: how many there will be; not known where there is a budget.
        budget: the clock that ends training, or None.
        work_of_epoch: what an epoch, counted from 0, costs by any scale; all cost the same when None. Not asked with a budget.
    """

    def __init__(
        self,
        best: BestWeights,
        *,
        num_images: int,
        steps: int,
        first: int,
        epochs: int,
        budget: TimeBudget | None,
        work_of_epoch: Callable[[int], float] | None = None,
    ) -> None:
        super().__init__()
        self._epochs, self._work_of_epoch = epochs, work_of_epoch if budget is None else None
        self._later_images = 0.0  # of the epochs after this one, as many of this one's as take as long
        self._best, self._images_per_step, self._steps, self._budget = best, num_images / steps, steps, budget
        self._of_epochs = f"/{epochs}" if budget is None else ""
        self._step = first % steps  # of the epoch
        self._epoch = first // steps
        done, total = first * self._images_per_step, num_images * (epochs if budget is None else 1)
        self._bar = progress_bar(total, title="epoch 1", unit="images", leave=True, initial=done)
        self._shown: dict[str, str] = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the epoch, and how much work comes after it."""
        self._epoch = epoch
        if self._work_of_epoch is not None:
            later = sum(self._work_of_epoch(e) for e in range(epoch + 1, self._epochs)) / self._work_of_epoch(epoch)
            self._later_images = later * self._images_per_step * self._steps

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Moves the bar on."""
        self._step += 1
        self._bar.set_description(f"epoch {self._epoch + 1}{self._of_epochs} step {self._step}/{self._steps}", refresh=False)
        self._shown["loss"] = f"{(logs or {})['loss']:.3f}"
        self._bar.set_postfix(self._shown, refresh=False)
        if self._budget is not None:  # what there will be is reckoned from the share of the time that has passed
            self._bar.total = max(self._bar.n + self._images_per_step, self._bar.n / max(self._budget.share, 1e-3))
        elif self._work_of_epoch is not None:
            self._bar.to_come = self._later_images + (self._steps - self._step) * self._images_per_step
        self._bar.update(self._images_per_step)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Adds the validation accuracies, to be seen with the next batch."""
        self._step = 0
        if "val_accuracy" not in (logs or {}):
            return
        self._shown["val accuracy"] = f"{100 * (logs or {})['val_accuracy']:.1f}%"
        if self._best.best_epoch:
            self._shown["best"] = f"{100 * self._best.history[self._best.best_epoch - 1]['val_accuracy']:.1f}%"
        self._bar.set_postfix(self._shown, refresh=False)

    def close(self) -> None:
        """Ends the bar, also where training was interrupted."""
        self._bar.close()
