from __future__ import annotations

import numpy as np
import pytest

from fieldguide.errors import DatasetError
from fieldguide.evaluation.compare import compare, mcnemar_p_value, paired_interval
from fieldguide.records import Evaluation

NAMES = ("cat", "dog", "owl")


def evaluation_of(predicted: str, labels: str, class_names=NAMES, **more) -> Evaluation:
    """One letter per picture: c, d or o."""
    position = {name[0]: i for i, name in enumerate(class_names)}
    probabilities = np.full((len(predicted), 3), 0.1)
    probabilities[np.arange(len(predicted)), [position[p] for p in predicted]] = 0.8
    values = {"paths": tuple(f"{i}.jpg" for i in range(len(labels))), **more}
    return Evaluation("test", class_names, np.array([position[x] for x in labels]), probabilities, **values)


def test_pairs_are_counted_by_hand():
    #                      label     cccc dddd oo
    found = compare(evaluation_of("ccdd dddc cc".replace(" ", ""), "ccccddddoo"), evaluation_of("cccoddddod", "ccccddddoo"))
    assert (found.num_images, found.num_gained, found.num_lost) == (10, 3, 0)
    assert (found.a_accuracy, found.b_accuracy, found.difference) == (0.5, 0.8, pytest.approx(0.3))
    assert found.p_value == 0.25  # 2 / 2**3
    assert [(f.kind, f.path, f.a, f.b) for f in found.flips] == [
        ("gained", "2.jpg", "dog", "cat"),
        ("gained", "7.jpg", "cat", "dog"),
        ("gained", "8.jpg", "cat", "owl"),
        ("changed", "3.jpg", "dog", "owl"),
        ("changed", "9.jpg", "cat", "dog"),
    ]
    rows = {row["class_name"]: row for row in found.per_class}
    assert rows["cat"]["num_gained"] == 1 and rows["cat"]["difference"] == 0.25 and rows["owl"]["b_accuracy"] == 0.5


def test_the_same_answers_differ_in_nothing():
    e = evaluation_of("cdo", "cdd")
    found = compare(e, e)
    assert found.difference == 0 and found.p_value == 1 and found.flips == ()
    assert found.interval[0] == -found.interval[1] < 0


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 9), (12, 30), (40, 40)])
def test_mcnemar_equals_the_binomial_sum(gained, lost):
    from math import comb

    count, fewer = gained + lost, min(gained, lost)
    expected = min(1.0, 2 * sum(comb(count, k) for k in range(fewer + 1)) / 2**count)
    assert mcnemar_p_value(gained, lost) == pytest.approx(expected)


def test_the_interval_holds_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(0)
    counts = rng.multinomial(300, [0.05, 0.02, 0.93], size=4000)  # gained, lost, neither: the truth is 0.03
    bounds = np.array([paired_interval(g, lost, 300) for g, lost, _ in counts])
    holds = (bounds[:, 0] <= 0.03) & (bounds[:, 1] >= 0.03)
    assert 0.94 < holds.mean() < 0.97


def test_order_of_pictures_and_of_classes_does_not_matter():
    labels, turned = "ccddoo", ("owl", "dog", "cat")
    a, b = evaluation_of("cdddoc", labels), evaluation_of("cddoco", labels)
    expected = compare(a, b)
    other = evaluation_of("ocoddc", labels[::-1], turned, paths=b.paths[::-1])
    assert compare(a, other).to_json() == expected.to_json()


def test_other_pictures_are_refused_with_how_they_differ():
    a = evaluation_of("ccd", "ccd", digests=("1", "2", "3"))
    with pytest.raises(
        DatasetError, match=r"1 picture\(s\) only in A, such as '2.jpg'; 1 picture\(s\) only in B, such as 'x.jpg'"
    ):
        compare(a, evaluation_of("ccd", "ccd", paths=("0.jpg", "1.jpg", "x.jpg")))
    with pytest.raises(DatasetError, match=r"2 with another label, such as '1.jpg', '2.jpg'"):
        compare(a, evaluation_of("ccd", "cdc"))
    with pytest.raises(DatasetError, match=r"1 with another content under the same name, such as '1.jpg'"):
        compare(a, evaluation_of("ccd", "ccd", digests=("1", "other", "3")))
    with pytest.raises(DatasetError, match="only A has owl; only B has fox"):
        compare(a, evaluation_of("ccd", "ccd", ("cat", "dog", "fox")))


def test_it_goes_to_json_with_the_kind_of_each_flip():
    values = compare(evaluation_of("cd", "cc"), evaluation_of("cc", "cc")).to_json()
    assert {"difference", "interval", "p_value", "num_images", "flips", "per_class"} <= set(values)
    assert values["flips"] == [
        {"kind": "gained", "path": "1.jpg", "label": "cat", "a": "dog", "a_probability": 0.8, "b": "cat", "b_probability": 0.8}
    ]
