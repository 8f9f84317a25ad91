from __future__ import annotations

import numpy as np

from fieldguide.evaluation.compare import compare
from fieldguide.records import Evaluation
from fieldguide.reporting import wording
from fieldguide.reporting.comparison import shown_flips, write_comparison
from tests.reporting.test_report import Page


def evaluation_of(predicted: list[int], labels: list[int]) -> Evaluation:
    probabilities = np.full((len(labels), 2), 0.2)
    probabilities[np.arange(len(labels)), predicted] = 0.8
    names = ("<b>cat</b>", "dog")
    return Evaluation("test", names, np.array(labels), probabilities, tuple(f"{i}.jpg" for i in range(len(labels))))


def test_the_page_shows_what_flipped_and_holds_no_script(tmp_path, thumbnail):
    labels = [0] * 60
    found = compare(evaluation_of([1] * 30 + [0] * 30, labels), evaluation_of([0] * 59 + [1], labels))
    path = write_comparison(tmp_path / "page.html", found, {"0.jpg": thumbnail})
    text = path.read_text(encoding="utf-8")
    page = Page(text)
    assert "B is better." in page.text and "<b>cat</b>" in page.text and "<b>cat</b>" not in text
    assert "Gained: 30" in page.text and "Lost: 1" in page.text and "Changed: 0" in page.text
    assert len(page.images) == 1 and "script" not in page.tags
    assert len(shown_flips(found)) == 24 + 1 and "6 more" in page.text
    assert "29.jpg" in page.text


def test_one_picture_is_not_counted_as_pictures(tmp_path):
    found = compare(evaluation_of([0], [0]), evaluation_of([1], [0]))
    text = write_comparison(tmp_path / "page.html", found, {}).read_text(encoding="utf-8")
    assert "1 picture, the same for both" in text and "; 1 test picture, of which" in text and "1 pictures" not in text


def test_the_verdict_is_careful():
    labels = [0] * 10
    worse = compare(evaluation_of([0] * 10, labels), evaluation_of([1] * 10, labels))
    assert wording.comparison(worse).startswith("B is worse. B - A is -100.00 points")
    same = compare(evaluation_of([0] * 10, labels), evaluation_of([0] * 9 + [1], labels))
    assert wording.comparison(same).startswith("No difference can be told from chance. B - A is -10.00 points")


def test_points_have_a_sign_and_zero_has_none():
    assert [wording.points(d) for d in (0.0125, -0.5, 0.0, -0.00001, None)] == ["+1.25", "-50.00", "0.00", "0.00", "–"]
