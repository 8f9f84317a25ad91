"""Never from the beginning again: a run that was killed or interrupted goes on with the same command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fieldguide
from fieldguide.cli import main
from fieldguide.errors import DatasetError, FieldguideError, RecipeError
from fieldguide.recipes import registry
from fieldguide.records import Run
from tests.conftest import TINY, write_folder

SETTINGS = {"image_size": (32, 32), "filters": (8, 16), "units": 16, "epochs": 5, "min_steps": 0, "batch_size": 4}
RECIPE = fieldguide.Classic(**SETTINGS)
STEPS = 13  # an epoch of 51 pictures (60 less the validation part) in batches of 4
TRAIN = """
import sys, time
import fieldguide
from fieldguide.training import import_tensorflow
import_tensorflow()
from fieldguide.training import resumption
resumption.INTERVAL_SECONDS = 0.05
slow = resumption.Resumption.on_train_batch_end
def slower(self, *args, **named):
    slow(self, *args, **named)
    time.sleep(0.02)
resumption.Resumption.on_train_batch_end = slower
fieldguide.train(sys.argv[1], out=sys.argv[2], recipe=fieldguide.Classic(**{settings!r}), progress=False)
"""


def start(folder: Path, out: Path) -> subprocess.Popen[str]:
    code = TRAIN.replace("{settings!r}", repr(SETTINGS))
    return subprocess.Popen([sys.executable, "-c", code, str(folder), str(out)], text=True, stderr=subprocess.PIPE)


def wait_for_step(out: Path, step: int, process: subprocess.Popen[str]) -> None:
    """Until that many steps have been worked through, in all processes."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if int((out / "checkpoints" / "work.txt").read_text().split()[0]) >= step:
                return
        except (OSError, ValueError, IndexError):
            pass
        time.sleep(0.005)
    raise AssertionError(f"step {step} did not come; exit status {process.poll()}")


def shipped(run: Run) -> dict[str, bytes]:
    names = ("bundle/weights.safetensors", "bundle/head.safetensors", "bundle/network.bin", "evaluation/test.safetensors")
    return {name: Path(run.directory, name).read_bytes() for name in names}


def without_seconds(run: Run) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in run.history]


