from __future__ import annotations

import numpy as np
import pytest

from fieldguide.embedding import gaussians
from fieldguide.embedding import novelty as module
from fieldguide.embedding.gaussians import unit_length
from fieldguide.embedding.novelty import Novelty, border, fit_novelty
from fieldguide.errors import BundleError, RecipeError

SIZE = 40


def made(count: int, *, num_classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Classes that differ in three directions and spread in ten."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(99).normal(size=(9, 3)) @ np.eye(3, SIZE) * 3
    spread = np.eye(10, SIZE, 3) * 2
    labels = np.arange(count) % num_classes
    noise = rng.normal(size=(count, 10)) @ spread + rng.normal(size=(count, SIZE)) * 0.3
    return (centers[labels] + noise + 4).astype(np.float32), labels


def folds_of(count: int, num_folds: int = 5) -> np.ndarray:
    return np.random.default_rng(1).permutation(count) % num_folds


def test_distances_are_mahalanobis_with_ledoit_and_wolfs_covariance():
    from scipy.spatial.distance import cdist
    from sklearn.covariance import LedoitWolf

    x, labels = made(60)
    fitted = fit_novelty(x, labels, folds_of(60), num_classes=3)
    z = unit_length(x).astype(float)
    means = np.stack([z[labels == c].mean(axis=0) for c in range(3)])
    covariance = LedoitWolf(assume_centered=True).fit(z - means[labels]).covariance_
    new = made(20, seed=5)[0]
    expected = cdist(unit_length(new), means, "mahalanobis", VI=np.linalg.inv(covariance))
    assert fitted.novelty.distances(new) == pytest.approx(expected, rel=1e-3)
    scores = expected.min(axis=1) / fitted.novelty.threshold
    assert fitted.novelty.scores(new) == pytest.approx(scores, rel=1e-3)


def test_held_out_scores_come_from_gaussians_that_had_not_seen_the_picture():
    x, labels = made(90)
    folds = folds_of(90)
    fitted = fit_novelty(x, labels, folds, num_classes=3)
    others = fit_novelty(x[folds != 2], labels[folds != 2], folds_of(int((folds != 2).sum())), num_classes=3)
    ours = fitted.scores[folds == 2] * fitted.novelty.threshold
    assert ours == pytest.approx(others.novelty.distances(x[folds == 2]).min(axis=1), rel=0.05)  # the shrinkage is all 90's
    assert (fitted.novelty.held_out == np.sort(fitted.scores * fitted.novelty.threshold)).mean() > 0.9


def test_the_share_of_own_pictures_turned_away_is_the_one_asked_for():
    x, labels = made(600)
    fitted = fit_novelty(x, labels, folds_of(600), num_classes=3, reject=0.05)
    new = made(4000, seed=7)[0]
    turned_away = fitted.novelty.is_strange(fitted.novelty.scores(new)).mean()
    assert 0.02 < turned_away < 0.08
    in_sample = border(np.sort(fitted.novelty.distances(x).min(axis=1)), 0.05)
    assert (fitted.novelty.distances(new).min(axis=1) > in_sample).mean() > turned_away


def test_a_stranger_is_recognised_and_a_member_is_not():
    x, labels = made(300)
    novelty = fit_novelty(x, labels, folds_of(300), num_classes=3).novelty
    rng = np.random.default_rng(3)
    strangers = rng.normal(size=(50, SIZE)) * 2 + 4  # they spread where no class does
    assert novelty.is_strange(novelty.scores(strangers)).all()
    assert not novelty.is_strange(novelty.scores(x)).any()


def test_zero_turns_no_picture_away_and_keeps_the_scale():
    x, labels = made(300)
    with_one, none = (fit_novelty(x, labels, folds_of(300), num_classes=3, reject=r).novelty for r in (0.01, 0.0))
    strangers = np.random.default_rng(3).normal(size=(50, SIZE)) * 2 + 4
    assert with_one.scores(strangers).tolist() == none.scores(strangers).tolist()
    assert not none.is_strange(none.scores(strangers)).any()


def test_a_class_left_out_is_caught_as_often_as_gaussians_without_it_say():
    x, labels = made(900, num_classes=5)
    folds = folds_of(900)
    caught = fit_novelty(x, labels, folds, num_classes=5).caught
    assert caught is not None and caught.shape == (5,)
    for c in range(5):
        rest = labels != c
        known = np.where(labels > c, labels - 1, labels)
        without = fit_novelty(x[rest], known[rest], folds[rest], num_classes=4).novelty
        assert caught[c] == pytest.approx((without.scores(x[~rest]) > 1).mean(), abs=0.1)
    assert fit_novelty(*made(90, num_classes=2), folds_of(90), num_classes=2).caught is None


def test_pictures_of_fold_minus_one_are_learned_from_and_never_measured():
    x, labels = made(200)
    folds = np.where(np.arange(200) < 120, -1, 0)
    fitted = fit_novelty(x, labels, folds, num_classes=3)
    assert fitted.positions.tolist() == list(range(120, 200))
    assert len(fitted.novelty.held_out) == 80 and not fitted.novelty.is_share_known


def test_rows_in_chunks_and_in_half_precision_give_the_same(monkeypatch, tmp_path):
    x, labels = made(300)
    whole = fit_novelty(x, labels, folds_of(300), num_classes=3).novelty
    mapped = np.memmap(tmp_path / "x", np.float16, "w+", shape=x.shape)
    mapped[:] = x
    for one in (module, gaussians):
        monkeypatch.setattr(one, "ROWS_PER_CHUNK", 64)
    chunked = fit_novelty(mapped, labels, folds_of(300), num_classes=3).novelty
    assert chunked.scores(x) == pytest.approx(whole.scores(x), rel=0.02)


def test_few_and_equal_pictures_are_no_trouble():
    x = np.repeat(np.eye(2, 8, dtype=np.float32), 3, axis=0)
    fitted = fit_novelty(x, np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2]), num_classes=2)
    assert np.isfinite(fitted.scores).all() and fitted.novelty.scores(np.ones((1, 8))) > 1
    assert np.isfinite(fitted.novelty.scores(np.zeros((1, 8)))).all()


