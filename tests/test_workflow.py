"""From a folder to predictions, through the public functions and the command line."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

import fieldguide
from fieldguide.errors import BundleError, DatasetError, RecipeError
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import TrainingData
from fieldguide.records import Record
from tests.conftest import HUES, cli, noisy_picture


def test_a_run_folder_holds_its_records(run_folder):
    names = {path.relative_to(run_folder).as_posix() for path in run_folder.rglob("*") if path.is_file()}
    assert {
        "audit.json",
        "bundle/manifest.json",
        "bundle/network.xml",
        "evaluation/test.json",
        "history.csv",
        "index.json",
        "recipe.json",
        "report.html",
        "run.json",
        "split.json",
    } <= names
    assert not [name for name in names if name.startswith(".") or ".part" in name]
    assert "pickle" not in " ".join(names)


def test_scores_name_leaks_and_the_out_of_fold_validation(run_folder):
    scores = json.loads((run_folder / "run.json").read_text())["scores"]
    assert scores["test"]["num_images"] == 25 and scores["test"]["num_leaked"] == 1
    assert scores["test"]["without_leaks"]["num_images"] == 24
    assert scores["val"]["method"] == "out-of-fold" and scores["val"]["num_images"] == 61


def test_prediction_takes_paths_bytes_pictures_arrays_and_lists(run_folder, photos):
    classifier = fieldguide.load(run_folder)
    path = photos / "test_set" / "blue" / "000.jpg"
    one = classifier.predict(path)
    assert one.class_name == "blue" and one.path == str(path)
    with Image.open(path) as image:
        assert classifier.predict(image).probabilities == one.probabilities
        array = np.asarray(image)
    for other in (str(path), path.read_bytes(), array):
        assert classifier.predict(other).probabilities == one.probabilities
    many = classifier.predict([path, photos / "test_set" / "red" / "000.jpg", array])
    assert [p.class_name for p in many] == ["blue", "red", "blue"]
    assert [p.class_name for p in classifier.predict(np.stack([array, array]))] == ["blue", "blue"]
    with pytest.raises(DatasetError, match="0 to 255"):
        classifier.predict(array / 255.0)


def test_many_pictures_come_in_order_and_equal_one_at_a_time(run_folder, photos):
    classifier = fieldguide.load(run_folder)
    paths = sorted((photos / "test_set").rglob("*.jpg"))
    together = list(classifier.predict_many(paths))
    assert [p.path for p in together] == [str(path) for path in paths]
    for path, prediction in list(zip(paths, together, strict=True))[::5]:
        alone = classifier.predict(path)
        assert all(abs(alone.probabilities[n] - prediction.probabilities[n]) < 1e-5 for n in classifier.class_names)


def test_evaluation_with_other_data_equals_the_runs_own(run_folder, photos):
    own, again = fieldguide.evaluate(run_folder), fieldguide.evaluate(run_folder, data=photos)
    assert dict(zip(own.paths, own.predicted, strict=True)) == dict(zip(again.paths, again.predicted, strict=True))
    assert np.abs(np.sort(own.probabilities, axis=None) - np.sort(again.probabilities, axis=None)).max() < 1e-3


def test_a_tampered_bundle_is_refused_and_a_whole_one_verifies(run_folder, tmp_path):
    assert fieldguide.load(run_folder).verify() < 1e-3
    for name in ("head.safetensors", "network.bin"):
        copy = tmp_path / name
        shutil.copytree(run_folder / "bundle", copy)
        content = bytearray((copy / name).read_bytes())
        content[-5] ^= 1
        (copy / name).write_bytes(content)
        with pytest.raises(BundleError, match="SHA-256 differs"):
            fieldguide.load(copy)


@pytest.mark.parametrize("part", [".", "bundle"])
def test_run_bundle_and_zip_answer_the_same(run_folder, photos, tmp_path, part):
    zipped = shutil.make_archive(str(tmp_path / "zipped"), "zip", run_folder.parent, f"{run_folder.name}/{part}")
    picture = photos / "test_set" / "green" / "000.jpg"
    expected = fieldguide.load(run_folder).predict(picture)
    assert fieldguide.load(zipped).predict(picture) == fieldguide.load(run_folder / part).predict(picture) == expected


def test_what_is_no_run_is_named(tmp_path, tiny_folder):
    with pytest.raises(BundleError, match="There is no run"):
        fieldguide.load(tmp_path / "gone")
    with pytest.raises(BundleError, match="no manifest"):
        fieldguide.load(tiny_folder)


def test_predict_prints_json_lines_and_exits_1_after_the_rest(run_folder, photos, capsys):
    good, bad = photos / "test_set" / "red" / "000.jpg", photos / "training_set" / "red" / "damaged.jpg"
    assert cli("predict", str(run_folder), str(bad), str(good), "--json") == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["class_name"] is None and first["error"] and first["path"] == str(bad)
    assert second["class_name"] == second["nearest_class"] == "red" and second["error"] is None
    assert set(second["probabilities"]) == {"red", "green", "blue"}
    assert 0 < second["novelty"] < 1 and second["none_of_these"] is False and "prediction_set" not in second
    assert abs(sum(second["probabilities"].values()) - 1) < 1e-5


def test_predict_reads_folders_globs_and_a_list_and_writes_safe_csv(run_folder, photos, capsys, monkeypatch, tmp_path):
    evil = tmp_path / "=cmd.jpg"
    shutil.copyfile(photos / "test_set" / "red" / "000.jpg", evil)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("=cmd.jpg\n"))
    globbed = str(photos / "test_set" / "blue" / "00[0-2].jpg")
    assert cli("predict", str(run_folder), str(photos / "test_set" / "green"), globbed, "-", "--csv") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["class_name"] for row in rows] == ["green"] * 8 + ["blue"] * 3 + ["red"]
    assert rows[-1]["path"] == "'=cmd.jpg"


def test_sort_into_copies_and_never_overwrites(run_folder, photos, tmp_path, capsys):
    source, target = photos / "test_set" / "red" / "000.jpg", tmp_path / "sorted"
    for _ in range(2):
        assert cli("predict", str(run_folder), str(source), "--sort-into", str(target)) == 0
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*.jpg")) == ["red/000-2.jpg", "red/000.jpg"]
    assert source.is_file()


def test_a_finished_run_is_never_overwritten(photos, run_folder, capsys):
    before = (run_folder / "run.json").read_bytes()
    assert cli("train", str(photos), "--out", str(run_folder), "--json") == 0
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert values["run"].endswith("colors-2") and "colors-2" in captured.err
    assert (run_folder / "run.json").read_bytes() == before
    assert {"run", "recipe", "class_names", "train", "val", "test", "seconds"} <= set(values)
    assert values["test"]["times_scored"] >= 2
    for name in ("head.safetensors", "network.bin", "weights.safetensors"):
        assert (run_folder / "bundle" / name).read_bytes() == Path(values["run"], "bundle", name).read_bytes()


def test_audit_and_evaluate_speak_the_contract(photos, run_folder, capsys, tmp_path):
    assert cli("audit", str(photos), "--quick", "--out", str(tmp_path / "audit"), "--json") == 0
    audit = json.loads(capsys.readouterr().out)
    assert {"num_images", "class_names", "images_per_class", "findings"} <= set(audit)
    assert {"truncated", "leak", "copies"} <= {finding["kind"] for finding in audit["findings"]}
    keys = {"kind", "severity", "paths", "message"}
    assert all(keys <= set(f) <= keys | {"suggested", "score"} for f in audit["findings"])
    assert cli("evaluate", str(run_folder), "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert np.trace(values["confusion_matrix"]) == 25 and len(values["per_class"]) == 3
    assert values["interval"][0] < values["accuracy"] <= values["interval"][1]


def test_errors_are_short_and_have_a_status(capsys, tmp_path):
    assert cli("train", str(tmp_path / "nowhere")) == 1
    message = capsys.readouterr().err
    assert message.startswith("error: There is no folder") and "hint:" in message and "Traceback" not in message
    assert cli("train") == 2
    assert cli("predict", "x", "y", "--json", "--csv") == 2


def test_report_can_be_written_again(run_folder):
    before = (run_folder / "report.html").read_bytes()
    fieldguide.report(run_folder)
    assert len((run_folder / "report.html").read_bytes()) > 0.9 * len(before)


def test_train_val_without_test_says_so(make_folder, tmp_path):
    folder = make_folder({f"{part}/{hue}": 6 for part in ("train", "val") for hue in HUES})
    run = fieldguide.train(folder, out=tmp_path / "run", progress=False)
    assert run.scores["test"] is None and run.scores["val"]["num_images"] == 18
    assert any("no test part" in note for note in run.notes)
    assert "no test part" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8").lower()


def test_a_flat_folder_and_a_csv_file_train_as_well(make_folder, tmp_path):
    folder = make_folder(dict.fromkeys(HUES, 12))
    flat = fieldguide.train(folder, out=tmp_path / "flat", progress=False)
    assert flat.scores["test"]["num_images"] == 6
    rows = [f"{p.relative_to(folder).as_posix()},{p.parent.name}" for p in sorted(folder.rglob("*.jpg"))]
    (folder / "labels.csv").write_text("path,label\n" + "\n".join(rows), encoding="utf-8")
    from_csv = fieldguide.train(folder / "labels.csv", out=tmp_path / "csv", progress=False)
    assert from_csv.scores["test"]["accuracy"] == flat.scores["test"]["accuracy"]


def test_an_unknown_recipe_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(RecipeError, match="choose one of auto, transfer, finetune, classic"):
        fieldguide.train(tmp_path, recipe="magic")


def test_transfer_predict_and_report_never_load_tensorflow_nor_telemetry(photos, tmp_path):
    """In a new process, with an empty home and an empty cache, sockets forbidden and CI unset."""
    home = tmp_path / "home"
    home.mkdir()
    script = f"""