@pytest.fixture(scope="module")
def whole(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of RECIPE on a `tiny_folder` that nobody stopped."""
    folder = write_folder(tmp_path_factory.mktemp("whole") / "dataset", TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDGUIDE_CACHE", str(shared_cache))
        return fieldguide.train(folder, out=folder.parent / "run", recipe=RECIPE, progress=False)


@pytest.mark.parametrize("steps", [(2 * STEPS + 5,), pytest.param((STEPS // 2, 3 * STEPS), marks=pytest.mark.slow)])
def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    tiny_folder: Path, tmp_path: Path, whole: Run, steps: tuple[int, ...]
) -> None:
    out = tmp_path / "killed"
    for step in steps:
        process = start(tiny_folder, out)
        wait_for_step(out, step, process)
        process.kill()
        process.communicate()
    assert not (out / "run.json").exists()
    said: list[str] = []
    resumed = fieldguide.train(tiny_folder, out=out, recipe=RECIPE, progress=False, say=said.append)
    assert any("goes on" in line for line in said) and any("going on after step" in line for line in said)
    assert shipped(resumed) == shipped(whole)
    assert without_seconds(resumed) == without_seconds(whole)
    assert resumed.scores["test"]["accuracy"] == whole.scores["test"]["accuracy"]
    assert resumed.work["steps"] == whole.work["steps"] == 5 * STEPS
    assert resumed.work["starts"] == len(steps) + 1 and resumed.work["repeated_steps"] >= 0
    assert json.loads((out / "run.json").read_text())["work"] == dict(resumed.work)
    assert {path.name for path in out.iterdir()} == {path.name for path in Path(whole.directory).iterdir()}


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without asking it")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), pytest.param("SIGTERM", 143, marks=pytest.mark.slow)])
def test_a_signal_leaves_a_model_that_predicts_and_a_run_that_goes_on(
    tiny_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    whole: Run,
    name: str,
    status: int,
) -> None:
    from fieldguide.training import import_tensorflow

    import_tensorflow()
    from fieldguide.training.resumption import Resumption

    original = Resumption.on_train_batch_end

    def signalled(self: Resumption, *args: Any, **named: Any) -> None:
        if self.num_steps == 2 * STEPS + 3:
            signal.raise_signal(getattr(signal, name))
        original(self, *args, **named)

    out = tmp_path / "run"
    named = registry.recipe_class
    monkeypatch.setattr(registry, "recipe_class", lambda name: (lambda: RECIPE) if name == "classic" else named(name))
    with monkeypatch.context() as patch:
        patch.setattr(Resumption, "on_train_batch_end", signalled)
        assert cli("train", str(tiny_folder), "--out", str(out), "--recipe", "classic") == status
    assert "the same command goes on" in capsys.readouterr().err
    values = json.loads((out / "run.json").read_text())
    assert values["interrupted"] == name and len(values["history"]) == 2
    picture = next((tiny_folder / "test_set").rglob("*.jpg"))
    assert fieldguide.load(out).predict(picture).class_name is not None
    assert (out / "report.html").is_file()

    assert cli("train", str(tiny_folder), "--out", str(out), "--recipe", "classic") == 0
    values = json.loads((out / "run.json").read_text())
    assert values["interrupted"] is None and len(values["history"]) == 5
    assert values["work"] == {"steps": 5 * STEPS, "repeated_steps": 0, "starts": 2}
    assert (out / "bundle" / "weights.safetensors").read_bytes() == shipped(whole)["bundle/weights.safetensors"]
    assert not (out / "checkpoints").exists()


def cli(*arguments: str) -> int:
    """Runs the command line in this process; returns its exit status."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


@pytest.fixture
def cut_off(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of `transfer` that ended before it had a bundle."""
    out = tmp_path / "cut off"

    def fail(*args: Any, **options: Any) -> None:
        raise FieldguideError("the power is gone")

    with monkeypatch.context() as patch:
        patch.setattr("fieldguide.workflow.training.write_bundle", fail)
        with pytest.raises(FieldguideError, match="the power is gone"):
            fieldguide.train(tiny_folder, out=out, progress=False)
    assert not (out / "run.json").exists()
    return out


def test_a_run_that_was_cut_off_goes_on_in_its_own_folder(tiny_folder: Path, cut_off: Path) -> None:
    run = fieldguide.train(tiny_folder, out=cut_off, progress=False)
    assert run.directory == str(cut_off) and run.scores["test"]["num_images"] == 18
    again = fieldguide.train(tiny_folder, out=cut_off, progress=False)
    assert again.directory == f"{cut_off}-2"  # finished runs are never overwritten


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1}, "seed was 0 and is 1 now"),
        ({"recipe": "classic"}, 'recipe was "auto" and is "classic" now'),
        ({"recipe": fieldguide.Transfer(num_folds=4)}, r"settings\.num_folds was 5 and is 4 now"),
    ],
)
def test_another_plan_for_a_run_that_was_cut_off_is_refused_with_what_differs(
    tiny_folder: Path, cut_off: Path, changes: dict[str, Any], message: str
) -> None:
    before = {path: path.read_bytes() for path in cut_off.rglob("*") if path.is_file()}
    with pytest.raises(RecipeError, match=rf"{message}.*\nhint: .*--out"):
        fieldguide.train(tiny_folder, out=cut_off, progress=False, **changes)
    assert {path: path.read_bytes() for path in cut_off.rglob("*") if path.is_file()} == before


def add_a_picture(folder: Path) -> str:
    (folder / "training_set" / "red" / "999.jpg").write_bytes((folder / "training_set" / "red" / "000.jpg").read_bytes())
    return r"1 new \(training_set/red/999\.jpg\)"


def remove_two(folder: Path) -> str:
    for number in (3, 4):
        (folder / "test_set" / "blue" / f"00{number}.jpg").unlink()
    return r"2 gone \(test_set/blue/003\.jpg, \.\.\.\)"


def change_one(folder: Path) -> str:
    path = folder / "training_set" / "red" / "000.jpg"
    path.write_bytes((folder / "training_set" / "red" / "001.jpg").read_bytes())
    return "the content of some files has changed"


@pytest.mark.parametrize("change", [add_a_picture, remove_two, change_one])
def test_other_pictures_for_a_run_that_was_cut_off_are_refused_with_what_differs(
    tiny_folder: Path, cut_off: Path, change: Callable[[Path], str]
) -> None:
    message = change(tiny_folder)
    with pytest.raises(DatasetError, match=rf"{message}.*\nhint: .*--out"):
        fieldguide.train(tiny_folder, out=cut_off, progress=False)


def test_a_run_folder_in_use_is_refused_and_a_dead_process_holds_none(tiny_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    hold = (
        f"from filelock import FileLock; lock = FileLock({str(out / '.lock')!r}).acquire(); print('held', flush=True); input()"
    )
    process = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    with pytest.raises(DatasetError, match=r"Another process is at work in .*\nhint: wait"):
        fieldguide.train(tiny_folder, out=out, progress=False)
    process.kill()
    process.communicate()
    assert (out / ".lock").exists()
    assert fieldguide.train(tiny_folder, out=out, progress=False).directory == str(out)
    assert not (out / ".lock").exists()


def test_a_run_holds_the_lock_of_its_folder(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []

    def second(*args: Any) -> list[str]:
        with pytest.raises(DatasetError, match="Another process is at work") as caught:
            fieldguide.train(tiny_folder, out=tmp_path / "run", progress=False)
        refused.append(str(caught.value))
        return []

    monkeypatch.setattr("fieldguide.workflow.training._notes", second)
    fieldguide.train(tiny_folder, out=tmp_path / "run", progress=False)
    assert len(refused) == 1


def test_the_current_folder_and_home_are_run_folders_like_others(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = fieldguide.Transfer(image_size=(32, 32))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    run = fieldguide.train("~/dataset", out="~/run", recipe=recipe, progress=False)
    assert run.directory == str(tmp_path / "run") and run.arguments["source"] == str(tiny_folder)
    assert fieldguide.evaluate("~/run").part == "test"
    monkeypatch.chdir(tmp_path / "run")
    again = fieldguide.reproduce(".", progress=False)
    assert again.is_equal and Path(again.directory) == tmp_path / "run-again"
    other = fieldguide.train(tiny_folder, out=".", recipe=recipe, progress=False)
    assert Path(other.directory) == tmp_path / "run-2"
    assert fieldguide.audit(tiny_folder, out="~/audit", quick=True, progress=False).num_images == 78
    assert (tmp_path / "audit" / "audit.html").is_file()
