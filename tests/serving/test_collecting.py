"""Corrections: pictures with the class that they should have got."""

from __future__ import annotations

import hashlib

import pytest

from fieldguide.errors import DatasetError
from fieldguide.serving.collecting import Collector, FolderFull, is_safe_name
from tests.serving.conftest import JPEG, running


def test_a_correction_is_kept_as_it_came_under_a_name_of_its_own(classifier, red, tmp_path):
    folder = tmp_path / "corrections"
    with running(classifier, collect=folder) as client:
        assert client.get("/v1/model").json()["collects"] is True
        first = client.post("/v1/correct?class_name=blue", content=red, headers=JPEG)
        again = client.post("/v1/correct?class_name=blue", files={"file": ("../../evil.html", red)})
    assert first.status_code == again.status_code == 200
    name = f"{hashlib.sha256(red).hexdigest()[:16]}.jpg"
    assert first.json() == again.json() == {"model": classifier.bundle.model_hash, "class_name": "blue", "name": name}
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.*")] == [f"blue/{name}"]
    assert (folder / "blue" / name).read_bytes() == red


def test_the_last_correction_of_a_picture_counts(classifier, red, tmp_path):
    with running(classifier, collect=tmp_path) as client:
        client.post("/v1/correct?class_name=blue", content=red, headers=JPEG)
        client.post("/v1/correct?class_name=green", content=red, headers=JPEG)
    assert [path.parent.name for path in tmp_path.rglob("*.jpg")] == ["green"]


@pytest.mark.parametrize(
    ("query", "content", "status"),
    [
        ("class_name=purple", None, 404),
        ("class_name=..%2F..%2Fetc", None, 404),
        ("class_name=", None, 404),
        ("", None, 422),
        ("class_name=red", b"<html></html>", 415),
        ("class_name=red", b"\xff\xd8\xff\xe0 no more", 422),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_nothing(classifier, red, tmp_path, query, content, status):
    with running(classifier, collect=tmp_path / "kept") as client:
        answer = client.post(f"/v1/correct?{query}", content=red if content is None else content, headers=JPEG)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert not (tmp_path / "kept").exists()


def test_nothing_is_kept_unless_asked_for(client, red):
    answer = client.post("/v1/correct?class_name=red", content=red, headers=JPEG)
    assert answer.status_code == 404
    assert "--collect" in answer.json()["error"]


def test_a_full_folder_takes_no_more(tmp_path):
    collector = Collector(tmp_path, ["a", "b"], max_pictures=2)
    collector.add(b"1", "a", "JPEG")
    collector.add(b"2", "b", "PNG")
    collector.add(b"2", "a", "PNG")  # moved
    with pytest.raises(FolderFull):
        collector.add(b"3", "a", "JPEG")
    with pytest.raises(FolderFull):
        Collector(tmp_path, ["a", "b"], max_pictures=2).add(b"3", "a", "JPEG")
    assert sorted(path.suffix for path in (tmp_path / "a").iterdir()) == [".jpg", ".png"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a\\b", "/etc", "c:x", "nul", "COM1.txt", ".git", "a\0b", "a.", " a"]
)
def test_a_class_name_that_leads_elsewhere_is_refused(tmp_path, name):
    assert not is_safe_name(name)
    with pytest.raises(DatasetError, match="no safe name"):
        Collector(tmp_path, ["fine", name], max_pictures=1)


@pytest.mark.parametrize("name", ["cat", "Große Katze", "日本", "a.b", "console", "none of these"])
def test_ordinary_class_names_are_taken(name):
    assert is_safe_name(name)
