from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fieldguide.errors import DatasetError
from fieldguide.evaluation.calibration import answers_when_sure, coverage_curve, reliability
from fieldguide.evaluation.metrics import expected_calibration_error, summarize, wilson_interval
from fieldguide.records import Evaluation


def evaluation_of(confidences: list[float], are_right: list[bool]) -> Evaluation:
    """Two classes; the first is the answer, with these confidences."""
    probabilities = np.array([[c, 1 - c] for c in confidences])
    labels = np.where(are_right, 0, 1)
    return Evaluation("test", ("a", "b"), labels, probabilities, tuple(str(i) for i in range(len(labels))))


def test_calibration_error_by_hand():
    # Bins of width 0.1: (0.5, 0.6] with 0.6 and 0.55, one right; (0.8, 0.9] with 0.9, right.
    e = evaluation_of([0.6, 0.55, 0.9], [True, False, True])
    assert expected_calibration_error(e.probabilities, e.labels, 10) == pytest.approx((2 * 0.075 + 0.1) / 3)
    rows = reliability(e.probabilities, e.labels, 10)
    assert [(round(r["low"], 1), r["num_images"], r["accuracy"]) for r in rows] == [(0.5, 2, 0.5), (0.8, 1, 1.0)]
    assert rows[0]["interval"] == list(wilson_interval(1, 2))


def test_answers_that_are_always_sure_and_right_have_no_calibration_error():
    assert expected_calibration_error(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([0, 1])) == 0


def test_honest_probabilities_have_little_calibration_error_and_boasting_ones_much():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    e = evaluation_of(sure.tolist(), (rng.random(20_000) < sure).tolist())
    assert expected_calibration_error(e.probabilities, e.labels) < 0.015
    boasting = evaluation_of(((1 + sure) / 2).tolist(), e.correct.tolist())
    assert expected_calibration_error(boasting.probabilities, boasting.labels) == pytest.approx(0.125, abs=0.01)


@pytest.mark.parametrize("count", [0, 2])
def test_rows_that_do_not_fit_are_refused(count):
    with pytest.raises(DatasetError, match=f"received {count} rows and"):
        expected_calibration_error(np.full((count, 2), 0.5), np.zeros(3 if count else 0, np.int64))


def test_the_coverage_curve_by_hand():
    e = evaluation_of([0.9, 0.8, 0.8, 0.6], [True, True, False, True])
    coverage, accuracy, confidence = coverage_curve(e)
    assert coverage.tolist() == [0.25, 0.75, 1.0]  # equal confidences are answered together
    assert accuracy.tolist() == [1.0, pytest.approx(2 / 3), 0.75]
    assert confidence.tolist() == [0.9, 0.8, 0.6]


def test_the_confidence_is_chosen_on_one_part_and_measured_on_the_other():
    sure = np.linspace(0.5, 0.99, 100).tolist()
    val = evaluation_of(sure, [c > 0.6 for c in sure])
    test = evaluation_of([0.55, 0.7, 0.7, 0.9], [True, True, False, True])
    rows = {row["target"]: row for row in answers_when_sure(val, test)}
    assert min(rows) == 0.95  # without turning any away 79 % are right
    row = rows[0.999]
    assert 0.6 < row["confidence"] < 0.61
    assert row["coverage"] == 0.75 and row["num_images"] == 3 and row["accuracy"] == pytest.approx(2 / 3)
    assert answers_when_sure(evaluation_of([0.7], [True]), test) == ()


def test_where_nothing_is_answered_no_accuracy_is_claimed():
    val = evaluation_of([0.99, 0.6], [True, False])
    row = answers_when_sure(val, evaluation_of([0.7, 0.8], [True, True]))[0]
    assert row["num_images"] == 0 and row["accuracy"] is None and row["interval"] is None


def test_the_summary_says_what_share_was_answered_and_how_well():
    e = evaluation_of([0.9, 0.8, 0.8, 0.6], [True, True, False, True])
    assert summarize(e)["answered"] is None
    e = dataclasses.replace(e, novelties=np.array([0.5, 1.0, 1.2, 0.9], np.float32), reject=0.01)
    assert summarize(e)["answered"] == {
        "share": 0.75, "accuracy": 1.0, "interval": list(wilson_interval(3, 3)), "num_images": 3
    }  # fmt: skip
    assert summarize(e)["accuracy"] == 0.75 and summarize(e)["calibration_error"] == pytest.approx(0.275)
    assert summarize(dataclasses.replace(e, reject=0.0))["answered"] is None
    assert summarize(dataclasses.replace(e, novelties=np.full(4, 2.0)))["answered"]["accuracy"] is None
