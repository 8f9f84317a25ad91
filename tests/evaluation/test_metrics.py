"""The metrics against hand arithmetic, scikit-learn and scipy."""

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from fieldguide.errors import DatasetError
from fieldguide.evaluation import metrics
from fieldguide.records import Evaluation


def evaluation(labels, probabilities, class_names=None, **more) -> Evaluation:
    probabilities = np.array(probabilities, dtype=np.float32)
    return Evaluation(
        part="test",
        class_names=tuple(class_names or "abcdefghij"[: probabilities.shape[1]]),
        labels=np.array(labels, dtype=np.int64),
        probabilities=probabilities,
        paths=tuple(f"{i}.jpg" for i in range(len(labels))),
        **more,
    )


def random_evaluation(num_classes: int, num_images: int = 300, seed: int = 0, **more) -> Evaluation:
    random = np.random.default_rng(seed)
    labels = random.integers(0, num_classes, num_images)
    logits = random.normal(size=(num_images, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return evaluation(labels, probabilities.round(2), [f"class {c}" for c in range(num_classes)], **more)


@pytest.fixture
def four_pictures() -> Evaluation:
    # Predicted 0, 0, 1, 1: three of four are right; the third is wrong.
    return evaluation([0, 0, 0, 1], [[0.9, 0.1], [0.6, 0.4], [0.25, 0.75], [0.5 - 1e-3, 0.5 + 1e-3]])


@pytest.mark.parametrize(("num_correct", "num_images"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 10), (1974, 2000)])
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_wilson_interval_equals_that_of_scipy(num_correct, num_images, confidence):
    expected = binomtest(num_correct, num_images).proportion_ci(confidence, method="wilson")
    found = metrics.wilson_interval(num_correct, num_images, confidence)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0.0 <= found[0] <= num_correct / num_images <= found[1] <= 1.0


def test_figures_by_hand(four_pictures):
    assert metrics.accuracy(four_pictures) == 0.75
    assert metrics.confusion_matrix(four_pictures).tolist() == [[2, 1], [0, 1]]
    first, second = metrics.per_class(four_pictures)
    assert first == {
        "class_name": "a",
        "precision": 1.0,
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(0.8),
        "support": 3,
        # Class a scores 0.9, 0.6, 0.25 against one other picture at 0.499: two of three pairs are in order.
        "auc": pytest.approx(2 / 3),
    }
    assert (second["precision"], second["recall"], second["support"]) == (0.5, 1.0, 1)
    assert metrics.averages(four_pictures)["macro"]["precision"] == 0.75
    assert metrics.averages(four_pictures)["weighted"]["precision"] == pytest.approx((3 * 1.0 + 1 * 0.5) / 4)
    expected = -(math.log(0.9) + math.log(0.6) + math.log(0.25) + math.log(0.501)) / 4
    assert metrics.log_loss(four_pictures) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_figures_equal_those_of_scikit_learn(num_classes):
    e = random_evaluation(num_classes)
    assert (metrics.confusion_matrix(e) == sklearn_metrics.confusion_matrix(e.labels, e.predicted)).all()
    for kind, found in metrics.averages(e).items():
        expected = sklearn_metrics.precision_recall_fscore_support(e.labels, e.predicted, average=kind, zero_division=0)
        assert list(found.values()) == pytest.approx(expected[:3])
    for c, row in enumerate(metrics.per_class(e)):
        assert row["auc"] == pytest.approx(sklearn_metrics.roc_auc_score(e.labels == c, e.probabilities[:, c]))
    assert metrics.roc_auc(e) == pytest.approx(np.mean([row["auc"] for row in metrics.per_class(e)]))
    assert metrics.top_k_accuracy(e, 1) == metrics.accuracy(e)
    assert metrics.top_k_accuracy(e, num_classes) == 1.0


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_top_k_accuracy_equals_that_of_scikit_learn(k):
    e = random_evaluation(7)
    without_ties = e.probabilities - 1e-6 * np.arange(7)  # the first of equal classes wins, as in argmax
    expected = sklearn_metrics.top_k_accuracy_score(e.labels, without_ties, k=k)
    assert metrics.top_k_accuracy(e, k) == pytest.approx(expected)


def test_log_loss_of_a_certain_error_is_finite():
    e = evaluation([0, 1], [[0.0, 1.0], [0.0, 1.0]])
    assert metrics.log_loss(e) == pytest.approx(-math.log(np.finfo(np.float32).eps) / 2)


def test_a_class_without_pictures_is_undefined_and_left_out_of_averages():
    # Class c has no picture but is predicted once; class d has one picture and is never predicted.
    e = evaluation([0, 1, 0, 3], [[0.7, 0.1, 0.1, 0.1], [0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.4, 0.3, 0.2, 0.1]])
    a, b, c, d = metrics.per_class(e)
    assert (a["precision"], a["recall"]) == (0.5, 0.5)
    assert (b["precision"], b["recall"], b["auc"]) == (1.0, 1.0, 1.0)
    assert (c["precision"], c["recall"], c["f1"], c["auc"]) == (0.0, None, 0.0, None)
    assert (d["precision"], d["recall"], d["f1"]) == (None, 0.0, 0.0)
    assert metrics.averages(e)["macro"]["precision"] == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    summary = metrics.summarize(e)
    assert summary["top_k"] == {"3": pytest.approx(0.75)}
    json.dumps([summary, metrics.details(e)], allow_nan=False)


def test_one_class_alone_has_no_area_under_the_curve():
    e = evaluation([1, 1], [[0.2, 0.8], [0.6, 0.4]])
    assert metrics.roc_auc(e) is None
    assert metrics.summarize(e)["roc_auc"] is None


def test_summary_names_what_scripts_rely_on(four_pictures):
    summary = metrics.summarize(four_pictures)
    assert summary["accuracy"] == 0.75
    assert summary["interval"] == pytest.approx(list(metrics.wilson_interval(3, 4)))
    assert summary["num_images"] == 4
    assert summary["method"] == "held out"
    assert summary["top_k"] == {}
    assert summary["without_leaks"] is None
    assert summary["num_leaked"] == 0
    assert summary["times_scored"] is None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_summary_gives_top_3_from_four_classes_and_top_5_from_six():
    assert list(metrics.summarize(random_evaluation(3))["top_k"]) == []
    assert list(metrics.summarize(random_evaluation(4))["top_k"]) == ["3"]
    assert list(metrics.summarize(random_evaluation(6))["top_k"]) == ["3", "5"]


def test_score_without_leaks_leaves_the_copies_out():
    e = evaluation([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.1, 0.9]], leaked=(0,), times_scored=2)
    summary = metrics.summarize(e)
    assert summary["accuracy"] == pytest.approx(2 / 3)
    assert summary["without_leaks"]["accuracy"] == 0.5
    assert summary["without_leaks"]["num_images"] == 2
    assert (summary["num_leaked"], summary["times_scored"]) == (1, 2)


def test_where_every_picture_is_a_copy_there_is_no_score_without_them():
    assert metrics.summarize(evaluation([0], [[0.9, 0.1]], leaked=(0,)))["without_leaks"] is None


def test_details_are_plain_lists(four_pictures):
    found = metrics.details(four_pictures)
    assert found["confusion_matrix"] == [[2, 1], [0, 1]]
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    "function",
    [metrics.accuracy, metrics.log_loss, metrics.averages, metrics.summarize, lambda e: metrics.top_k_accuracy(e, 1)],
)
def test_an_empty_part_is_an_error_that_says_so(function):
    with pytest.raises(DatasetError, match="the test part has no picture"):
        function(evaluation([], np.zeros((0, 2))))


def test_interval_of_no_picture_is_an_error():
    with pytest.raises(DatasetError, match="nothing to score"):
        metrics.wilson_interval(0, 0)