def test_the_border_is_a_rank_among_one_more():
    assert border(np.arange(1, 100), 0.01) == 99  # 100 * 0.99
    assert border(np.arange(1, 300), 0.01) == 297
    assert border(np.arange(1, 50), 0.01) == 49  # too few: the largest


@pytest.mark.parametrize("reject", [-0.1, 0.6, float("nan")])
def test_a_share_that_cannot_be_is_refused(reject):
    with pytest.raises(RecipeError, match="between 0 and"):
        fit_novelty(*made(30), folds_of(30), num_classes=3, reject=reject)


def test_tensors_come_back_and_hostile_ones_are_refused():
    x, labels = made(60)
    novelty = fit_novelty(x, labels, folds_of(60), num_classes=3).novelty
    sizes = {"reject": 0.01, "embedding_size": SIZE, "num_classes": 3}
    again = Novelty.from_tensors(novelty.tensors(), **sizes)
    assert again.scores(x).tolist() == novelty.scores(x).tolist()
    bad = {
        "center": np.zeros(SIZE - 1, np.float32),
        "whitening": np.full((SIZE, SIZE), np.nan, np.float32),
        "class_means": np.zeros((2, SIZE), np.float32),
        "held_out": np.array([3, 1, 2], np.float32),
    }
    for name, value in bad.items():
        with pytest.raises(BundleError, match=name):
            Novelty.from_tensors({**novelty.tensors(), name: value}, **sizes)
    for value in (None, np.empty(0, np.float32), np.zeros(3)):
        tensors = {**novelty.tensors(), "held_out": value} if value is not None else {"center": novelty.center}
        with pytest.raises(BundleError, match="novelty's"):
            Novelty.from_tensors(tensors, **sizes)


@pytest.mark.parametrize("num_images", [400, 800])
def test_the_share_that_is_asked_for_is_turned_away_and_not_half_of_it(num_images: int) -> None:
    """Gaussians without a fold take its pictures for farther than those of all pictures do, here so much that the share
    was 2 and 5 %.
    """
    rng = np.random.default_rng(num_images)
    spreads = np.exp(rng.normal(size=200))

    def sample(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels = np.arange(count) % 2
        return (rng.normal(size=(count, 200)) * spreads + 40.0 * labels[:, None] + 30.0).astype("f4"), labels

    x, y = sample(num_images)
    fitted = fit_novelty(x, y, np.arange(num_images) // 2 % 5, num_classes=2, reject=0.1)
    away = (fitted.novelty.scores(sample(20_000)[0]) > 1).mean()
    assert 0.07 < away < 0.13
    assert (fitted.scores > 1).mean() == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("per_class", [1, 2, 3, 4])
@pytest.mark.parametrize("spread", [0.0, 1e-4, 1.0])
def test_very_few_pictures_and_classes_without_spread_have_finite_distances(per_class, spread):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), per_class)
    x = (rng.normal(size=(40, 64))[labels] * 10 + rng.normal(size=(len(labels), 64)) * spread).astype(np.float32)
    fitted = fit_novelty(x, labels, np.arange(len(labels)) % 3, num_classes=40)
    assert np.isfinite(fitted.distances).all() and np.isfinite(fitted.novelty.scores(x)).all()
    pair = fit_novelty(x[:6], np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 1, 2]) % max(per_class, 2), num_classes=2)
    assert np.isfinite(pair.distances).all()