import socket, sys
def refuse(*args, **kwargs): raise AssertionError("a socket was opened")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
import fieldguide
assert "numpy" not in sys.modules, "importing fieldguide must cost nothing"
run = fieldguide.train({str(photos)!r}, out={str(tmp_path / "run")!r}, progress=False)
fieldguide.report(run.directory)
fieldguide.load(run.directory).predict({str(photos / "test_set" / "red" / "000.jpg")!r})
assert fieldguide.audit({str(photos)!r}, progress=False).num_images
loaded = [n for n in ("tensorflow", "keras") if n in sys.modules]
assert not loaded, loaded
assert sys.modules.get("openvino_telemetry") is None
"""
    environment = {k: v for k, v in os.environ.items() if k not in ("CI", "PYTEST_CURRENT_TEST")}
    environment |= {"HOME": str(home), "FIELDGUIDE_CACHE": str(tmp_path / "cache"), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, env=environment, timeout=200)
    assert list(home.iterdir()) == []


def test_classic_trains_with_keras_and_ships_the_same_bundle(tiny_folder, tmp_path):
    recipe = fieldguide.Classic(image_size=(32, 32), filters=(8, 16), units=16, epochs=6, min_steps=60)
    run = fieldguide.train(tiny_folder, out=tmp_path / "run", recipe=recipe, progress=False)
    assert run.scores["test"]["accuracy"] >= 0.9
    assert {"epoch", "loss", "accuracy", "val_loss", "val_accuracy"} <= set(run.history[0])
    classifier = fieldguide.load(run.directory, precision="f32")
    pixels = np.stack([np.asarray(noisy_picture(color, 5, (32, 32))) for color in HUES.values()])
    logits = classifier.to_keras()(pixels, training=False).numpy()
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.abs(shifted / shifted.sum(axis=1, keepdims=True) - classifier.predict_pixels(pixels)).max() < 1e-3


def test_transfer_gives_a_plain_keras_model(run_folder):
    import keras

    classifier = fieldguide.load(run_folder, precision="f32")
    model = classifier.to_keras()
    assert isinstance(model, keras.Model) and model.input_shape == (None, 224, 224, 3)
    pixels = np.stack([np.asarray(noisy_picture(color, 5, (224, 224))) for color in HUES.values()])
    expected = classifier.bundle.logits(classifier.engine().embed(pixels))
    assert np.abs(model(pixels, training=False).numpy() - expected).max() < 1e-3


def test_many_pictures_are_learned_from_a_half_precision_file(photos, run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("fieldguide.workflow.scanning.HALF_PRECISION_FROM", 50)
    monkeypatch.setattr("fieldguide.data.scan._MEMORY_LIMIT_BYTES", 10_000)
    seen: list[TrainingData] = []
    fit = fieldguide.Transfer.fit
    monkeypatch.setattr(fieldguide.Transfer, "fit", lambda recipe, data: seen.append(data) or fit(recipe, data))
    run = fieldguide.train(photos, out=tmp_path / "run", progress=False)
    (data,) = seen
    assert isinstance(data.train.values, np.memmap) and data.train.values.dtype == np.float16
    assert run.scores["test"]["accuracy"] == 1.0 and run.scores["val"]["num_images"] == 61
    before, after = (fieldguide.evaluate(folder) for folder in (run_folder, run.directory))
    assert np.abs(before.probabilities - after.probabilities).max() < 2e-3


@dataclass(frozen=True)
class NearestMean(Record):
    """A recipe of the user's own: the class whose mean embedding is nearest."""

    name: ClassVar[str] = "nearest-mean"
    needs_val: ClassVar[bool] = True
    image_size: tuple[int, int] = (224, 224)

    def frozen_network(self) -> Path:
        return fieldguide.Transfer().frozen_network()

    def fit(self, data: TrainingData) -> Fitted:
        x, y = data.train.values, data.train.labels
        means = np.stack([x[y == label].mean(axis=0) for label in range(data.num_classes)])
        # |x - m|^2 = |x|^2 - 2 x.m + |m|^2; the first term is the same for every class
        backbone = fieldguide.Transfer()
        return Fitted(backbone.network(), backbone.weights(), 2 * means.T, -(means**2).sum(axis=1))


