"""The part of the report on how sure the answers are."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fieldguide.evaluation.calibration import reliability
from fieldguide.reporting import plots
from fieldguide.reporting.certainty import certainty_section, near_strangers

FACTS = {
    "temperature": 1.5,
    "num_held_out": 400,
    "calibration_error": {"before": 0.1, "after": 0.05},
    "num_bins": 15,
    "reject": 0.01,
    "is_share_known": True,
    "near_strangers": {"caught": 0.12, "per_class": {"kind 0": 0.2, "kind 1": 0.1, "kind 2": 0.06}},
}


@pytest.fixture
def section(make_run, make_evaluation):
    def make(facts=FACTS, novelties=None, num_classes=3):
        test, val = make_evaluation(num_classes), make_evaluation(num_classes, part="val")
        if novelties is not None:
            test = dataclasses.replace(test, novelties=novelties, reject=facts["reject"])
        return certainty_section(make_run(certainty=facts), {"val": val, "test": test}, test)

    return make


def test_it_says_what_the_temperature_did_and_what_share_was_turned_away(section):
    novelties = np.full(80, 0.5, np.float32)
    novelties[:4] = 1.2
    found = section(novelties=novelties)
    assert "A temperature of 1.50, fitted on 400 pictures" in found["calibration"] and "less sure" in found["calibration"]
    assert "Of the test pictures 5.0\xa0% were; of those answered" in found["strangers"]
    assert "caught 12\xa0% of the time" in found["near"]
    assert found["near_per_class"]["kind 2"] == 0.06
    assert [row["target"] for row in found["sure"]] == sorted(row["target"] for row in found["sure"])


def test_what_is_not_known_is_said(section):
    few = {**FACTS, "is_share_known": False, "num_held_out": 60}
    assert "with only 60 pictures held out the real share is unknown" in section(few)["strangers"]
    assert "switched off" in section({**FACTS, "reject": 0.0})["strangers"]
    assert section({**FACTS, "reject": 0.0})["near"] == ""
    assert section({**FACTS, "reject": 0.0})["near_per_class"] == {}
    assert "do not rely on it" in near_strangers({**FACTS, "near_strangers": None}, 2)
    older = section({})
    assert older["near_per_class"] == {}
    assert older["strangers"] == older["near"] == "" and "temperature" not in older["calibration"]


def test_the_reliability_diagram_shows_each_bin_and_the_coverage_curve_ends_at_the_accuracy(make_evaluation):
    evaluation = make_evaluation(3)
    rows = reliability(evaluation.probabilities, evaluation.labels)
    (axes,) = plots.reliability_diagram(evaluation).axes
    points = axes.collections[-1].get_offsets()
    assert np.allclose(points, [(row["confidence"], row["accuracy"]) for row in rows])
    (axes,) = plots.coverage(evaluation).axes
    x, y = axes.lines[0].get_data()
    assert x[-1] == 1 and y[-1] == pytest.approx(evaluation.correct.mean()) and x[0] >= 0.25


def test_a_single_picture_can_be_drawn(make_evaluation):
    evaluation = make_evaluation(2, num_images=1)
    assert plots.reliability_diagram(evaluation).axes and plots.coverage(evaluation).axes


@pytest.mark.parametrize("is_right", [True, False])
def test_the_axes_of_the_coverage_curve_have_no_tick_beyond_all(make_evaluation, is_right):
    evaluation = make_evaluation(2, num_images=1)
    evaluation.probabilities[:] = [[0.9, 0.1]] if is_right else [[0.1, 0.9]]
    (axes,) = plots.coverage(evaluation).axes
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        shown = [tick for tick in axis.get_ticklocs() if low <= tick <= high]
        assert max(shown) == pytest.approx(1) and low <= min(shown) < 1


def test_a_single_picture_is_spoken_of_as_one(make_run, make_evaluation):
    test = make_evaluation(2, num_images=1)
    assert certainty_section(make_run(certainty=FACTS), {"test": test}, test)["calibration"].startswith(
        "On the one test picture "
    )
