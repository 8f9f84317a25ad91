"""The model card: figures from the run, names as they are, no path of this machine, no overwriting."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import fieldguide
from fieldguide.errors import BundleError, DatasetError
from fieldguide.reporting.model_card import text
from tests.conftest import cli


@pytest.fixture(scope="module")
def card(run_folder: Path) -> str:
    return fieldguide.card(run_folder)


def test_it_says_what_the_run_reached(card: str, run_folder: Path) -> None:
    score = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))["scores"]["test"]
    low = 100 * score["interval"][0]
    assert f"**Accuracy 100\xa0%** (95 % interval {low:.1f}–100\xa0%) on 25 test pictures" in card
    assert "3 classes: blue, green, red." in card
    assert "| red | 21 | – | 9 |" in card  # 20 and a copy to learn from; validation was out-of-fold
    assert "| red | 100\xa0% | 100\xa0% | 100\xa0% | 9 |" in card
    assert "resized to 224 x 224" in card
    assert card.lower().count("to be filled in") == 3


def test_it_says_what_the_audit_found(card: str) -> None:
    limits = card.split("## Known limits")[1].split("\n## ")[0]
    assert "of the audit:" in limits  # a damaged file and a leak were planted
    assert "1 test picture is a copy of a training picture; without it accuracy" in limits


def test_it_holds_no_path_of_this_machine(card: str, run_folder: Path, photos: Path) -> None:
    assert str(photos.parent) not in card and str(run_folder.parent) not in card


def test_it_is_markdown_without_a_break_in_a_table_or_two_empty_lines(card: str) -> None:
    assert "\n\n\n" not in card and card.endswith("\n")
    widths = [row.count("|") - row.count("\\|") for row in card.splitlines() if row.startswith("|")]
    assert set(widths) == {5, 6, 7}
    assert re.match(r"# \S+: an image classifier\n\n", card)


def test_names_stay_what_they_are() -> None:
    assert text("a|b_c\n# <script>") == r"a\|b\_c \# &lt;script>"


def test_the_command_prints_it_or_writes_a_new_file(
    run_folder: Path, card: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli("card", str(run_folder)) == 0
    assert capsys.readouterr().out == card
    out = tmp_path / "card.md"
    assert cli("card", str(run_folder), "--out", str(out)) == 0
    assert out.read_text(encoding="utf-8") == card and capsys.readouterr().out == f"{out}\n"
    with pytest.raises(DatasetError, match="is there already"):
        fieldguide.card(run_folder, out=out)


def test_a_bundle_alone_has_no_card(run_folder: Path) -> None:
    with pytest.raises(BundleError, match=r"run\.json is missing"):
        fieldguide.card(run_folder / "bundle")
