"""What scripts rely on: the keys of `--json` and the exit statuses."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fieldguide
from fieldguide import workflow
from fieldguide.cli import VERBS
from fieldguide.records import Run
from fieldguide.workflow.provenance import train_command
from tests.conftest import HUES, cli

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Standard output, which must be one line of JSON and nothing else."""
    (line,) = capsys.readouterr().out.splitlines()
    values: dict[str, Any] = json.loads(line)
    return values


def check_score(score: dict[str, Any], num_images: int) -> None:
    low, high = score["interval"]
    assert 0 <= low <= score["accuracy"] <= high <= 1
    assert score["num_images"] == num_images


def test_train_prints_one_object(photos, tmp_path, capsys):
    assert cli("train", str(photos), "--out", str(tmp_path / "run"), "--recipe", "transfer", "--seed", "3", "--json") == 0
    values = answer(capsys)
    assert values["run"] == str(tmp_path / "run")
    assert values["recipe"] == "transfer"
    assert values["class_names"] == ["blue", "green", "red"]
    check_score(values["train"], 61)
    check_score(values["val"], 61)
    check_score(values["test"], 25)
    stages = dict(values["seconds"])
    total = stages.pop("total")
    assert {"index", "scan + embed", "train", "evaluate", "report"} <= set(stages)
    assert 0.9 * total <= sum(stages.values()) <= total


def test_train_without_a_test_part_prints_null(make_folder, tmp_path, capsys):
    folder = make_folder({f"{part}/{hue}": 4 for part in ("train", "val") for hue in HUES})
    assert cli("train", str(folder), "--out", str(tmp_path / "run"), "--json") == 0
    values = answer(capsys)
    assert values["test"] is None
    check_score(values["val"], 12)


