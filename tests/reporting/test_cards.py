"""The cards that notebooks show: escaped, well-formed, readable without style, and never in the way."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest

from fieldguide.records import Audit, Finding, LabeledImage, Prediction
from tests.conftest import noisy_picture

EVIL = "<script>alert('x')</script>&\"'"


class Card(HTMLParser):
    """Reads a card: its text without style, its tags; every end tag closes the tag that is open."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        assert text is not None
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += " ".join(data.split()) + " " if data.strip() else ""


SCORE = {"accuracy": 0.9, "interval": [0.85, 0.94], "num_images": 1200, "method": "held out", "without_leaks": None}


def test_a_run_shows_its_scores_with_interval_and_number(make_run):
    leaky = {**SCORE, "without_leaks": {"accuracy": 0.89}, "num_leaked": 3}
    card = Card(make_run(scores={"train": SCORE, "val": None, "test": leaky})._repr_html_())
    assert "training 90.0 % 85.0–94.0 % 1,200 held out" in card.text
    assert "test 90.0 %" in card.text and "89.0 % without 3 copies of training pictures" in card.text
    assert "validation" not in card.text
    assert "Strangers are not recognised." in card.text and "runs/two words/report.html" in card.text


def test_a_run_without_any_score_is_shown(make_run):
    assert "transfer" in Card(make_run(scores={}, environment={}, seconds={})._repr_html_()).text


def test_an_audit_lists_errors_first_and_counts_what_it_leaves_out(audit):
    many = Finding("copies", "note", tuple(f"{i}.jpg" for i in range(9)), "9 pictures are copies.")
    card = Card(dataclasses.replace(audit, findings=(many, *audit.findings))._repr_html_())
    assert card.text.index("error: ") < card.text.index("note: ")
    assert "and 6 more" in card.text and "kind 0 40" in card.text
    nothing = Card(dataclasses.replace(audit, findings=())._repr_html_())
    assert "Nothing was found" in nothing.text


def test_an_audit_of_many_classes_stays_short():
    counts = {f"kind {c}": 3 for c in range(500)}
    audit = Audit(findings=(), num_images=1500, class_names=tuple(counts), images_per_class=counts)
    card = Card(audit._repr_html_())
    assert "kind 19 3" in card.text and "kind 20" not in card.text and "and 480 more classes" in card.text


def test_an_evaluation_shows_its_sentence_classes_and_confusions(make_evaluation):
    card = Card(make_evaluation(num_classes=3)._repr_html_())
    assert "Of 80 test pictures" in card.text and "95 % interval" in card.text
    assert "kind 2" in card.text and "Most often confused: kind" in card.text


def test_an_evaluation_of_many_classes_shows_the_worst(make_evaluation):
    card = Card(make_evaluation(num_classes=40, num_images=400)._repr_html_())
    assert "the 20 classes with the lowest F1; 20 are better" in card.text
    assert card.text.count("kind ") < 40


def test_a_prediction_shows_the_picture_and_the_likeliest_classes(tmp_path):
    noisy_picture((200, 50, 40), 0).save(tmp_path / "photo.jpg")
    probabilities = {f"kind {c}": p for c, p in enumerate((0.01, 0.9, 0.03, 0.02, 0.02, 0.01, 0.01))}
    prediction = Prediction(str(tmp_path / "photo.jpg"), "kind 1", "kind 1", 0.9, probabilities)
    html = prediction._repr_html_()
    card = Card(html)
    assert "data:image/jpeg;base64," in html
    assert "kind 1 class probability kind 1 90.0 % kind 2 3.0 %" in card.text and "and 2 more classes" in card.text


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_prediction_whose_file_is_gone_or_broken_is_shown_without_it(tmp_path, content):
    path = tmp_path / "photo.jpg"
    if content is not None:
        path.write_bytes(content)
    html = Prediction(str(path), None, None, None, error="cannot be read: " + EVIL)._repr_html_()
    assert "img" not in Card(html).tags and "not read:" in Card(html).text


def test_a_stranger_is_none_of_these():
    card = Card(Prediction(None, None, "cat", 0.6, {"cat": 0.6, "dog": 0.4}, none_of_these=True)._repr_html_())
    assert "none of these (nearest: cat)" in card.text


def test_whatever_users_name_is_escaped(make_run, make_evaluation):
    finding = Finding("grey", "note", (EVIL,), EVIL)
    records = [
        Audit(findings=(finding,), num_images=1, class_names=(EVIL, "b"), images_per_class={EVIL: 1, "b": 0}),
        make_run(directory=EVIL, recipe=EVIL, notes=(EVIL,), environment={"dataset": EVIL}, scores={"test": SCORE}),
        make_evaluation(class_names=(EVIL, "b")),
        Prediction(EVIL, EVIL, EVIL, 1.0, {EVIL: 1.0}),
    ]
    for record in records:
        card = Card(record._repr_html_())
        assert "script" not in card.tags and EVIL in card.text
        assert not any(name.startswith("on") for name in card.attributes)


def test_other_records_are_left_to_repr():
    assert LabeledImage("a.jpg", 0)._repr_html_() is None
