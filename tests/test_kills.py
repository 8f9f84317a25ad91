"""Runs of every kind killed at random moments: what `benchmarks/reliability.py kills` does, some times each."""

from __future__ import annotations

import importlib.util
import sys
import time
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
RECIPES = ("transfer", "classic", "scratch", "finetune")


@pytest.fixture
def reliability(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    specification = importlib.util.spec_from_file_location("reliability", BENCHMARKS / "reliability.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "reliability", module)
    specification.loader.exec_module(module)
    return module


def test_every_recipe_of_the_benchmark_is_tested(reliability: Any):
    assert tuple(reliability.RECIPES) == RECIPES


def test_the_page_of_what_was_lost_is_what_its_results_make(reliability: Any):
    page = (BENCHMARKS / "reliability.md").read_text(encoding="utf-8")
    assert page == reliability.page_text()
    assert "; 0 lost." in page


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_killed_at_a_random_moment_ends_as_one_that_was_not(reliability: Any, tmp_path: Path, recipe: str):
    dataset = reliability.make_pictures(tmp_path / "pictures")
    started = time.perf_counter()
    assert reliability.finish(dataset, tmp_path / "unkilled", recipe, tmp_path / "cache") == ""
    seconds = time.perf_counter() - started
    for number in range(3):
        row = reliability.kill_and_resume(number, recipe, dataset, tmp_path / "work", tmp_path / "unkilled", seconds)
        assert row["outcome"] == "equal to the bit", row
