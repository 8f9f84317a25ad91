"""Each snippet of the documentation is a file that runs; no page holds code of its own."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import runpy
import shlex
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import typer

from fieldguide.cli import app

ROOT = Path(__file__).parents[2]
SNIPPETS = ROOT / "docs" / "snippets"
MOST_COLUMNS = 96  # what the theme shows on a wide screen
NOT_RUN = {
    "install.sh": "it installs this package, as `make setup` does before any test",
    "time.sh": "it trains for ten minutes",
    "scratch.sh": "it trains for minutes, whatever the pictures; scratch_settings.py runs",
    "scratch_validated.sh": "as scratch.sh",
    "serve.sh": "it runs until it is stopped; tests/serving starts it",
    "serve_open.sh": "as serve.sh",
    "serve_collect.sh": "as serve.sh",
    "docker.sh": "it needs Docker and a registry",
    "export_web.sh": "it needs onnxruntime-web; tests/exporting/test_web.py exports and opens the page",
    "open_web.sh": "it runs until it is stopped; tests/exporting/test_web.py serves the page with the same module",
    "also.sh": "it learns from corrections, which nobody made; tests/data/test_also.py trains with some",
    "serve_behind_proxy.sh": "as serve.sh",
    "serve_curl.sh": "it asks a server; tests/serving runs it",
    "serve_client.py": "it asks a server; tests/serving runs it",
    "gpu.sh": "it needs an NVIDIA card and downloads gigabytes",
}
SLOW = {  # each trains once or more, or imports TensorFlow; own_pictures.sh and train_and_predict.py train in the quick tests
    "cache.sh",
    "classic.sh",
    "classic_settings.py",
    "csv_file.sh",
    "finetune.sh",
    "bench_export.sh",
    "export.sh",
    "export_int8.sh",
    "groups.sh",
    "scratch_settings.py",
    "run_onnx.py",
    "leave_out.sh",
    "lr_find.sh",
    "merge_subfolders.sh",
    "network_figures.py",
    "none_of_these.py",
    "one_seed_more.sh",
    "own_model.py",
    "compare.py",
    "compare.sh",
    "precision.sh",
    "readme.py",
    "readme.sh",
    "reproduce.sh",
    "settings.sh",
    "sixteen_bit.sh",
    "to_keras.py",
}


def load_file(path: Path) -> ModuleType:
    """A script that lies outside of any package, as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


needs_shell = pytest.mark.skipif(shutil.which("sh") is None, reason="the snippets are written for a POSIX shell")
recorder = load_file(ROOT / "docs" / "record_outputs.py")


def _names(pattern: str) -> list[object]:
    names = sorted(p.name for p in SNIPPETS.glob(pattern) if p.name not in NOT_RUN and not p.name.startswith("demo"))
    return [pytest.param(name, marks=[pytest.mark.slow, pytest.mark.timeout(900)]) if name in SLOW else name for name in names]


@pytest.mark.parametrize("name", _names("*.py"))
def test_a_python_snippet_runs_in_the_folder_the_pages_describe(name, workplace):
    runpy.run_path(str(SNIPPETS / name), run_name="__main__")


@needs_shell
@pytest.mark.parametrize("name", _names("*.sh"))
def test_a_shell_snippet_runs_in_the_folder_the_pages_describe(name, workplace, shared_cache):
    recorder.run(SNIPPETS / name, workplace, FIELDGUIDE_CACHE=str(shared_cache), PYTHONPATH=str(ROOT / "src"))


@needs_shell
def test_predictions_and_copies_are_what_the_pages_say(workplace, shared_cache):
    for name in ("predict_json.sh", "predict_csv.sh", "sort_into.sh"):
        recorder.run(SNIPPETS / name, workplace, FIELDGUIDE_CACHE=str(shared_cache), PYTHONPATH=str(ROOT / "src"))
    lines = [json.loads(line) for line in Path("predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["class_name"] for line in lines] == ["cats", "cats", "dogs", "dogs", "foxes", "foxes"]
    with open("predictions.csv", newline="", encoding="utf-8") as file:
        assert [row["class_name"] for row in csv.DictReader(file)] == [line["class_name"] for line in lines]
    assert sorted(os.listdir("sorted")) == ["cats", "dogs", "foxes"]


@pytest.mark.slow
@needs_shell
def test_the_expression_for_groups_finds_the_animals(workplace, shared_cache):
    recorder.run(SNIPPETS / "groups.sh", workplace, FIELDGUIDE_CACHE=str(shared_cache), PYTHONPATH=str(ROOT / "src"))
    split = json.loads(Path("runs/dataset-2/split.json").read_text(encoding="utf-8"))
    assert {image["group"] for image in split["images"]} == {f"animal-{number:03d}" for number in range(27)}


@pytest.mark.parametrize("name", sorted(p.name for p in SNIPPETS.glob("*.sh")))
def test_commands_that_are_shown_have_the_options_they_give(name):
    """Quick, so that those which run in the slow tests alone cannot grow stale unseen."""
    group = typer.main.get_command(app)
    for line in (SNIPPETS / name).read_text(encoding="utf-8").splitlines():
        words = shlex.split(line.strip().split("| ")[-1].split(" >")[0])
        if words[:1] == ["fieldguide"] and words[1:] != ["--help"]:
            words = ["0" if word.startswith("$") else word for word in words]
            group.commands[words[1]].make_context(words[1], words[2:])  # a click.UsageError names what is wrong


def test_no_page_holds_code_of_its_own():
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if "_generated" not in page.parts:
            fences = re.findall(r"^```(\w+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert set(fences) <= {"text"}, f"{page}: put the code into docs/snippets and include it, so that it is tested"


def test_snippets_fit_a_page_without_scrolling():
    for path in (*SNIPPETS.glob("*.py"), *SNIPPETS.glob("*.sh")):
        assert max(map(len, path.read_text(encoding="utf-8").splitlines())) <= MOST_COLUMNS, path.name


def test_every_snippet_is_shown_and_every_one_shown_is_there():
    pages = [*(ROOT / "docs").rglob("*.md")]
    shown = {Path(n).name for p in pages for n in re.findall(r"literalinclude\} (\S+)", p.read_text(encoding="utf-8"))}
    assert shown | {"readme.py", "readme.sh"} == {path.name for path in SNIPPETS.iterdir() if path.is_file()}


@pytest.mark.slow
@needs_shell
def test_commands_of_the_guide_print_what_the_pages_show(monkeypatch):
    """Figures may differ from machine to machine; lines and words may not. `python docs/record_outputs.py` renews them."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    for name, output in recorder.record().items():
        shown = (SNIPPETS / name).with_suffix(".txt").read_text(encoding="utf-8")
        assert _without_figures(output) == _without_figures(shown), name


def _without_figures(text: str) -> list[str]:
    """Each line with its numbers replaced, and without what depends on them: answers, which follow a path; a sentence."""
    lines = [re.sub(r"(\.png\"?[:,]).*", r"\1", line) for line in text.strip().splitlines()]
    lines = [line.replace(". The others are right, of pictures that the network finds hard", "") for line in lines]
    return [re.sub(r"\d[\d.,e-]*", "#", line) for line in lines]