def test_a_recipe_of_the_users_own_is_trained_and_predicts(photos, tmp_path):
    run = fieldguide.train(photos, out=tmp_path / "run", recipe=NearestMean(), progress=False)
    assert run.recipe == "nearest-mean" and run.scores["test"]["accuracy"] == 1.0
    assert run.scores["val"]["method"] == "held out" and run.scores["val"]["num_images"] == 9
    assert fieldguide.load(run.directory).predict(photos / "test_set" / "red" / "000.jpg").class_name == "red"


def test_heic_is_counted_with_the_command_to_read_it_and_read_once_that_was_run(make_folder, monkeypatch, capsys):
    pillow_heif = pytest.importorskip("pillow_heif")
    folder = make_folder({"red": 3, "blue": 3})
    for number in range(4):
        picture = noisy_picture(HUES["red"], number, (64, 64))
        pillow_heif.from_pillow(picture).save(folder / "red" / f"phone-{number}.heic")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)
        assert cli("audit", str(folder), "--quick", "--out", str(folder.parent / "audit")) == 0
        out = capsys.readouterr().out
        assert "4 files left out (needs heic)" in out and "hint: pip install fieldguide[heic]" in out
    assert fieldguide.audit(folder, progress=False).images_per_class == {"blue": 3, "red": 7}


