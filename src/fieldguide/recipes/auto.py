"""`auto`, the default: `transfer`, then `finetune` where the evidence says that it will pay."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fieldguide.recipes.finetune import Finetune
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import TrainingData
from fieldguide.recipes.transfer import Transfer

EXPECTED_SHARE = 1 / 3  # of the errors of the frozen network that fine-tuning takes away, as far as they are the network's
SMALLEST_GAIN = 0.01  # accuracy; less is not worth minutes
SHORTEST_SECONDS = 60.0  # of a budget that is worth starting TensorFlow for


@dataclass(frozen=True)
class Auto(Transfer):
    """`transfer`, with its settings; its out-of-fold answers and its learning curve say whether `finetune` follows.

    Raises:
        RecipeError: if a setting is out of range.
    """

    name: ClassVar[str] = "auto"

    def fit(self, data: TrainingData) -> Fitted:
        """What `transfer` finds, and what should follow.

        Raises:
            RecipeError: as `Transfer.fit`.
        """
        fitted = super().fit(data)
        pays, reason = will_pay(fitted.learning_curve)
        deadline = data.session.deadline
        if pays and deadline is not None and deadline - time.perf_counter() < SHORTEST_SECONDS:
            pays, reason = False, f"{reason} But less than {SHORTEST_SECONDS:.0f} s are left."
        reason = f"{'Fine-tuning' if pays else 'No fine-tuning'}: {reason}"
        data.session.say(reason)
        follow_up = Finetune(backbone=self.backbone) if pays else None
        return dataclasses.replace(fitted, notes=(*fitted.notes, reason), made_by=Transfer.name, follow_up=follow_up)


def will_pay(learning_curve: Sequence[Mapping[str, Any]]) -> tuple[bool, str]:
    """Whether fine-tuning is likely to gain more than validation can be mistaken by, and why.

    Of the errors of the frozen network some are for want of pictures: as many at least as the last doubling of the
    pictures took away. Of the others fine-tuning is expected to take away a third, a guess that
    `benchmarks/finetune.py` measures.

    Args:
        learning_curve: as `Fitted.learning_curve`: ascending, the last row is of all pictures.
    """
    last = learning_curve[-1]
    halves = [row for row in learning_curve if row["num_images"] <= 0.6 * last["num_images"]]
    rise = max(0.0, last["accuracy"] - halves[-1]["accuracy"]) if halves else 0.0
    gain = EXPECTED_SHARE * max(0.0, 1.0 - last["accuracy"] - rise)
    doubt = (last["high"] - last["low"]) / 2
    needed = max(doubt, SMALLEST_GAIN)
    curve = f"twice the pictures brought {rise:.1%}" if halves else "the pictures are too few for a learning curve"
    reason = (
        f"with the frozen network {last['accuracy']:.1%} of held-out pictures are right (± {doubt:.1%}), {curve}; "
        f"a gain of {gain:.1%} is to be expected, {'more' if gain > needed else 'no more'} than the {needed:.1%} that it takes "
        "to be worth the minutes."
    )
    return gain > needed, reason
