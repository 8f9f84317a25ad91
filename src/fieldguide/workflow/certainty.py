"""How far the answers can be trusted: learned from pictures that were held out, for every recipe alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.scan import take
from fieldguide.embedding.certainty import Certainty
from fieldguide.embedding.linear_head import LinearHead, softmax
from fieldguide.embedding.novelty import FittedNovelty, fit_novelty
from fieldguide.embedding.temperature import at_temperature, fit_temperature
from fieldguide.evaluation.metrics import NUM_BINS, expected_calibration_error
from fieldguide.recipes.fitted import Fitted
from fieldguide.records import Split


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Pictures that were not learned from when they were answered.

    Attributes:
        certainty: what they taught; it ships.
        positions: (num_held_out,); of the pictures in the split.
        probabilities: (num_held_out, num_classes), at the fitted temperature.
        novelties: (num_held_out,).
        facts: for the run's record, JSON-ready, and empty where there are no such pictures: `temperature`, `num_held_out`,
            `calibration_error` before and after the temperature, `num_bins`, `reject`, `is_share_known`, and
            `near_strangers` (None with fewer than three classes): `caught`, the mean over the classes of the share of its
            pictures that would be turned away if the classifier had never seen that class, and `per_class`.
    """

    certainty: Certainty
    positions: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    novelties: NDArray[np.float32]
    facts: dict[str, Any]


def learn_from_held_out(fitted: Fitted, used: Split, embeddings: NDArray[Any], *, reject: float) -> HeldOut:
    """Fits the temperature and the novelty.

    Out-of-fold answers are taken where the recipe gives them; otherwise those on its validation part. Where it learned from
    every picture, probabilities stay as they are, and no picture is turned away.

    Args:
        fitted: head, and out-of-fold probabilities.
        used: its `train` is what the recipe learned from, its `val` what was held out of that.
        embeddings: (num_images, embedding_size), of all pictures of the split by the network that ships.
        reject: share of own pictures that may be turned away.

    Raises:
        RecipeError: if the share is out of range.
    """
    labels = used.labels
    if fitted.out_of_fold is None and not len(used.val):
        nothing = np.empty((0, len(used.class_names)), np.float32)
        return HeldOut(Certainty(), np.empty(0, np.int64), nothing, np.empty(0, np.float32), {})
    if fitted.out_of_fold is not None:
        measured, learned_from = used.train[fitted.out_of_fold.positions], used.train
        raw = fitted.out_of_fold.probabilities
        folds = np.full(len(learned_from), -1)
        folds[fitted.out_of_fold.positions] = fitted.out_of_fold.folds
    else:
        measured, learned_from = used.val, np.union1d(used.train, used.val)
        head = LinearHead(fitted.head_kernel, fitted.head_bias)
        raw = np.asarray(softmax(head.logits(take(embeddings, measured))), np.float32)
        folds = np.where(np.isin(learned_from, used.val), 0, -1)
    temperature = fit_temperature(raw, labels[measured])
    probabilities = at_temperature(raw, temperature)
    novelty = fit_novelty(
        take(embeddings, learned_from),
        labels[learned_from],
        folds,
        num_classes=len(used.class_names),
        reject=reject,
    )
    novelties = np.empty(len(used.images), np.float32)
    novelties[learned_from[novelty.positions]] = novelty.scores
    of_labels = np.sort(probabilities[np.arange(len(measured)), labels[measured]])
    return HeldOut(
        certainty=Certainty(temperature, novelty.novelty, of_labels),
        positions=measured,
        probabilities=probabilities,
        novelties=novelties[measured],
        facts={
            "temperature": temperature,
            "num_held_out": len(measured),
            "calibration_error": {
                "before": expected_calibration_error(raw, labels[measured]),
                "after": expected_calibration_error(probabilities, labels[measured]),
            },
            "num_bins": NUM_BINS,
            "reject": reject,
            "is_share_known": novelty.novelty.is_share_known,
            "near_strangers": _near_strangers(novelty, used.class_names),
        },
    )


def _near_strangers(novelty: FittedNovelty, class_names: tuple[str, ...]) -> dict[str, Any] | None:
    if novelty.caught is None or np.isnan(novelty.caught).all():
        return None
    per_class = {n: None if np.isnan(c) else float(c) for n, c in zip(class_names, novelty.caught, strict=True)}
    return {"caught": float(np.nanmean(novelty.caught)), "per_class": per_class}
