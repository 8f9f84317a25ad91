from __future__ import annotations

import pytest

from fieldguide.auditing.review import COLUMNS, Review, apply_review, proposed, read_review, review_rows
from fieldguide.errors import DatasetError
from fieldguide.records import Audit, Finding, ImageIndex, LabeledImage
from fieldguide.storage import csv_text

INDEX = ImageIndex("root", "flat", ("a", "b"), tuple(LabeledImage(f"{n}.jpg", 0) for n in ("1", "2", "3", "=4")))


def audit() -> Audit:
    findings = (
        Finding("label_error", "note", ("1.jpg",), "", suggested="b", score=0.9),
        Finding("label_error", "note", ("2.jpg",), "", suggested="b", score=0.2),
        Finding("dark", "note", ("=4.jpg", "1.jpg"), ""),
        Finding("leak", "warning", ("5.jpg", "3.jpg"), ""),
        Finding("truncated", "warning", ("6.jpg",), ""),
    )
    return Audit(findings, 4, ("a", "b"), {"a": 4, "b": 0}, leaks=(("5.jpg", "3.jpg"),))


def test_proposals_are_careful():
    rows = {row["path"]: (row["action"], row["label"]) for row in review_rows(audit())}
    assert rows == {
        "1.jpg": ("relabel", "b"),
        "2.jpg": ("keep", "b"),
        "3.jpg": ("exclude", ""),
        "5.jpg": ("keep", ""),
        "=4.jpg": ("keep", ""),
    }
    assert proposed(audit()).labels == {"1.jpg": "b"} and proposed(audit()).excluded == {"3.jpg"}


def test_what_was_decided_comes_first_and_stays():
    decided = Review(frozenset({"9.jpg"}), {"8.jpg": "b"}, frozenset({"1.jpg"}))
    rows = review_rows(audit(), decided)
    assert rows[:3] == decided.rows()
    assert {row["path"]: row["action"] for row in rows[:3]} == {"9.jpg": "exclude", "8.jpg": "relabel", "1.jpg": "keep"}
    assert [row["path"] for row in rows[3:]] == ["2.jpg", "3.jpg", "=4.jpg", "5.jpg"]


def test_a_review_goes_through_its_file_and_is_applied(tmp_path):
    path = tmp_path / "review.csv"
    rows = [{"path": "=4.jpg", "action": "exclude", "label": ""}, {"path": "1.jpg", "action": "relabel", "label": "b"}]
    path.write_text(csv_text([*rows, {"path": "2.jpg", "action": "keep", "label": "b"}], COLUMNS), encoding="utf-8")
    reviewed = apply_review(INDEX, read_review(path, INDEX.class_names))
    assert [(image.path, image.label) for image in reviewed.images] == [("1.jpg", 1), ("2.jpg", 0), ("3.jpg", 0)]
    assert [(s.path, s.reason) for s in reviewed.skipped] == [("=4.jpg", "excluded")]


@pytest.mark.parametrize(
    "text",
    [
        "path;action;label\r\n1.jpg;relabel;b \r\n;;\r\n2.jpg;exclude;\r\n",
        "path,action,label\n1.jpg,relabel,b \n,,\n2.jpg,exclude,\n2.jpg,exclude,\n",
    ],
)
def test_what_a_spreadsheet_made_of_it_is_read(tmp_path, text):
    path = tmp_path / "review.csv"
    path.write_bytes(text.encode("utf-8-sig"))
    read = read_review(path, ("a", "b"))
    assert read.labels == {"1.jpg": "b"} and read.excluded == {"2.jpg"}
    assert read_review(path, ("a", "b", "b ")).labels == {"1.jpg": "b "}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,action,label\n1.jpg,relabel,b\n1.jpg,keep,\n", "Line 3 .* decides otherwise of '1.jpg'"),
        ("path,label\n1.jpg,a\n", "needs the columns path,action,label"),
        ("path,action,label\n1.jpg,delete,\n", "Line 2 .* has the action 'delete'"),
        ("path,action,label\n1.jpg,relabel,c\n", "relabels to 'c', which is no class"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "review.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=message):
        read_review(path, INDEX.class_names)


def test_a_review_of_another_folder_is_refused(tmp_path):
    path = tmp_path / "review.csv"
    path.write_text("path,action,label\nelsewhere.jpg,exclude,\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"does not hold, such as 'elsewhere\.jpg'"):
        apply_review(INDEX, read_review(path, INDEX.class_names))
    with pytest.raises(DatasetError, match="cannot be read"):
        read_review(tmp_path / "gone.csv", INDEX.class_names)
