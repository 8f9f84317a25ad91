"""The part of the report that says how far the answers can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fieldguide.embedding.temperature import at_temperature
from fieldguide.evaluation.calibration import answers_when_sure
from fieldguide.evaluation.metrics import expected_calibration_error, summarize
from fieldguide.records import Evaluation, Run
from fieldguide.reporting import certainty_plots, wording
from fieldguide.reporting.rendering import to_svg


def certainty_section(run: Run, evaluations: Mapping[str, Evaluation | None], shown: Evaluation) -> dict[str, Any]:
    """What the template shows: figures, texts, and two tables.

    Args:
        run: its `certainty` holds what was learned from held-out pictures; empty in runs of older versions.
        evaluations: by part; confidences are chosen on `val`.
        shown: the one that the report tells of.
    """
    val = evaluations.get("val")
    chosen = answers_when_sure(val, shown) if val is not None and val is not shown else ()
    calibration = _calibration(run, shown)
    return {
        "figures": [
            {
                "svg": to_svg(
                    certainty_plots.reliability_diagram(shown),
                    name="reliability",
                    title="Accuracy by confidence",
                    text=calibration,
                ),
                "reading": "On the dashed line probabilities mean what they say; below it the classifier is too sure.",
            },
            {
                "svg": to_svg(
                    certainty_plots.coverage(shown),
                    name="coverage",
                    title="Accuracy when only the surest pictures are answered",
                    text=_sure(chosen) or "Answering fewer pictures, the surest, makes fewer errors.",
                ),
                "reading": "The higher the curve lies on its left, the more a person gains by looking at the unsure ones only.",
            },
        ],
        "calibration": calibration,
        "sure": chosen,
        "strangers": _strangers(run, shown),
        "near": near_strangers(run.certainty, len(run.class_names)),
        "near_per_class": _caught_per_class(run.certainty),
    }


def _calibration(run: Run, shown: Evaluation) -> str:
    after = expected_calibration_error(shown.probabilities, shown.labels)
    part = wording.PART_NAMES.get(shown.part, shown.part)
    pictures = f"one {part} picture" if len(shown.labels) == 1 else f"{len(shown.labels):,} {part} pictures"
    text = (
        f"On the {pictures} confidence and accuracy lie {wording.percent(after)} apart on average "
        "(expected calibration error, 15 bins)."
    )
    temperature = run.certainty.get("temperature") if run.certainty else None
    if temperature is not None:
        before = expected_calibration_error(at_temperature(shown.probabilities, 1 / temperature), shown.labels)
        text += (
            f" A temperature of {temperature:.2f}, fitted on {run.certainty['num_held_out']:,} pictures that were held out of "
            f"training, makes the answers {'less sure' if temperature > 1 else 'surer'}; without it the two would lie "
            f"{wording.percent(before)} apart."
        )
    return text


def _sure(rows: tuple[dict[str, Any], ...]) -> str:
    return "; ".join(
        f"answering from {wording.percent(row['confidence'])} on: {wording.percent(row['coverage'])} of the pictures, "
        f"{wording.percent(row['accuracy'])} of them right"
        for row in rows
    )


def _strangers(run: Run, shown: Evaluation) -> str:
    if not run.certainty:
        return ""
    reject, count = run.certainty["reject"], run.certainty["num_held_out"]
    if not reject:
        return "Every picture is given a class: turning pictures away was switched off (--reject 0)."
    text = (
        "A picture that lies further from every class than pictures like yours do is named none of these; its novelty is then "
        f"above 1. The border was set so that {wording.percent(reject)} of your own pictures should be turned away"
    )
    if not run.certainty["is_share_known"]:
        return f"{text}; with only {count:,} pictures held out the real share is unknown."
    answered = summarize(shown)["answered"]
    if answered is None:
        return f"{text}."
    part = wording.PART_NAMES.get(shown.part, shown.part)
    text += f". Of the {part} pictures {wording.percent(1 - answered['share'])} were"
    if answered["accuracy"] is None:
        return f"{text}."
    right, interval = wording.percent(answered["accuracy"]), wording.interval(answered["interval"])
    return f"{text}; of those answered {right} were right ({interval})."


def _caught_per_class(certainty: Mapping[str, Any]) -> Mapping[str, float]:
    """How often the pictures of each class would be caught; empty where nothing is turned away, or it is not known."""
    if not certainty or not certainty["reject"]:
        return {}
    per_class: Mapping[str, float] = (certainty.get("near_strangers") or {}).get("per_class") or {}
    return per_class


def near_strangers(certainty: Mapping[str, Any], num_classes: int) -> str:
    """How often strangers that resemble the classes are caught, in a sentence; empty where nothing is turned away."""
    if not certainty or not certainty["reject"]:
        return ""
    near = certainty["near_strangers"]
    if near is None:
        return (
            "How often strangers that resemble your classes are caught cannot be tried out with fewer than three classes. "
            "Elsewhere most of them are not: do not rely on it."
            if num_classes < 3
            else ""
        )
    return (
        f"Strangers that resemble your classes are caught {100 * near['caught']:.0f}\xa0% of the time: each class in turn was "
        "taken for a stranger, and its pictures measured against the others."
    )
