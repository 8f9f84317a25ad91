"""Numbers and judgements in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluation.compare import Comparison
from fieldguide.evaluation.metrics import wilson_interval
from fieldguide.records import Evaluation, Explanation, Run

PART_NAMES = {"train": "training", "val": "validation", "test": "test"}

_METHODS = {
    "held out": "Pictures kept apart from training.",
    "out-of-fold": "Cross-validation: each picture was scored by a model that had not learned from it.",
    "fitted on": "The very pictures the model learned from. Expect more than it will reach elsewhere.",
}


HOW_TO_READ_CURVES = {
    "loss": "Loss is what training makes small. Where that of validation turns up, the network learns by heart.",
    "accuracy": "A widening gap between the two means the same: training knows its own pictures too well.",
}
HOW_TO_READ_CURVES_OF_TRAINING = {
    "loss": "Loss is what training makes small. Nothing was held out, so that learning by heart would not show.",
    "accuracy": "Of pictures as they were changed and mixed, which is harder than the pictures as they are.",
}
HOW_TO_READ_PATH = {
    "accuracy": "To the left the classifier is kept simple; to the right it may follow every training picture.",
    "loss": "The strength with the lowest loss on pictures that were held out was chosen.",
}
HOW_TO_READ_LEARNING_CURVE = (
    "Where the curve still rises at its right end, more pictures will help; where it is flat, cleaner labels or "
    "another recipe will."
)


def percent(share: float | None) -> str:
    r"""0.987 -> "98.7 %". What is short of 1 is never rounded up to 100, nor more than 0 down to it.

    >>> percent(0.987), percent(1.0), percent(0.99961), percent(0.00001), percent(None)
    ('98.7\xa0%', '100\xa0%', '99.96\xa0%', '< 0.01\xa0%', '–')
    """
    if share is None:
        return "–"
    if share in (0.0, 1.0):
        return f"{100 * share:.0f}\xa0%"
    text = f"{100 * share:.1f}"
    if text in ("0.0", "100.0"):
        text = f"{math.floor(10_000 * share) / 100:.2f}".replace("0.00", "< 0.01")
    return f"{text}\xa0%"


def interval(bounds: Sequence[float]) -> str:
    """(0.981, 0.991) -> "98.1–99.1 %"."""
    low, high = (percent(bound).removesuffix("\xa0%") for bound in bounds)
    return f"{low}–{high}\xa0%"


def plain(value: Any) -> str:
    """A setting as one would type it again: 1000, 0.001, yes, "a, b"."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(plain(v) for v in value)
    if isinstance(value, float):
        return f"{value:.10g}"
    return "–" if value is None else str(value)


def decimals(value: float | None) -> str:
    """0.998 -> "0.9980"; None is a dash."""
    return "–" if value is None else f"{value:.4f}"


def duration(seconds: float) -> str:
    """12.34 -> "12.3 s"; 125 -> "2 min 5 s"; 7260 -> "2 h 1 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def number(value: Any) -> str:
    """Numbers to four digits, whole ones with a comma at the thousands; None is a dash; the rest as it is."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """How many of something.

    >>> counted(1, "test picture"), counted(1200, "picture")
    ('1 test picture', '1,200 pictures')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def score(evaluation: Evaluation) -> str:
    """One sentence: how many of how many, the share and its interval."""
    num_correct, num_images = int(evaluation.correct.sum()), len(evaluation.labels)
    part = PART_NAMES.get(evaluation.part, evaluation.part)
    were = "was" if num_correct == 1 else "were"
    return (
        f"Of {counted(num_images, f'{part} picture')} {num_correct:,} {were} classified correctly: "
        f"{percent(num_correct / num_images)} (95\xa0% interval {interval(wilson_interval(num_correct, num_images))})."
    )


def verdict(evaluations: Mapping[str, Evaluation | None]) -> tuple[str, str]:
    """The sentence a reader should take home, and the caution that belongs to it (empty where there is none)."""
    test, val, train = (evaluations.get(part) for part in ("test", "val", "train"))
    if test is not None:
        return score(test), ""
    why = "There is no test score, because the folder gives no test part. "
    if val is not None:
        return score(val), why + (
            "This is the validation score; choices were made with it, so expect a little less on new pictures."
        )
    if train is not None:
        return score(train), why + "The model learned from these very pictures, so this says little about new ones."
    return "No part was scored.", why.strip()


def method(evaluation: Evaluation) -> str:
    """How the answers were obtained, in a sentence."""
    if evaluation.method == "held out" and evaluation.part == "val":
        return "Pictures kept aside from training. Choices were made with them, so it flatters a little."
    return _METHODS.get(evaluation.method, f"{evaluation.method[:1].upper()}{evaluation.method[1:]}.")


def scored_before(times: int | None) -> str:
    """What it means that this test part has been scored so often on this machine; empty where unknown."""
    if times is None:
        return ""
    if times <= 1:
        return "Scored once on this machine."
    return (
        f"Scored {times:,} times on this machine: choices made after looking at it make this figure optimistic. "
        "Only pictures that were never looked at can tell."
    )


