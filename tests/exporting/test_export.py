"""An export is proven or it is not there."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldguide
from fieldguide import workflow
from fieldguide.classifier import Classifier
from fieldguide.errors import BundleError, DatasetError, EngineError, RecipeError
from fieldguide.exporting import onnx_file, parity
from fieldguide.exporting.elsewhere import answers_of, shuffled_tiles
from fieldguide.exporting.export import read_export, write_export
from fieldguide.exporting.parity import Parity, Pictures
from fieldguide.exporting.timing import ExportTiming
from tests.conftest import cli

GOOD = Parity(
    num_images=200,
    top1_agreement=1.0,
    max_abs_diff=1e-6,
    accuracy_before=0.9,
    accuracy_after=0.9,
    runtime="onnxruntime 1",
    is_tensorflow_loaded=False,
    novelty_max_abs_diff=1e-6,
    none_of_these_agreement=1.0,
    turned_away_before=0.01,
    turned_away_after=0.01,
    auroc_before=0.99,
    auroc_after=0.99,
)


def test_export_prints_one_object_and_leaves_a_folder_that_says_the_same(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "exports" / "onnx"
    assert cli("export", str(run_folder), "--format", "onnx", "--out", str(out), "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    values = json.loads(line)
    assert values["format"] == "onnx" and values["directory"] == str(out)
    assert {"model.onnx", "model-picture.onnx"} <= set(values["files"])
    assert sorted(values["files"]) == sorted(path.name for path in out.iterdir() if path.name != "export.json")
    for found, most in ((values["parity"], 1e-3), (values["picture_parity"], 0.02)):
        assert found["num_images"] == 25
        assert found["top1_agreement"] == found["accuracy_before"] == found["accuracy_after"] == 1.0
        assert 0 < found["max_abs_diff"] <= most
        assert found["runtime"].startswith("onnxruntime ") and found["is_tensorflow_loaded"] is False
    assert values["parity"]["none_of_these_agreement"] == 1.0
    stored = json.loads((out / "export.json").read_text(encoding="utf-8"))
    assert {**stored, "directory": str(out)} == {**values, "format_version": 1}
    assert read_export(out).parity.num_images == 25


def test_a_bundle_alone_is_exported_with_pictures_that_are_given(run_folder: Path, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no run folder(.|\n)*--out"):
        fieldguide.export(run_folder / "bundle", "onnx")
    with pytest.raises(DatasetError, match=r"no evaluation(.|\n)*--data"):
        fieldguide.export(run_folder / "bundle", "onnx", out=tmp_path / "onnx")
    done = fieldguide.export(run_folder / "bundle", "onnx", out=tmp_path / "onnx", data=photos, reject=0)
    assert done.parity.num_images == 25 and done.parity.turned_away_after == 0


def test_an_unknown_format_is_a_matter_of_usage(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli("export", str(run_folder), "--format", "pickle") == 2
    assert "choose one of onnx" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="no format 'pickle'"):
        fieldguide.export(run_folder, "pickle")


def test_a_file_that_answers_otherwise_is_not_kept(
    tiny_classifier: Classifier, test_pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = onnx_file.answer_weights

    def shifted(classifier: Classifier) -> dict[str, Any]:
        weights = honest(classifier)
        return {**weights, "head/bias": weights["head/bias"] + np.array([0, 0, 0.1], np.float32)}

    monkeypatch.setattr(onnx_file, "answer_weights", shifted)
    with pytest.raises(EngineError, match=r"answers otherwise than the engine on 24 pictures: (.|\n)*a probability differs by"):
        write_export(tiny_classifier, tmp_path / "exports" / "onnx", "onnx", pictures=test_pictures)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_run_says_why(
    tiny_classifier: Classifier, test_pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(classifier: Classifier, directory: Path, metadata: Mapping[str, Any], calibration: Sequence[Path]) -> None:
        (directory / "model.onnx").write_bytes(b"no model")

    monkeypatch.setattr(onnx_file, "write", write)
    with pytest.raises(EngineError, match=r"exported file .onnx_file. cannot be run: (.|\n)*model\.onnx"):
        write_export(tiny_classifier, tmp_path / "onnx", "onnx", pictures=test_pictures)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(
    tiny_classifier: Classifier, test_pictures: Pictures, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"holds something else than an export(.|\n)*--out"):
        write_export(tiny_classifier, tmp_path, "onnx", pictures=test_pictures)
    assert mine.read_text(encoding="utf-8") == "mine"


def test_an_older_export_is_replaced_unless_something_was_put_beside_it(
    tiny_classifier: Classifier, test_pictures: Pictures, tmp_path: Path
) -> None:
    few = Pictures(test_pictures.paths[:2], None)
    out = tmp_path / "onnx"
    first = write_export(tiny_classifier, out, "onnx", pictures=few, texts={"note.txt": "first"})
    assert first.parity.num_images == 2 and first.parity.accuracy_before is None
    second = write_export(tiny_classifier, out, "onnx", pictures=few)
    assert second.files == ("model-picture.onnx", "model.onnx") and not (out / "note.txt").exists()
    (out / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DatasetError, match="something else"):
        write_export(tiny_classifier, out, "onnx", pictures=few)
    assert read_export(out) == second


def test_a_damaged_export_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text('{"format_version": 1, "format": "onnx"}', encoding="utf-8")
    with pytest.raises(BundleError, match="export again"):
        read_export(tmp_path)


def test_pictures_that_cannot_be_read_are_left_out(
    tiny_classifier: Classifier, test_pictures: Pictures, photos: Path, tmp_path: Path
) -> None:
    damaged = photos / "training_set" / "red" / "damaged.jpg"
    assert test_pictures.labels is not None
    with_damaged = Pictures([damaged, *test_pictures.paths[:3]], np.array([2, *test_pictures.labels[:3]]))
    assert write_export(tiny_classifier, tmp_path / "a", "onnx", pictures=with_damaged).parity.num_images == 3
    with pytest.raises(DatasetError, match=r"None of the 1 pictures(.|\n)*--data"):
        write_export(tiny_classifier, tmp_path / "b", "onnx", pictures=Pictures([damaged], None))


@pytest.mark.parametrize(
    ("bounds", "change", "words"),
    [
        (parity.TENSOR_BOUNDS, {"top1_agreement": 0.995}, r"top classes agree for a share of 0\.995 \(1 is allowed\)"),
        (parity.TENSOR_BOUNDS, {"max_abs_diff": 2e-3}, r"a probability differs by 0\.002 \(0\.001 is allowed\)"),
        (parity.TENSOR_BOUNDS, {"max_abs_diff": float("nan")}, "a probability differs by nan"),
        (parity.TENSOR_BOUNDS, {"novelty_max_abs_diff": 0.1}, "novelty differs by 0.1"),
        (parity.PICTURE_BOUNDS, {"top1_agreement": 0.99}, "0.99 .0.995"),
        (parity.PICTURE_BOUNDS, {"max_abs_diff": 0.03}, "0.03 .0.02"),
        (parity.QUANTIZED_BOUNDS, {"accuracy_after": 0.894}, "accuracy falls by 0.006 .0.005"),
        (parity.QUANTIZED_BOUNDS, {"auroc_after": 0.97}, "ROC curve of novelty falls by 0.02 .0.01"),
        (parity.QUANTIZED_BOUNDS, {"turned_away_after": 0.03}, "turned away rises by 0.02 .0.01"),
    ],
)
def test_each_bound_holds(bounds: parity.Bounds, change: dict[str, float], words: str) -> None:
    parity._hold(GOOD, bounds, "The file")
    with pytest.raises(EngineError, match=words):
        parity._hold(dataclasses.replace(GOOD, **change), bounds, "The file")


def test_a_loss_that_is_a_gain_is_no_loss() -> None:
    better = dataclasses.replace(GOOD, accuracy_after=1.0, auroc_after=1.0, turned_away_after=0.0)
    parity._hold(better, parity.QUANTIZED_BOUNDS, "The file")


def test_one_picture_of_few_is_allowed_two_are_not() -> None:
    few = dataclasses.replace(GOOD, num_images=20)
    parity._hold(dataclasses.replace(few, accuracy_after=0.85, turned_away_after=0.06), parity.QUANTIZED_BOUNDS, "The file")
    for change in ({"accuracy_after": 0.8}, {"turned_away_after": 0.11}):
        with pytest.raises(EngineError):
            parity._hold(dataclasses.replace(few, **change), parity.QUANTIZED_BOUNDS, "The file")


def test_shuffled_tiles_are_the_same_pixels_in_other_places() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (34, 41, 3), dtype=np.uint8)  # two rows and a column are left over
    first, again, other = shuffled_tiles(pixels, 1), shuffled_tiles(pixels, 1), shuffled_tiles(pixels, 2)
    assert (first == again).all() and (first != other).any() and (first != pixels).any()
    assert sorted(first.reshape(-1, 3).tolist()) == sorted(pixels.reshape(-1, 3).tolist())
    assert (first[32:] == pixels[32:]).all() and (first[:, 40:] == pixels[:, 40:]).all()


def test_the_fresh_process_times_batches(tiny_classifier: Classifier, test_pictures: Pictures, tmp_path: Path) -> None:
    onnx_file.write(tiny_classifier, tmp_path, {"fieldguide": "0"}, ())
    settings = {"preprocessing": tiny_classifier.bundle.preprocessing, "timed": (1, 4)}
    found = answers_of(tmp_path, "onnx_file", test_pictures.paths[:11], **settings)["tensor"]
    assert found.outputs["probabilities"].shape == (11, 3)
    assert 0 < found.seconds["cold_start"] < 60
    for size in ("1", "4"):
        assert 0 < found.seconds[size]["p50"] <= found.seconds[size]["p99"] < 5


def test_a_spread_takes_the_first_the_last_and_what_lies_evenly_between(test_pictures: Pictures) -> None:
    chosen = parity.spread(test_pictures, 3)
    assert chosen.labels is not None and chosen.labels.tolist() == [0, 1, 2]
    assert chosen.paths[0] == test_pictures.paths[0] and chosen.paths[-1] == test_pictures.paths[-1]
    assert len(parity.spread(test_pictures, 1000).paths) == 24


def test_a_network_that_pools_answers_a_batch_in_which_no_picture_can_be_read(tiny_classifier: Classifier) -> None:
    predictions = tiny_classifier.predict([b"no picture", b"none either"])
    assert all(prediction.error for prediction in predictions)
    assert tiny_classifier.engine().embed(np.empty((0, 32, 40, 3), np.uint8)).shape == (0, 6)


def test_an_export_of_a_run_comes_with_its_model_card(run_folder: Path, tmp_path: Path) -> None:
    done = fieldguide.export(run_folder, "openvino", out=tmp_path / "openvino")
    assert "MODEL_CARD.md" in done.files
    assert (tmp_path / "openvino" / "MODEL_CARD.md").read_text(encoding="utf-8") == fieldguide.card(run_folder)


def test_bench_export_gives_a_row_a_format_and_keeps_nothing(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ai_edge_quantizer", None)
    assert cli("bench-export", str(run_folder), "--format", "onnx", "--format", "litert-int8", "--json") == 0
    engine, onnx, without = json.loads(capsys.readouterr().out)
    assert [row["format"] for row in (engine, onnx, without)] == ["fieldguide", "onnx", "litert-int8"]
    for row in (engine, onnx):
        assert 1e6 < row["size_bytes"] < 30e6 and 0 < row["cold_start_seconds"] < 60 and row["error"] is None
        for size in (1, 32):
            assert 0 < row[f"batch_{size}_p50_seconds"] <= row[f"batch_{size}_p99_seconds"] < 60
    assert onnx["parity"]["accuracy_after"] == 1.0 and onnx["picture_parity"]["num_images"] == 25
    assert "pip install 'fieldguide[litert]'" in without["error"] and without["size_bytes"] is None
    assert list(tmp_path.iterdir()) == []


def test_bench_export_prints_one_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    row = ExportTiming("onnx", 20_300_000, 0.5, 0.010, 0.012, 0.320, 0.400, dataclasses.replace(GOOD, num_images=256))
    rows = (row, ExportTiming("litert", error="This needs ai_edge_litert.\nhint: install it"))
    monkeypatch.setattr(workflow, "bench_export", lambda *args, **options: rows)
    assert cli("bench-export", "run") == 0
    head, first, second, last = capsys.readouterr().out.splitlines()
    assert "cold start" in head and "accuracy" in head
    for figure in ("onnx", "20.3", "0.50 s", "10.0", "12.0", "320.0", "400.0", "90.00%", "1.0e-06", "n = 256"):
        assert figure in first
    assert second == "litert  This needs ai_edge_litert." and "milliseconds" in last
    assert cli("bench-export", "run", "--format", "pickle") == 2
