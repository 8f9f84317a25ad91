from __future__ import annotations

import numpy as np
import pytest

from fieldguide.auditing.content import audit_content
from fieldguide.auditing.labels import FEWEST_PER_CLASS, check_labels
from fieldguide.records import LabeledImage


def clouds(sizes: list[int], *, distance: float, seed: int = 0, size: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of one Gaussian cloud per class, and their true labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    centres = distance * np.eye(size)[: len(sizes)]
    return (centres[labels] + rng.normal(size=(len(labels), size))).astype(np.float32), labels


def flipped(labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(labels), count, replace=False)
    noisy = labels.copy()
    num_classes = labels.max() + 1
    noisy[rows] = (noisy[rows] + rng.integers(1, num_classes, count)) % num_classes
    return noisy, rows


def check(x: np.ndarray, labels: np.ndarray, num_classes: int, groups: np.ndarray | None = None):
    groups = np.arange(len(labels)) if groups is None else groups
    return check_labels(x, labels, groups, num_classes=num_classes, seed=0)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_are_named_with_their_true_class_and_their_share_is_estimated(seed):
    x, labels = clouds([120, 120, 120], distance=6, seed=seed)
    noisy, rows = flipped(labels, 18, seed)
    found = check(x, noisy, 3)
    named = found.positions[found.named]
    assert len(np.intersect1d(named, rows)) >= 17 and len(named) <= 21
    assert (found.suggested[found.named] == labels[named])[np.isin(named, rows)].mean() > 0.9
    assert 0.03 < found.noise_rate < 0.07


@pytest.mark.parametrize("distance", [6.0, 1.5])
def test_right_labels_are_hardly_named_even_where_classes_overlap(distance):
    x, labels = clouds([150, 150], distance=distance)
    found = check(x, labels, 2)
    assert len(found.named) <= 6 and found.noise_rate < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_labels_without_sense_give_finite_figures(seed):
    rng = np.random.default_rng(seed)
    for x in (rng.normal(size=(40, 8)), np.ones((40, 8))):
        labels = rng.permutation(np.arange(40) % 2)
        found = check_labels(x.astype(np.float32), labels, np.arange(40), num_classes=2, seed=0)
        assert np.isfinite(found.wrong).all() and np.isfinite(found.noise_rate) and np.isfinite(found.probabilities).all()


def test_where_every_label_is_doubted_the_classifiers_learn_from_all(monkeypatch):
    x, labels = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32), np.arange(40) % 2
    monkeypatch.setattr("fieldguide.auditing.labels._LEFT_OUT_FROM", (1e-9, 1e-9))
    found = check_labels(x, labels, np.arange(40), num_classes=2, seed=0)
    assert np.isfinite(found.wrong).all() and found.probabilities.min() > 0


def test_a_class_that_is_rare_among_very_many_pictures_is_judged_by_classifiers_that_know_it(monkeypatch):
    monkeypatch.setattr("fieldguide.auditing.labels.MOST_LEARNED_FROM", 100)
    rng = np.random.default_rng(0)
    labels = np.concatenate([np.arange(1200) % 2, np.full(10, 2)])
    x = (np.eye(3)[labels] * 8 + rng.normal(size=(len(labels), 3))).astype(np.float32)
    found = check_labels(x, labels, np.arange(len(labels)), num_classes=3, seed=0)
    assert found.wrong[labels == 2].max() < 0.1


def test_classes_too_small_are_not_judged_and_one_class_is_no_question():
    x, labels = clouds([60, 60, FEWEST_PER_CLASS - 1], distance=6)
    found = check(x, labels, 3)
    assert set(labels[found.positions]) == {0, 1} and (found.probabilities[:, 2] == 0).all()
    assert check(x[:60], labels[:60], 3) is None
    copies = np.where(labels == 1, 1_000_000, np.arange(len(labels)))  # one set of copies counts as one picture
    assert check(x, labels, 3, copies) is None


def test_more_pictures_than_are_learned_from_are_judged_all_the_same(monkeypatch):
    monkeypatch.setattr("fieldguide.auditing.labels.MOST_LEARNED_FROM", 150)
    x, labels = clouds([200, 200], distance=6)
    noisy, rows = flipped(labels, 20, 1)
    found = check(x, noisy, 2)
    assert len(found.positions) == 400 and len(found.learned_from) <= 150
    assert len(np.intersect1d(found.positions[found.named], rows)) >= 18


def test_content_finds_labels_strangers_and_classes_that_cannot_be_told_apart():
    x, labels = clouds([100, 100, 100], distance=6)
    x[labels == 2] = x[labels == 1] + np.random.default_rng(3).normal(size=(100, 24)).astype(np.float32)
    x[5] = 60 * np.eye(24, dtype=np.float32)[20]  # where no picture of any class ever was
    noisy = labels.copy()
    noisy[10:20] = 1
    images = [LabeledImage(f"{i}.jpg", int(label)) for i, label in enumerate(noisy)]
    content = audit_content(images, ["a", "b", "c"], x, np.arange(300))
    findings = {
        kind: [f for f in content.findings if f.kind == kind] for kind in ("label_error", "stranger", "confusable_classes")
    }
    named = {f.paths[0]: f for f in findings["label_error"]}
    assert len({f"{i}.jpg" for i in range(10, 20)} & set(named)) >= 5 and named["10.jpg"].suggested == "a"
    assert "5.jpg" in findings["stranger"][0].paths and len(findings["stranger"][0].paths) < 5
    assert len(findings["confusable_classes"]) == 1 and "'b' and 'c'" in findings["confusable_classes"][0].message
