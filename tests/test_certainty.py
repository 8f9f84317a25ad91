"""What a run says of strangers and of how sure it is, from training to the command line."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

import fieldguide
from fieldguide.bundle import read_bundle
from fieldguide.errors import BundleError, RecipeError
from fieldguide.storage import sha256_file
from tests.conftest import HUES, noisy_picture
from tests.test_workflow import cli


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures") / "colors"
    for seed, (part, hue, number) in enumerate(
        (part, hue, number) for part, count in (("train", 24), ("test", 8)) for hue in HUES for number in range(count)
    ):
        (root / part / hue).mkdir(parents=True, exist_ok=True)
        noisy_picture(HUES[hue], seed).save(root / part / hue / f"{number:03d}.jpg")
    return root


@pytest.fixture(scope="module")
def run(colors: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> fieldguide.Run:
    before = os.environ.get("FIELDGUIDE_CACHE")
    os.environ["FIELDGUIDE_CACHE"] = str(shared_cache)
    try:
        return fieldguide.train(colors, out=tmp_path_factory.mktemp("runs") / "colors", progress=False)
    finally:
        os.environ.pop("FIELDGUIDE_CACHE") if before is None else os.environ.update(FIELDGUIDE_CACHE=before)


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """A checkerboard, among pictures of one color each."""
    board = (np.indices((64, 64)).sum(axis=0) // 8 % 2 * 255).astype(np.uint8)
    Image.fromarray(np.stack([board] * 3, axis=2)).save(tmp_path / "board.png")
    return tmp_path / "board.png"


@pytest.fixture
def copy(run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(Path(run.directory, "bundle"), tmp_path / "copy"))


def change_manifest(bundle: Path, **changes: object) -> None:
    values = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps({**values, **changes}))


def test_a_stranger_is_none_of_these_everywhere(run, colors, stranger, capsys, tmp_path):
    prediction = fieldguide.load(run.directory).predict(stranger)
    assert prediction.class_name is None and prediction.none_of_these and prediction.novelty > 1
    assert prediction.nearest_class in HUES and prediction.probability == max(prediction.probabilities.values())
    own = str(colors / "test" / "red" / "000.jpg")
    assert cli("predict", run.directory, str(stranger), own, "--sort-into", str(tmp_path / "sorted")) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{stranger}: none of these (nearest: {prediction.nearest_class})"
    assert second.startswith(f"{own}: red ")
    assert (tmp_path / "sorted" / "none of these" / "board.png").is_file()
    assert cli("predict", run.directory, str(stranger), "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["none_of_these"] is True and values["class_name"] is None and values["novelty"] > 1
    assert cli("predict", run.directory, str(stranger), "--csv") == 0
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["class_name"] == "" and row["none_of_these"] == "True" and float(row["novelty"]) > 1


def test_zero_names_a_class_for_every_picture(run, stranger, colors, tmp_path, capsys):
    usual, never = (fieldguide.load(run.directory, reject=r).predict(stranger) for r in (None, 0.0))
    assert never.class_name == usual.nearest_class and not never.none_of_these and never.novelty == usual.novelty
    assert cli("predict", run.directory, str(stranger), "--reject", "0") == 0
    assert "none of these" not in capsys.readouterr().out
    without = fieldguide.train(colors, out=tmp_path / "run", reject=0.0, progress=False)
    assert without.scores["test"]["answered"] is None
    assert fieldguide.load(without.directory).predict(stranger).class_name is not None


def test_the_run_says_what_was_learned_from_held_out_pictures(run, colors, capsys):
    facts = run.certainty
    assert facts["num_held_out"] == 72 and facts["is_share_known"] is False and facts["reject"] == 0.01
    assert set(facts["near_strangers"]["per_class"]) == set(HUES)
    assert facts["near_strangers"]["caught"] == pytest.approx(np.mean(list(facts["near_strangers"]["per_class"].values())))
    answered = run.scores["test"]["answered"]
    evaluation = fieldguide.evaluate(run.directory)
    assert answered["share"] == pytest.approx((evaluation.novelties <= 1).mean())
    assert evaluation.turned_away.sum() == 24 - answered["num_images"]
    assert 0 <= run.scores["test"]["calibration_error"] < 0.2
    assert cli("train", str(colors), "--out", run.directory) == 0
    printed = capsys.readouterr().out
    assert "unknown, for only 72 pictures" in printed
    assert "strangers that resemble your classes are caught" in printed


def test_other_data_is_turned_away_by_the_same_rule(run, colors):
    own, again = fieldguide.evaluate(run.directory), fieldguide.evaluate(run.directory, data=colors)
    assert np.abs(np.sort(own.novelties) - np.sort(again.novelties)).max() < 1e-2
    assert again.reject == own.reject == 0.01


def test_prediction_sets_are_there_when_asked_for(run, colors, stranger, capsys):
    own = str(colors / "test" / "red" / "000.jpg")
    assert fieldguide.load(run.directory).predict(own).prediction_set is None
    prediction = fieldguide.load(run.directory, set_coverage=0.9).predict(own)
    assert prediction.prediction_set[0] == "red"
    everything = fieldguide.load(run.directory, set_coverage=0.999).predict(own)  # 72 pictures cannot promise that
    assert set(everything.prediction_set) == set(HUES)
    assert cli("predict", run.directory, own, "--set-coverage", "0.9", "--json") == 0
    assert json.loads(capsys.readouterr().out)["prediction_set"] == list(prediction.prediction_set)
    assert cli("predict", run.directory, own, "--set-coverage", "0.999", "--csv") == 0
    assert next(csv.DictReader(io.StringIO(capsys.readouterr().out)))["prediction_set"].startswith("red | ")
    assert cli("predict", run.directory, own, "--set-coverage", "0.999") == 0
    assert "; may be: red, " in capsys.readouterr().out
    with pytest.raises(RecipeError, match="between 0 and 1"):
        fieldguide.load(run.directory, set_coverage=1.5)


def test_a_bundle_of_an_older_version_still_answers(copy, run, stranger, colors):
    values = json.loads((copy / "manifest.json").read_text())
    hashes = {n: h for n, h in values["hashes"].items() if n not in ("novelty.safetensors", "held_out.safetensors")}
    change_manifest(copy, novelty=None, hashes=hashes)
    for name in ("novelty.safetensors", "held_out.safetensors"):
        (copy / name).unlink()
    classifier = fieldguide.load(copy)
    prediction = classifier.predict(stranger)
    assert prediction.class_name and prediction.novelty is None and not prediction.none_of_these
    assert classifier.verify() < 1e-3
    assert fieldguide.evaluate(copy, data=colors).novelties is None
    with pytest.raises(BundleError, match="older version"):
        fieldguide.load(copy, reject=0.05)
    with pytest.raises(BundleError, match="older version"):
        fieldguide.load(copy, set_coverage=0.9)


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), 1e-9, "warm", None])
def test_a_temperature_that_cannot_be_is_refused(copy, temperature):
    change_manifest(copy, temperature=temperature)
    with pytest.raises(BundleError, match=r"manifest\.json is damaged"):
        read_bundle(copy)


@pytest.mark.parametrize("novelty", [None, {}, {"reject": 2}, {"reject": "x"}, [1]])
def test_a_manifest_that_does_not_say_the_share_is_refused(copy, novelty):
    change_manifest(copy, novelty=novelty)
    with pytest.raises(BundleError, match=r"novelty\.safetensors is damaged"):
        read_bundle(copy)


@pytest.mark.parametrize("name", ["novelty.safetensors", "held_out.safetensors"])
def test_hostile_tensors_are_refused_even_with_the_right_hash(copy, name):
    def replace(write) -> None:
        write(copy / name)
        hashes = json.loads((copy / "manifest.json").read_text())["hashes"]
        change_manifest(copy, hashes={**hashes, name: sha256_file(copy / name)})
        with pytest.raises(BundleError, match=r"damaged|novelty's"):
            read_bundle(copy)

    replace(lambda path: path.write_bytes(b"no tensors"))
    replace(lambda path: save_file({"of_labels": np.array([0.5, 7.0], np.float32), "center": np.zeros(3)}, path))
    replace(lambda path: save_file({}, path))
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"lacks {name}"):
        read_bundle(copy)


def test_classic_knows_strangers_and_temperature_from_its_validation_part(colors, tmp_path):
    recipe = fieldguide.Classic(image_size=(32, 32), filters=(8, 16), units=16, epochs=6, min_steps=60)
    run = fieldguide.train(colors, out=tmp_path / "run", recipe=recipe, progress=False)
    assert run.certainty["num_held_out"] == run.scores["val"]["num_images"] < 20
    assert run.certainty["near_strangers"] is not None
    bundle = read_bundle(run.directory)
    assert bundle.certainty.novelty.class_means.shape == (3, 16)
    evaluation = fieldguide.evaluate(run.directory)
    assert evaluation.novelties.shape == (24,) and 0.05 <= bundle.certainty.temperature <= 20


def test_two_runs_are_compared_on_the_command_line_and_on_a_page(run, colors, tmp_path, capsys):
    other = fieldguide.train(colors, out=tmp_path / "other", recipe=fieldguide.Transfer(strengths=(1e-6,)), progress=False)
    page = tmp_path / "compare.html"
    assert cli("compare", run.directory, other.directory, "--html", str(page)) == 0
    printed = capsys.readouterr().out
    assert "No difference can be told from chance" in printed and f"page:   {page}" in printed
    assert cli("compare", run.directory, other.directory, "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert {"difference", "interval", "p_value", "num_images", "flips"} <= set(values) and values["num_images"] == 24
    text = page.read_text(encoding="utf-8")
    assert "Is B better than A?" in text and "<script" not in text
    data = Path(shutil.copytree(colors / "test", tmp_path / "data" / "test")).parent
    for path in data.rglob("*.jpg"):
        Image.new("RGB", (40, 40), (250, 250, 250)).save(path)  # of another look, under the same names
    (data / "test" / "red" / "broken.jpg").write_bytes(b"")
    assert cli("compare", run.directory, other.directory, "--data", str(data), "--html", str(page), "--json") == 0
    captured = capsys.readouterr()
    values = json.loads(captured.out)
    assert values["num_images"] == 24 and values["flips"] and "1 file(s) left out" in captured.err
    assert [file["path"] for file in values["skipped"]] == ["test/red/broken.jpg"]
    shown = re.findall(r"data:image/jpeg;base64,([^\"]+)", page.read_text(encoding="utf-8"))
    assert shown
    for jpeg in shown:
        assert np.asarray(Image.open(io.BytesIO(base64.b64decode(jpeg)))).mean() > 240


def test_runs_with_other_test_pictures_are_not_compared(run, make_folder, tmp_path, capsys):
    folder = make_folder({f"{part}/{hue}": 6 for part in ("train", "test") for hue in HUES}, first_seed=500)
    other = fieldguide.train(folder, out=tmp_path / "other", progress=False)
    assert cli("compare", run.directory, other.directory) == 1
    message = capsys.readouterr().err
    assert "6 picture(s) only in" in message and "18 with another content under the same name" in message


def test_a_run_comes_out_again_to_the_bit(run, capsys, tmp_path):
    assert cli("reproduce", run.directory, "--out", str(tmp_path / "again")) == 0
    assert "equal to the bit" in capsys.readouterr().out
    found = fieldguide.reproduce(run.directory, out=tmp_path / "once more", progress=False)
    assert found.is_equal and found.differing_files == found.reasons == () and found.largest_difference == 0


def test_what_does_not_come_out_again_is_said_with_what_differs(run, colors, tmp_path, capsys):
    other = Path(shutil.copytree(colors, tmp_path / "colors"))
    noisy_picture(HUES["red"], 999).save(other / "train" / "blue" / "000.jpg")
    assert cli("reproduce", run.directory, "--data", str(other), "--out", str(tmp_path / "again"), "--json") == 1
    values = json.loads(capsys.readouterr().out)
    assert values["is_equal"] is False and "head.safetensors" in values["differing_files"]
    assert any("fingerprint" in reason for reason in values["reasons"])
    assert values["largest_difference"] > 0


def test_a_run_that_does_not_say_how_it_was_made_is_refused(run, tmp_path):
    old = Path(shutil.copytree(run.directory, tmp_path / "old"))
    values = json.loads((old / "run.json").read_text())
    (old / "run.json").write_text(json.dumps({k: v for k, v in values.items() if k != "arguments"}))
    with pytest.raises(BundleError, match="older version"):
        fieldguide.reproduce(old)
