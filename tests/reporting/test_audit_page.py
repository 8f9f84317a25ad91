"""The page of an audit: what it counts, and what it advises."""

from __future__ import annotations

from fieldguide.records import Audit, Finding
from fieldguide.reporting.audit_page import audit_page
from tests.reporting.test_report import Page


def text_of(*findings: Finding, num_images: int = 500, name: str = "my photos") -> str:
    audit = Audit(findings, num_images, ("a", "b"), {"a": 250, "b": 250})
    return " ".join(Page(audit_page(audit, name=name, thumbnails={})).text.split())


def test_files_that_are_listed_and_not_shown_are_counted_to_the_last():
    many = Finding("unreadable", "error", tuple(f"a/{i}.jpg" for i in range(166)), "166 files cannot be read")
    text = text_of(many)
    assert "a/99.jpg" in text and "a/100.jpg" not in text
    assert "and 66 more, in audit.json" in text
    few = Finding("unreadable", "error", ("a/1.jpg",), "1 file cannot be read")
    assert "more, in audit.json" not in text_of(few)


def test_of_pictures_that_are_shown_the_rest_is_counted():
    dark = Finding("dark", "note", tuple(f"a/{i}.jpg" for i in range(50)), "50 pictures are dark")
    assert "and 2 more, in audit.json" in text_of(dark)


def test_findings_are_counted_as_things_to_look_at():
    dark = Finding("dark", "note", ("a/1.jpg",), "1 picture is dark")
    conflicts = [Finding("copy_conflict", "error", (f"a/{i}.jpg", f"b/{i}.jpg"), "two labels") for i in range(2)]
    assert "; 3 things to look at." in text_of(dark, *conflicts)
    assert "500 usable pictures in 2 classes; 1 thing to look at." in text_of(dark)
    assert "1 usable picture in 2 classes; nothing stood out." in text_of(num_images=1)


def test_the_advice_names_the_folder_as_a_shell_takes_it():
    assert "give it to fieldguide train 'my photos' --review review.csv." in text_of()