def test_settings_on_the_command_line_and_from_a_file(tiny_folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert (
        cli("train", str(tiny_folder), "--out", str(out), "--set", "num_folds=3", "--set", "strengths=0.1,1", "--seed", "4")
        == 0
    )
    written = json.loads((out / "recipe.json").read_text())
    assert (written["settings"]["num_folds"], written["settings"]["strengths"], written["seed"]) == (3, [0.1, 1.0], 4)
    assert cli("train", str(tiny_folder), "--out", str(tmp_path / "again"), "--recipe", str(out / "recipe.json")) == 0
    assert json.loads((tmp_path / "again" / "recipe.json").read_text()) == written
    capsys.readouterr()
    assert cli("train", str(tiny_folder), "--out", str(tmp_path / "no"), "--set", "num_fold=3") == 2
    assert "did you mean num_folds" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_training_by_the_clock_is_watched_and_its_command_says_all_that_was_set(tiny_folder, tmp_path, capsys):
    out = tmp_path / "run"
    given = ("--recipe", "classic", "--set", "image_size=32,32", "--set", "filters=8,16", "--time", "4s", "--tensorboard")
    assert cli("train", str(tiny_folder), "--out", str(out), *given) == 0
    run = json.loads((out / "run.json").read_text())
    assert "--set image_size=32,32 --set filters=8,16 --seed 0 --time 4s --tensorboard" in run["environment"]["command"]
    with (out / "history.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(run["history"]) >= 1
    assert list((out / "tensorboard").glob("events*"))
    assert run["interrupted"] is None and not (out / "checkpoints").exists()
    assert cli("train", str(tiny_folder), "--time", "soon") == 2
    assert "10m" in capsys.readouterr().err
