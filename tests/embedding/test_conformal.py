from __future__ import annotations

import numpy as np
import pytest

from fieldguide.embedding.conformal import prediction_sets, set_threshold
from fieldguide.embedding.linear_head import softmax
from fieldguide.errors import RecipeError


def test_the_threshold_is_the_rank_that_vovk_gives():
    # (19 + 1) * 0.05 = 1: the smallest of 19. With 18 no picture's probability is small enough to promise 95 %.
    scores = np.arange(19, 0, -1) / 20
    assert set_threshold(scores, 0.95) == 0.05
    assert set_threshold(scores[:18], 0.95) == 0.0
    assert set_threshold(scores, 0.5) == 0.5


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_sets_hold_the_label_as_often_as_was_asked_even_if_the_head_is_too_sure(coverage):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8000, 5)) * 1.5
    labels = (rng.random((8000, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)
    probabilities = softmax(3 * logits)
    half = np.arange(8000) < 4000
    threshold = set_threshold(probabilities[half, labels[half]], coverage)
    sets = prediction_sets(probabilities[~half], threshold)
    assert sets[np.arange(4000), labels[~half]].mean() == pytest.approx(coverage, abs=0.015)


def test_the_top_class_always_belongs():
    sets = prediction_sets(np.array([[0.5, 0.3, 0.2], [0.95, 0.03, 0.02]]), 0.9)
    assert sets.tolist() == [[True, False, False], [True, False, False]]


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1, float("nan")])
def test_a_coverage_that_cannot_be_is_refused(coverage):
    with pytest.raises(RecipeError, match=r"0\.95 is usual"):
        set_threshold(np.ones(100), coverage)
