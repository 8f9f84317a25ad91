from __future__ import annotations

import numpy as np
import pytest

from fieldguide.embedding.linear_head import softmax
from fieldguide.embedding.temperature import at_temperature, fit_temperature


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_it_undoes_logits_that_were_multiplied(temperature):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    labels = (rng.random((20_000, 1)) > softmax(logits).cumsum(axis=1)).sum(axis=1)  # drawn from the true probabilities
    fitted = fit_temperature(softmax(logits * temperature), labels)
    assert fitted == pytest.approx(temperature, rel=0.05)
    assert np.abs(at_temperature(softmax(logits * temperature), temperature) - softmax(logits)).max() < 1e-6


def test_a_few_pictures_that_were_all_right_make_no_certainty():
    # Ten right and one shared by both classes: 10.5 of 11, whatever the head said.
    probabilities = np.tile([[0.8, 0.2]], (10, 1))
    fitted = fit_temperature(probabilities, np.zeros(10, np.int64))
    assert at_temperature(probabilities, fitted)[0, 0] == pytest.approx(10.5 / 11, abs=1e-4)


def test_the_top_class_stays_and_probabilities_of_zero_are_no_trouble():
    probabilities = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.4, 0.6]], np.float32)
    changed = at_temperature(probabilities, fit_temperature(probabilities, np.array([0, 1, 1])))
    assert np.isfinite(changed).all() and (changed.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert np.allclose(changed.sum(axis=1), 1, atol=1e-6)


def test_without_a_picture_nothing_is_changed():
    assert fit_temperature(np.empty((0, 3)), np.empty(0, np.int64)) == 1.0
