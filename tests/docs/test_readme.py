"""The README tells what was measured and what is tested."""

from __future__ import annotations

import json
import re
import sys
from statistics import median
from urllib.parse import unquote

import pytest

from fieldguide.evaluation.metrics import wilson_interval
from tests.docs.test_snippets import ROOT, SNIPPETS

sys.path.append(str(ROOT / "benchmarks"))  # the benchmarks are scripts, not a package

import elsewhere
import minutes
import parts
import readme_table as measured
from search import settings_of

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", measured.PAGES)
def test_the_tables_of_results_are_those_of_the_recorded_rows(page):
    """If they are not: python benchmarks/readme_table.py."""
    assert measured.updated(page) == (ROOT / page).read_text(encoding="utf-8")


def test_minutes_are_those_until_training_ended_and_a_time_on_part_of_the_machine_is_none():
    row = dict.fromkeys(("note", "budget", "settings", "per_class", "commit"), "") | {
        "dataset": "cats_dogs",
        "num_test": "1000",
    }
    row |= {"machine": "2 cores new", "what": "scratch", "detail": '{"train": 540, "evaluate": 20, "report": 10}'}
    runs = [("0", "630", "0.5", ""), ("1", "900", "0.7", "one core"), ("2", "930", "0.6", "one core"), ("0", "570", "0.9", "")]
    main_job = [row | dict(zip(("seed", "seconds", "test_accuracy", "note"), run, strict=True)) for run in runs]
    other = row | {"what": "mini-Xception", "seed": "0", "training_seconds": "300", "test_accuracy": "0.4", "budget": "5m"}
    finetune = [other | {"cores": cores} for cores in ("2", "1")]
    others = [main_job[0] | {"machine": "2 cores old", "seed": "7"}, main_job[0] | {"settings": "older", "seed": "8"}]
    found = minutes.points([*others, *main_job], finetune)
    assert [(one.what, one.minutes, one.accuracy, one.num_seeds) for one in found] == [
        ("mini-Xception", 5.0, 0.4, 1),
        ("`scratch`", 9.0, 0.7, 3),
    ]


def test_what_runs_elsewhere_is_told_by_the_newest_rows():
    row = dict.fromkeys(("cold_start_seconds", "batch_1_p50_seconds", "batch_1_p99_seconds", "batch_32_p50_seconds"), "0.25")
    row |= {
        "machine": "new",
        "commit": "b",
        "recipe": "transfer",
        "format": "onnx",
        "size_bytes": "2500000",
        "num_images": "256",
    }
    rows = [
        row | {"machine": "old", "format": "web"},
        row | {"commit": "a", "format": "web"},
        row | {"accuracy_after": "0.5"},
        row | {"accuracy_after": "0.75"},
    ]
    rows.append(row | {"format": "fieldguide", "accuracy_after": ""})
    rows.append(row | {"recipe": "scratch", "format": "fieldguide", "commit": "c", "accuracy_after": ""})
    assert elsewhere.exported(rows).splitlines()[2:] == [
        "| `transfer` | `predict` | 2.5 MB | 0.2 s | 250.0 ms (250.0) | 250 ms |  |",
        "| `transfer` | `onnx` | 2.5 MB | 0.2 s | 250.0 ms (250.0) | 250 ms | 75.0% of 256 |",
        "| `scratch` | `predict` | 2.5 MB | 0.2 s | 250.0 ms (250.0) | 250 ms |  |",
    ]
    start = {"what": "start", "run": "cats_dogs"}
    starts = [start | {"commit": commit, "seconds": seconds} for commit, seconds in (("a", "9"), ("b", "1"), ("b", "2"))]
    assert elsewhere.served(starts).splitlines()[2:] == ["| from the command to the line that it listens | 1.5 s |"]


def test_parts_are_told_by_rows_with_the_settings_of_today():
    def row(what, accuracy, minutes, **changes):
        settings = settings_of("scratch", parts.settings_without(what) | changes)
        numbers = {"last_val_accuracy": str(accuracy), "cpu_seconds": str(60 * minutes), "num_val": "500"}
        return {"recipe": "scratch", "settings": settings, **numbers}

    older = row("weight decay", 0.8, 8)  # from before there was a setting
    older["settings"] = json.dumps({k: v for k, v in json.loads(older["settings"]).items() if k != "max_enlargement"})
    rows = [older, row("nothing", 0.75, 9), row("random crops", 0.9, 4), row("random crops", 0.8, 5)]
    assert parts.table([*rows, row("nothing", 0.1, 1, epochs=7)]).splitlines()[2:] == [
        "| random crops | 85.0% (n = 500, 2 seeds) | 4.5 |",
        "| weight decay | 80.0% (n = 500, 1 seed) | 8.0 |",
        "| nothing | 75.0% (n = 500, 1 seed) | 9.0 |",
    ]


def test_a_cell_is_the_median_of_the_newest_run_of_each_seed():
    def row(machine, seed, seconds, accuracy, date="2026-11-24"):
        return {
            "what": "classic",
            "dataset": "d",
            "machine": machine,
            "seed": str(seed),
            "date": date,
            "commit": "abc",
            "seconds": str(seconds),
            "peak_mb": "1500",
            "test_accuracy": str(accuracy),
            "num_test": "1000",
        }

    rows = [
        row("old", 0, 300, 0.5),
        row("new", 3, 1, 0.1, date="2026-11-23"),
        row("new", 0, 1, 0.1),
        *(row("new", seed, seconds, accuracy) for seed, seconds, accuracy in ((0, 250, 0.8), (1, 190, 0.9), (2, 220, 0.7))),
    ]
    *_, line, end = measured.table(rows).split("\n")
    low, high = wilson_interval(800, 1000)
    assert median((250, 190, 220)) == 220 and end == ""
    assert line.split(" | ")[1:] == [
        f"**80.00%** ({low:.2%} to {high:.2%}, n = 1,000)",
        "3 min 40 s, 1.50 GB (3 runs)",
        "5 min 0 s, 1.50 GB (1 run, 50.00%) |",
    ]


def test_a_note_on_the_time_stands_beside_it():
    row = dict.fromkeys(("seed", "date", "commit", "test_accuracy", "num_test"), "") | {"seconds": "90", "peak_mb": "1500"}
    row |= {"what": "scratch", "dataset": "d", "machine": "new", "note": "on one core"}
    assert measured.table([row]).split("\n")[2].endswith("| 90.0 s, 1.50 GB (1 run; on one core) |")


def test_the_commands_and_the_code_of_the_readme_are_tested_snippets():
    shown = [
        line.removeprefix("    ").split("  #")[0].rstrip() for line in README.splitlines() if line.startswith("    fieldguide")
    ]
    assert shown == (SNIPPETS / "readme.sh").read_text(encoding="utf-8").splitlines()
    assert README.split("```python\n")[1].split("```")[0] == (SNIPPETS / "readme.py").read_text(encoding="utf-8")


def test_no_page_holds_the_marks_of_a_merge():
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        lines = page.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))], page


def test_what_the_readme_links_to_in_the_repository_is_there():
    targets = re.findall(r"\]\(([^)]+)\)", README)
    assert [target for target in targets if "://" not in target and not (ROOT / unquote(target)).exists()] == []
