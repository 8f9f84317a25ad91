"""The explorer where a run is not as usual: on a phone, strange file names, no border for strangers, large findings."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldguide.records import Audit, Finding
from fieldguide.reporting.report import write_report
from tests.reporting.test_explorer import CLASSES, NUM_SCORED, Page, data_of, evaluation_of, page_of

STRANGE = ("-h.jpg", "$(x) `y`.jpg", "it's.jpg", 'say "hi"\\.jpg', "two  words;.jpg", "猫.jpg")


@pytest.fixture
def write(make_run, thumbnail, tmp_path) -> Callable[..., Path]:
    def write(evaluation=None, findings: tuple[Finding, ...] = (), page_changes: dict[str, Any] | None = None) -> Path:
        evaluation = evaluation or evaluation_of()
        names = evaluation.class_names
        page = dataclasses.replace(page_of(evaluation), **(page_changes or {}))
        return write_report(
            tmp_path,
            run=make_run(class_names=names),
            audit=Audit(findings, 93, names, dict.fromkeys(names, 31)),
            evaluations={"test": evaluation},
            thumbnails=dict.fromkeys(page.paths, thumbnail),
            page=lambda: page,
        )

    return write


@pytest.fixture
def phone(chromium: Any) -> Iterator[Any]:
    values = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", values)
    yield chromium
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_on_a_phone_a_report_of_many_classes_is_not_wider_than_the_screen(phone, write, make_evaluation):
    names = ("A_name_without_a_space_" + "x" * 80, "B_too_" + "y" * 90, *(f"kind {i}" for i in range(12)))
    evaluation = make_evaluation(len(names), num_images=280, class_names=names)
    page = page_of(evaluation)
    report = write(evaluation, page_changes={"labels": page.labels})
    reader = Page(phone, report)
    assert phone.execute_script("return document.documentElement.scrollWidth") == 390
    reader.open("all")
    box = phone.execute_script("return document.querySelector('[data-part=close]').getBoundingClientRect().toJSON()")
    assert 0 <= box["left"] < box["right"] <= 390
    reader.one('[data-part="close"]').click()
    assert not reader.is_open


def test_the_command_that_explains_a_picture_is_for_any_name(chromium, write):
    evaluation = evaluation_of()
    unmapped = [i for i in range(NUM_SCORED) if i not in page_of(evaluation).mapped][: len(STRANGE)]
    paths = list(evaluation.paths)
    for position, name in zip(unmapped, STRANGE, strict=True):
        paths[position] = name
    reader = Page(chromium, write(dataclasses.replace(evaluation, paths=tuple(paths))))
    reader.open("all")
    for position, name in zip(unmapped, STRANGE, strict=True):
        chromium.execute_script(f"document.querySelector('#explorer [data-picture=\"{position}\"]').click()")
        command = chromium.execute_script("return document.querySelector('#explorer code').textContent")
        path = f"./{name}" if name.startswith("-") else name
        assert command == f"fieldguide explain 'runs/two words' {shlex.quote(path)}"
        assert shlex.split(command) == ["fieldguide", "explain", "runs/two words", path]
        reader.one('[data-part="back"]').click()


@pytest.mark.parametrize("reject", [0.0, 0.01])
def test_only_where_pictures_are_turned_away_a_border_is_spoken_of(chromium, write, reject):
    reader = Page(chromium, write(dataclasses.replace(evaluation_of(), reject=reject)))
    reader.open("all")
    reader.one("#explorer .tile").click()
    facts = reader.one('[data-part="detail"] dl').text
    assert "novelty" in facts and ("none of these" in facts) == bool(reject)


def test_a_picture_without_an_answer_of_its_own_is_neither_right_nor_wrong(chromium, write):
    finding = Finding("dark", "note", ("train/0/a.jpg", "train/1/b.jpg", "test/0/000.jpg"), "3 pictures are dark.")
    reader = Page(chromium, write(findings=(finding,)))
    reader.open("finding:0")
    assert len(reader.shown) == 3
    is_right = bool(evaluation_of().correct[0])
    for show, expected in (("right", [0] if is_right else []), ("wrong", [] if is_right else [0])):
        reader.choose("show", show)
        assert reader.shown == expected


def test_of_a_large_finding_the_page_says_how_many_it_holds(chromium, write):
    paths = (*evaluation_of().paths, *(f"train/{i}.jpg" for i in range(76)))
    report = write(findings=(Finding("dark", "note", paths, "166 pictures are dark."),))
    assert data_of(report)["findingSizes"] == [166]
    reader = Page(chromium, report)
    assert reader.one('[data-open="finding:0"] button').text == "Show the pictures (48 of 166)"
    reader.open("finding:0")
    count = reader.one('[data-part="count"]')
    assert count.text == "48 of 166 pictures on this page"
    reader.choose("label", "0")
    assert count.text == "16 of 48 pictures on this page"
    reader.one('[data-part="close"]').click()
    reader.open("class:0")
    assert count.text == f"{int(np.sum(evaluation_of().labels == 0))} pictures"
    assert CLASSES[0] in reader.title