def test_predict_prints_an_object_a_line(run_folder, photos, capsys):
    assert cli("predict", str(run_folder), str(photos / "test_set" / "red"), "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9
    for line in lines:
        values = json.loads(line)
        assert {
            "path",
            "class_name",
            "nearest_class",
            "probability",
            "probabilities",
            "novelty",
            "none_of_these",
            "error",
        } <= set(values)
        assert set(values["probabilities"]) == {"blue", "green", "red"}
        assert values["probability"] == max(values["probabilities"].values())
        assert values["class_name"] == (None if values["none_of_these"] else values["nearest_class"])


def test_audit_prints_one_object(photos, capsys):
    assert cli("audit", str(photos), "--json") == 0
    values = answer(capsys)
    assert values["num_images"] == 86
    assert values["class_names"] == ["blue", "green", "red"]
    assert values["images_per_class"] == {"blue": 28, "green": 28, "red": 30}
    assert values["findings"]
    for finding in values["findings"]:
        assert set(finding) - {"suggested", "score"} == {"kind", "severity", "paths", "message"}
        assert finding["severity"] in ("error", "warning", "note")


def test_evaluate_says_what_it_could_not_read(run_folder, photos, tmp_path, capsys):
    data = Path(shutil.copytree(photos / "test_set", tmp_path / "data"))
    (data / "red" / "000.jpg").write_bytes(b"")
    assert cli("evaluate", str(run_folder), "--data", str(data), "--json") == 0
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert values["num_images"] == 24 and [file["path"] for file in values["skipped"]] == ["red/000.jpg"]
    assert captured.err.startswith("1 file(s) left out, not scored (red/000.jpg: ")


def test_evaluate_takes_the_test_rows_of_a_list_and_no_others(run_folder, photos, tmp_path, capsys):
    def listed(**counts: int) -> Path:
        rows = []
        for part, count in counts.items():
            for hue in HUES:
                rows += [f"{path},{hue},{part}" for path in sorted((photos / "training_set" / hue).glob("0*.jpg"))[:count]]
        path = tmp_path / "list.csv"
        path.write_text("\n".join(["path,label,split", *rows]), encoding="utf-8")
        return path

    assert cli("evaluate", str(run_folder), "--data", str(listed(test=5)), "--json") == 0
    assert json.loads(capsys.readouterr().out)["num_images"] == 15
    assert cli("evaluate", str(run_folder), "--data", str(listed(train=5)), "--json") == 1
    assert "has no row with split `test`" in capsys.readouterr().err


@pytest.mark.parametrize("with_data", [False, True])
def test_evaluate_prints_one_object(run_folder, photos, capsys, with_data):
    assert cli("evaluate", str(run_folder), *(["--data", str(photos)] if with_data else []), "--json") == 0
    values = answer(capsys)
    check_score(values, 25)
    assert [sum(row) for row in values["confusion_matrix"]] == [8, 8, 9]
    assert [row["class_name"] for row in values["per_class"]] == ["blue", "green", "red"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["train", "--help"], 0),
        (["train", "nowhere"], 1),
        (["audit", "nowhere"], 1),
        (["evaluate", "nowhere"], 1),
        (["predict", "nowhere", "picture.jpg"], 1),
        (["report", "nowhere"], 1),
        (["verify", "nowhere"], 1),
        (["train"], 2),
        (["train", "nowhere", "--recipe", "magic"], 2),
        (["train", "nowhere", "--seed", "-1"], 2),
        (["train", "nowhere", "--seed", str(2**32)], 2),
        (["train", "nowhere", "--precision", "f8"], 2),
        (["predict", "nowhere", "picture.jpg", "--json", "--csv"], 2),
        (["paint"], 2),
    ],
)
def test_exit_status(arguments, status, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli(*arguments) == status
    captured = capsys.readouterr()
    assert bool(captured.out) == (status == 0)
    if status == 1:
        assert captured.err.startswith("error: ") and "hint: " in captured.err and "Traceback" not in captured.err


def test_an_unexpected_error_is_one_line_with_status_1_and_a_traceback_with_debug(monkeypatch, capsys):
    def fail(*args: object, **options: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(workflow, "audit", fail)
    assert cli("audit", "folder") == 1
    message = capsys.readouterr().err
    assert message.startswith("error: ZeroDivisionError: division by zero") and "--debug" in message
    with pytest.raises(ZeroDivisionError):
        cli("--debug", "audit", "folder")


@pytest.mark.parametrize("verb", [verb.__name__ for verb in VERBS])
def test_every_verb_is_a_public_function_of_the_same_name(verb):
    assert verb in fieldguide.__all__ and callable(getattr(fieldguide, verb))


def test_predictions_read_and_write_no_cache(run_folder, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(tmp_path / "cache"))
    for path in photos.glob("test_set/*/000.jpg"):
        assert next(fieldguide.predict(run_folder, path)).class_name == path.parent.name
    assert fieldguide.verify(run_folder) < 1e-3
    assert not (tmp_path / "cache").exists()


def test_commands_that_are_printed_can_be_copied(make_folder, tmp_path, capsys):
    folder = make_folder({f"{hue} one": 3 for hue in HUES}, root=tmp_path / "my photos")
    narrowed = ("--exclude-class", "red one", "--merge-subfolders")
    assert cli("audit", str(folder), "--quick", "--out", str(tmp_path / "my audit"), *narrowed) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    command = train_command(
        folder, out=tmp_path / "run", recipe="transfer", seed=0, exclude_class=("red one",), merge_subfolders=True
    )
    if os.name == "posix":
        review = str(tmp_path / "my audit" / "review.csv")
        assert shlex.split(last) == ["next:", "fieldguide", "train", str(folder), "--review", review, *narrowed]
        options = ["--recipe", "transfer", "--seed", "0", "--exclude-class", "red one", "--merge-subfolders"]
        assert shlex.split(command) == ["fieldguide", "train", str(folder), "--out", str(tmp_path / "run"), *options]
    else:
        assert f'"{folder}"' in last and '--exclude-class "red one"' in command


def in_new_process(photos: Path, out: Path, number: signal.Signals) -> tuple[int, str]:
    """Starts `train`, sends it a signal in the middle of the scan; its exit status and standard error."""
    code = f"""
import sys, time
from fieldguide.cli import main
from fieldguide.data import scan
original = scan.decode
def slow(*args, **options):
    print("decoding", flush=True)
    time.sleep(0.2)
    return original(*args, **options)
scan.decode = slow
main(["train", {str(photos)!r}, "--out", {str(out)!r}])
"""
    environment = {**os.environ, "FIELDGUIDE_CACHE": str(out.parent / "cache")}
    command = [sys.executable, "-W", "error", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith("decoding")
        process.send_signal(number)
        message = process.stderr.read()
        return process.wait(60), message


@posix_only
@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]
)
def test_a_signal_ends_a_train_with_its_status_and_a_clear_line(photos, tmp_path, number, status, word):
    received, message = in_new_process(photos, tmp_path / "run", number)
    assert received == status
    assert message.splitlines()[-1] == word
    assert "the same command goes on" in message and "Traceback" not in message
    assert not (tmp_path / "run" / "run.json").exists()


@posix_only
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_train_that_ends_early_with_its_best_model_tells_which_signal_it_was(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, status: int
) -> None:
    finished = Run.from_json(json.loads((run_folder / "run.json").read_text(encoding="utf-8")))

    def train(*args: object, **options: object) -> Run:
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            return dataclasses.replace(finished, interrupted=True)
        raise AssertionError("no signal came")

    monkeypatch.setattr(workflow, "train", train)
    assert cli("train", "folder", "--json") == status
    captured = capsys.readouterr()
    assert json.loads(captured.out)["interrupted"] is True
    assert captured.err.splitlines()[-1] in ("terminated", "interrupted")


@posix_only
def test_a_reader_that_has_seen_enough_is_no_error(run_folder: Path, photos: Path) -> None:
    command = f"{sys.executable} -m fieldguide predict {run_folder} {photos / 'test_set'} --json"
    process = subprocess.Popen(command.split(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.stderr.read(), process.wait(60)) == ("", 0)
    process.stderr.close()