def curves(run: Run, best: Mapping[str, Any]) -> str:
    """What the curves show, for those who do not see them."""
    first, last = run.history[0], run.history[-1]
    over = f"Over {counted(len(run.history), 'epoch')}"
    if "val_accuracy" not in first:
        return (
            f"{over} training accuracy, of pictures as they were changed and mixed, went from "
            f"{percent(first.get('accuracy'))} to {percent(last.get('accuracy'))}. Nothing was held out; the averaged weights "
            "of the last epoch were kept."
        )
    return (
        f"{over} validation accuracy went from {percent(first.get('val_accuracy'))} to "
        f"{percent(best.get('val_accuracy'))} in epoch {number(best['epoch'])}, its best. "
        f"Training accuracy ended at {percent(last.get('accuracy'))}."
    )


def regularisation_path(run: Run) -> str:
    """What the regularisation path shows, for those who do not see it."""
    strengths = sorted(float(row["strength"]) for row in run.history)
    text = f"{len(strengths):,} strengths from {number(strengths[0])} to {number(strengths[-1])} were tried."
    for row in run.history:
        if row.get("chosen"):
            text += (
                f" The chosen one, {number(row['strength'])}, reached {percent(row.get('val_accuracy'))} "
                f"on validation and {percent(row.get('train_accuracy'))} on training pictures."
            )
    return text


def learning_curve(run: Run) -> str:
    """What the learning curve shows, for those who do not see it."""
    first, last = run.learning_curve[0], run.learning_curve[-1]
    return (
        f"Accuracy was {percent(first.get('accuracy'))} with {number(first['num_images'])} training pictures and "
        f"{percent(last.get('accuracy'))} with {number(last['num_images'])}."
    )


def pictures_on_page(shown: Evaluation, scored: NDArray[np.int64], num_maps: int) -> str:
    """Which pictures the page holds, and how to get to them."""
    part, count = PART_NAMES.get(shown.part, shown.part), len(shown.labels)
    if len(scored) == count:
        text = f"This page holds {'the one' if count == 1 else f'all {count:,}'} {part} picture{'' if count == 1 else 's'}."
    else:
        num_wrong, num_held = int((~shown.correct).sum()), int((~shown.correct[scored]).sum())
        errors = f"all {num_wrong:,} errors" if num_held == num_wrong else f"the worst {num_held:,} of {num_wrong:,} errors"
        rest = len(scored) - num_held
        text = f"Of {count:,} {part} pictures this page holds {errors}"
        text += f" and {rest:,} of the right answers, drawn by chance." if rest else "."
    text += " Click a number, a class, a point of a curve or a finding to see the pictures behind it"
    maps = f", {num_maps:,} of them (errors first) with where the network looked" if num_maps else ""
    return f"{text}{maps}. Arrow keys, Enter and Escape work, too."


def explanation_title(explained: Explanation) -> str:
    """What was answered, and where most of the evidence for the class asked about lies."""
    prediction = explained.prediction
    asked = next((p for name, p in prediction.probabilities.items() if name == explained.class_name), None)
    answer = f"{explained.class_name}, {percent(asked)}"
    if prediction.none_of_these:
        answer = f"none of these; nearest {prediction.nearest_class}" + (
            "" if explained.class_name == prediction.nearest_class else f"; asked about {answer}"
        )
    elif explained.class_name != prediction.nearest_class:
        answer = f"{prediction.nearest_class}, {percent(prediction.probability)}; asked about {answer}"
    return f"{answer}\n{place(explained)}" if explained.place else answer


def place(explained: Explanation) -> str:
    """As in "upper left, 61 % of the evidence for cats"; empty where it is not known."""
    if explained.place is None:
        return ""
    text = f"{explained.place}, {round_percent(explained.share)} of the evidence for {explained.class_name}"
    return f"{text}; the strongest quarter of the picture holds {round_percent(explained.region_share)}"


def round_percent(share: float | None) -> str:
    """0.614 -> "61 %": for shares that nobody needs to a tenth."""
    return "–" if share is None else f"{100 * share:.0f}\xa0%"


def usual_distance(explained: Explanation) -> str:
    """What the distances are to be held against; empty where it is not known."""
    if explained.usual_distance is None:
        return ""
    return (
        f"Distances go from 0, equal, to about 1, unrelated; half of the training pictures have another one within "
        f"{explained.usual_distance:.2f}."
    )


def points(difference: float | None) -> str:
    """0.0125 -> "+1.25": a difference of shares, in percentage points."""
    return "–" if difference is None else f"{100 * difference:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00")


def comparison(found: Comparison) -> str:
    """Whether B is better than A, in a sentence or two."""
    low, high = found.interval
    measured = (
        f"B - A is {points(found.difference)} points of accuracy (95\xa0% interval {points(low)} to {points(high)}; p = "
        f"{found.p_value:.2g}, McNemar's exact test; "
        f"{counted(found.num_images, f'{PART_NAMES.get(found.part, found.part)} picture')}, "
        f"of which {found.num_gained:,} gained and {found.num_lost:,} lost)."
    )
    if found.p_value >= 0.05:
        return f"No difference can be told from chance. {measured}"
    return f"{'B is better.' if found.difference > 0 else 'B is worse.'} {measured}"
