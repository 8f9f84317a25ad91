from __future__ import annotations

import dataclasses

import numpy as np

from fieldguide.embedding.linear_head import LinearHead, fit_head, softmax
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.recipes.transfer import Transfer


def made_data(count: int = 400, num_classes: int = 3) -> TrainingData:
    rng = np.random.default_rng(0)
    labels = np.arange(count) % num_classes
    values = (rng.normal(size=(num_classes, 20))[labels] + rng.normal(size=(count, 20)) * 1.5).astype(np.float32)
    nothing = Examples(np.empty((0, 20), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    return TrainingData(Examples(values, labels, np.arange(count)), nothing, num_classes=num_classes, seed=0)


def test_out_of_fold_answers_of_a_sampled_training_part_come_from_a_head_of_all_the_others(monkeypatch):
    monkeypatch.setattr(Transfer, "weights", lambda self: {})
    data = made_data()
    fitted = Transfer(max_cross_validated=100, strengths=(0.1,)).fit(data)
    sample = fitted.out_of_fold.positions
    assert 90 <= len(sample) <= 110 and set(fitted.out_of_fold.folds.tolist()) == {0}
    x, y = data.train.values, data.train.labels
    rest = np.setdiff1d(np.arange(len(y)), sample)
    # Means and deviations are those of all rows: not quite those of the rest.
    expected = softmax(fit_head(x[rest], y[rest], num_classes=3, strength=0.1).logits(x[sample]))
    assert np.abs(fitted.out_of_fold.probabilities - expected).max() < 0.02
    whole = fit_head(x, y, num_classes=3, strength=0.1)
    ours = LinearHead(fitted.head_kernel, fitted.head_bias)
    assert np.abs(softmax(ours.logits(x)) - softmax(whole.logits(x))).max() < 5e-3


def test_a_small_training_part_is_held_out_fold_by_fold(monkeypatch):
    monkeypatch.setattr(Transfer, "weights", lambda self: {})
    data = made_data(150)
    fitted = Transfer(strengths=(0.1,)).fit(data)
    assert fitted.out_of_fold.positions.tolist() == list(range(150))
    assert np.bincount(fitted.out_of_fold.folds).tolist() == [30] * 5
    relabelled = dataclasses.replace(data.train, labels=np.roll(data.train.labels, 1))
    again = Transfer(strengths=(0.1,)).fit(dataclasses.replace(data, train=relabelled))
    assert not np.allclose(again.out_of_fold.probabilities, fitted.out_of_fold.probabilities)
