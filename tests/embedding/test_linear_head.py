from __future__ import annotations

import numpy as np
import pytest

from fieldguide.data.split import fold_numbers
from fieldguide.embedding import linear_head
from fieldguide.embedding.linear_head import Scaling, cross_validate, fit_head, fit_subsets, softmax


def made_data(count=240, size=12, num_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % num_classes
    centers = rng.normal(size=(num_classes, size))
    return (centers[labels] + rng.normal(size=(count, size)) * 1.5 + 3).astype(np.float32), labels


@pytest.mark.parametrize("strength", [0.01, 1.0])
def test_the_head_equals_scikit_learns(strength):
    from sklearn.linear_model import LogisticRegression

    x, y = made_data()
    head = fit_head(x, y, num_classes=3, strength=strength)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = LogisticRegression(C=strength, max_iter=1000, tol=1e-8).fit(z, y).predict_proba(z)
    assert np.abs(softmax(head.logits(x)) - expected).max() < 2e-3


@pytest.mark.parametrize(("count", "size"), [(40, 100), (99, 100), (6, 300)])
def test_fewer_pictures_than_numbers_in_an_embedding_give_scikit_learns_head_too(count, size):
    from sklearn.linear_model import LogisticRegression

    x, y = made_data(count=count, size=size)
    x[:, 3] = 2.0  # a column that says nothing
    z = x - x.mean(axis=0)
    z /= np.where(x.std(axis=0) < 1e-6, 1, x.std(axis=0))
    expected = LogisticRegression(C=0.1, max_iter=1000, tol=1e-8).fit(z, y)
    head, new = fit_head(x, y, num_classes=3, strength=0.1), made_data(count=30, size=size, seed=1)[0]
    scaled = (new - x.mean(axis=0)) / np.where(x.std(axis=0) < 1e-6, 1, x.std(axis=0))
    scaled[:, 3] = 0.0
    new[:, 3] = 2.0
    assert np.abs(softmax(head.logits(new)) - expected.predict_proba(scaled)).max() < 2e-3


def test_pictures_that_are_all_alike_give_the_shares_of_the_classes():
    head = fit_head(np.ones((8, 20), np.float32), np.array([0, 0, 0, 0, 0, 0, 1, 1]), num_classes=2, strength=1.0)
    assert softmax(head.logits(np.ones((1, 20))))[0] == pytest.approx([0.75, 0.25], abs=1e-3)


def test_rows_in_chunks_and_in_half_precision_give_the_same_head(monkeypatch, tmp_path):
    x, y = made_data()
    whole = fit_head(x, y, num_classes=3, strength=0.1)
    monkeypatch.setattr(linear_head, "_ROWS_PER_CHUNK", 50)
    mapped = np.memmap(tmp_path / "x", np.float16, "w+", shape=x.shape)
    mapped[:] = x
    chunked = fit_head(mapped, y, num_classes=3, strength=0.1)
    assert np.abs(softmax(whole.logits(x)) - softmax(chunked.logits(x))).max() < 5e-3


def test_the_heads_are_the_same_to_the_bit_whatever_the_number_of_threads(monkeypatch):
    x, y = made_data(count=900)
    monkeypatch.setattr(linear_head, "_BYTES_PER_BLOCK", 4 * 12 * 100)  # nine blocks
    kernels = []
    for count in (1, 2, 5):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        kernels.append(fit_head(x, y, num_classes=3, strength=0.1).kernel)
    assert np.array_equal(kernels[0], kernels[1]) and np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize("most_turned", [16_384, 100])
def test_a_fit_that_starts_at_its_end_has_nothing_to_do(monkeypatch, most_turned):
    x, y = made_data()
    monkeypatch.setattr(linear_head, "_ROWS_PER_CHUNK", most_turned)
    subsets = np.stack([np.arange(240) % 5 != 0, np.arange(240) % 5 != 1], axis=1)
    asked = []
    losses = linear_head._log_losses
    monkeypatch.setattr(linear_head, "_log_losses", lambda *arguments: asked.append(1) or losses(*arguments))
    heads = fit_subsets(x, y, subsets, num_classes=3, strength=0.1)
    from_zero = len(asked)
    again = fit_subsets(x, y, subsets, num_classes=3, strength=0.1, start=heads)
    assert len(asked) - from_zero <= from_zero / 2
    for head, other in zip(heads, again, strict=True):
        assert softmax(other.logits(x)) == pytest.approx(softmax(head.logits(x)), abs=1e-3)


def test_out_of_fold_predictions_come_from_models_that_did_not_see_the_picture():
    # Labels are pure chance: whoever had seen a picture would know it; whoever had not would guess.
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 150)).astype(np.float32), rng.integers(0, 2, 200)
    folds = fold_numbers(y, np.arange(200), num_folds=5, seed=0)
    found = cross_validate(x, y, folds, num_classes=2, strengths=(1.0,))
    assert found.train_accuracy[0] > 0.95
    assert 0.35 < found.val_accuracy[0] < 0.65
    assert found.out_of_fold.shape == (200, 2) and np.allclose(found.out_of_fold.sum(axis=1), 1, atol=1e-5)


