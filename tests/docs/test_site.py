"""The site builds without a warning, its links lead somewhere, and it loads nothing from elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fieldguide
from tests.docs.test_snippets import ROOT, load_file

checker = load_file(ROOT / "docs" / "check_links.py")


@pytest.mark.slow
def test_the_site_builds_without_warnings_documents_all_and_links_well(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "-q",
        "-d",
        str(tmp_path / "trees"),
        str(ROOT / "docs"),
        str(tmp_path / "site"),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    problems, elsewhere = checker.check_folder(tmp_path / "site")
    assert problems == [] and elsewhere
    python = (tmp_path / "site" / "reference" / "python.html").read_text(encoding="utf-8")
    documented = checker._Page(python).anchors
    assert {f"fieldguide.{name}" for name in fieldguide._PUBLIC} <= documented
    commands = (tmp_path / "site" / "reference" / "commands.html").read_text(encoding="utf-8")
    assert {"fieldguide-train", "fieldguide-predict"} <= checker._Page(commands).anchors


def _write(folder: Path, name: str, body: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"<html><body>{body}</body></html>", encoding="utf-8")


def test_links_that_lead_nowhere_are_found(tmp_path):
    _write(
        tmp_path, "a.html", '<a href="b.html#there">1</a><a href="b.html#gone">2</a><a href="c.html">3</a><a href="#x">4</a>'
    )
    _write(tmp_path, "b.html", '<p id="there"></p><a href="a.html">back</a><a href="https://example.org/x#y">out</a>')
    problems, elsewhere = checker.check_folder(tmp_path)
    assert [problem.split(" links to ")[1].split(",")[0].split(":")[0] for problem in problems] == [
        "b.html#gone",
        "c.html",
        "#x",
    ]
    assert elsewhere == {"https://example.org/x": "b.html"}


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/x.js"></script>',
        '<link href="//fonts.example/f.css">',
        '<img src="http://e.org/i.png">',
    ],
)
def test_what_is_loaded_from_elsewhere_is_an_error(tmp_path, tag):
    _write(tmp_path, "a.html", tag)
    problems, _ = checker.check_folder(tmp_path)
    assert len(problems) == 1 and "must work offline" in problems[0]


def test_an_empty_folder_is_an_error(tmp_path):
    assert checker.check_folder(tmp_path)[0]


def test_only_a_site_that_says_gone_is_an_error(tmp_path, monkeypatch, capsys):
    _write(tmp_path, "a.html", '<a href="https://gone.example/">1</a><a href="https://far.example/">2</a>')
    monkeypatch.setattr(checker, "ask", {"https://gone.example/": 404, "https://far.example/": None}.get)
    assert checker.main(str(tmp_path)) == 1
    captured = capsys.readouterr()
    assert "gone.example/, which is gone" in captured.err and "1 of 2 links to other sites" in captured.out
    _write(tmp_path, "a.html", '<a href="https://far.example/">2</a>')
    assert checker.main(str(tmp_path)) == 0