def test_the_chosen_strength_has_the_smallest_loss_and_the_path_ends_early():
    x, y = made_data(count=240, size=12)  # classes overlap: fitting ever closer must end in overconfidence
    folds = fold_numbers(y, np.arange(240), num_folds=3, seed=0)
    found = cross_validate(x, y, folds, num_classes=3, strengths=tuple(10.0**e for e in range(-4, 6)))
    assert found.val_log_loss[found.chosen] == min(found.val_log_loss)
    assert len(found.strengths) < 10


def test_subsets_are_fitted_on_their_own_rows():
    x, y = made_data()
    rows = np.arange(len(y)) < 120
    together = fit_subsets(x, y, np.stack([rows, ~rows], axis=1), num_classes=3, strength=0.1)
    assert not np.allclose(together[0].kernel, together[1].kernel, atol=1e-3)
    flipped = y.copy()
    flipped[~rows] = (flipped[~rows] + 1) % 3  # rows outside the first subset
    again = fit_subsets(x, flipped, rows[:, None], num_classes=3, strength=0.1)
    assert np.abs(softmax(together[0].logits(x)) - softmax(again[0].logits(x))).max() < 2e-3


def test_the_same_data_gives_the_same_bytes():
    x, y = made_data()
    first, second = (fit_head(x, y, num_classes=3, strength=0.1) for _ in range(2))
    assert first.kernel.tobytes() == second.kernel.tobytes()


def test_the_scaling_of_the_same_embeddings_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(60, 8)).astype("f4")
    first = Scaling.of(x)
    assert Scaling.of(x.copy()) is first
    assert Scaling.of(x.reshape(80, 6)).axes.shape == (6, 6)
    y = x.copy()
    y[3, 3] += 1
    assert Scaling.of(y).mean[3] != first.mean[3]
    monkeypatch.setattr("fieldguide.embedding.remembering._MOST_BYTES", 10)
    assert Scaling.of(x) is not Scaling.of(x)


@pytest.mark.parametrize("size", [30, 300])  # fewer numbers in an embedding than pictures, and more
def test_the_leading_axes_are_those_along_which_embeddings_differ_most(size):
    few, y = made_data(size=4)
    rng = np.random.default_rng(1)
    x = (few @ rng.normal(size=(4, size)) + 1e-3 * rng.normal(size=(len(few), size))).astype(np.float32)
    leading = Scaling.of(x).leading(4)
    assert leading.axes.shape == (size, 4) and leading.turned.shape == (len(x), 4)
    every, least = (
        softmax(fit_subsets(x, y, np.ones((len(x), 1), bool), num_classes=3, strength=0.1, scaling=scaling)[0].logits(x))
        for scaling in (Scaling.of(x), leading)
    )
    assert np.abs(every - least).max() < 0.02
    assert Scaling.of(x).leading(10_000).axes.shape == Scaling.of(x).axes.shape
