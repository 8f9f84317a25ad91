"""The page for students says what was measured: its tables, its claims and its pictures."""

from __future__ import annotations

import gzip
import itertools
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.append(str(REPOSITORY / "benchmarks"))
import students  # noqa: E402
from measure import read_rows  # noqa: E402

PAGE = students.PAGE.read_text(encoding="utf-8")
ROWS = read_rows("ablation")


@pytest.mark.parametrize("name", ["shapes", "settings", "ablation of digits", "ablation of fashion", "ablation cut short"])
def test_the_tables_are_those_that_the_measured_rows_give(name: str) -> None:
    start, end = students.section(PAGE, name)
    assert PAGE[start:end] == students.sections(ROWS)[name], "run: python benchmarks/students.py tables"


def verdicts(dataset: str, epochs: int) -> dict[str, str]:
    found = students.measured(students.chosen(ROWS, dataset, epochs))
    whole = found.pop(students.WHOLE)["val"]
    return {name: students.verdict(accuracies["val"], whole) for name, accuracies in found.items()}


def mean(dataset: str, epochs: int, variant: str, part: str) -> float:
    return statistics.mean(students.measured(students.chosen(ROWS, dataset, epochs))[variant][part])


NONE = "no dropout, augmentation, averaging, smoothing or decay"
FASTER = "ten times the learning rate"


def test_the_sentences_about_the_digits_hold() -> None:
    found = verdicts("digits", 25)
    worse = {name for name, verdict in found.items() if verdict == "worse"}
    pooling = "every second pixel instead of max pooling"
    assert worse == {"no convolutions", pooling, "no batch normalisation", "no activation (ReLU)"}
    assert next(iter(found)) == "no convolutions"  # the lowest
    weights = {row["variant"]: int(row["num_weights"]) for row in students.chosen(ROWS, "digits", 25)}
    assert weights["no convolutions"] > 2 * weights[students.WHOLE]
    assert mean("digits", 25, "no convolutions", "train") > 95
    for name in (students.WHOLE, "no dropout", "no augmentation", "no weight averaging"):
        assert found.get(name, "not clear") == "not clear"
        assert 2 <= mean("digits", 25, name, "train") - mean("digits", 25, name, "val") <= 3


def test_the_sentences_about_fashion_mnist_hold() -> None:
    found, cut_short = verdicts("fashion", 30), verdicts("fashion", students.CUT_SHORT)
    assert {found[name] for name in ("no dropout", NONE, FASTER)} == {"better"}
    assert mean("fashion", 30, NONE, "val") > mean("fashion", 30, "no dropout", "val")
    assert mean("fashion", 30, students.WHOLE, "train") < 85
    gaps = [mean("fashion", n, NONE, "val") - mean("fashion", n, students.WHOLE, "val") for n in (students.CUT_SHORT, 30)]
    assert gaps[0] > gaps[1] + 3
    assert cut_short["no augmentation"] == "better"
    lone = [mean("fashion", students.CUT_SHORT, name, "val") for name in ("no augmentation", students.WHOLE)]
    assert lone[0] - lone[1] > 0.8 * gaps[0]
    assert verdicts("digits", 25)[FASTER] == "better"
    assert mean("fashion", 30, FASTER, "val") >= mean("fashion", 30, NONE, "val")


def test_two_groups_of_three_equal_draws_are_apart_in_one_case_of_ten() -> None:
    groups = list(itertools.combinations(range(6), 3))
    apart = [g for g in groups if students.verdict(g, sorted(set(range(6)) - set(g))) != "not clear"]
    assert len(apart) * 10 == len(groups)


def test_the_pictures_exist_have_alternative_text_and_are_small() -> None:
    shown = re.findall(r"!\[([^\]]*)\]\(pictures/students/([^)]*)\)", PAGE)
    assert all(len(text) > 60 for text, _ in shown)
    files = sorted(students.PICTURES.iterdir())
    assert sorted(name for _, name in shown) == [file.name for file in files]
    sizes = [file.stat().st_size for file in files]
    assert max(sizes) < 150_000
    assert sum(sizes) < 1_000_000
    for file in files:
        with Image.open(file) as image:
            assert image.width == 648  # at 1.8 pixels to a phone's point, and no wider than a column


def row(variant: str, seed: int, val: float) -> dict[str, str]:
    return {"variant": variant, "seed": str(seed), **{f"{part}_accuracy": str(val) for part in students.PARTS}}


def test_a_variant_counts_once_it_has_been_run_with_every_seed() -> None:
    rows = [row("no x", 0, 0.7), row("no y", 0, 0.6), row("whole network", 0, 0.9), row("no y", 1, 0.5)]
    found = students.measured([*rows, row("whole network", 1, 0.8)])
    assert list(found) == ["whole network", "no y"]
    assert found["no y"]["val"] == pytest.approx([60, 50])


@pytest.mark.parametrize(
    ("variant", "whole", "expected"),
    [([1, 2], [3, 4], "worse"), ([5, 6], [3, 4], "better"), ([1, 3], [3, 4], "not clear"), ([3.5, 9], [3, 4], "not clear")],
)
def test_a_difference_is_clear_where_no_two_seeds_overlap(variant: list[float], whole: list[float], expected: str) -> None:
    assert students.verdict(variant, whole) == expected


@pytest.fixture(scope="module")
def ablation() -> Any:
    import ablation

    return ablation


def test_each_variant_lacks_what_its_name_says(ablation: Any) -> None:
    def kinds(name: str) -> list[str]:
        variant = ablation.VARIANTS[name]
        settings = ablation.replace(ablation.BASE, **variant.changes)
        return [type(layer).__name__ for layer in ablation.build(variant, settings).layers]

    lacks = {
        "no batch normalisation": "BatchNormalization",
        "no activation (ReLU)": "ReLU",
        "no convolutions": "Conv2D",
    }
    whole = set(kinds("whole network"))
    assert whole >= {*lacks.values(), "Dropout"}
    for name, kind in lacks.items():
        assert kind not in kinds(name), name


def test_every_second_pixel_is_what_a_stride_of_two_gives(ablation: Any) -> None:
    import keras

    maps = np.random.default_rng(0).normal(size=(2, 9, 8, 3)).astype(np.float32)
    layer = keras.layers.Conv2D(4, 3, padding="same")
    whole = layer(maps)
    strided = keras.layers.Conv2D(4, 3, strides=2, padding="valid")
    strided.build((None, 11, 10, 3))
    strided.set_weights(layer.get_weights())
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_allclose(ablation.EverySecondPixel().max_pool(whole), strided(padded), atol=1e-5)


@pytest.mark.parametrize("is_packed", [True, False])
def test_idx_files_are_read_packed_or_not(ablation: Any, tmp_path: Path, is_packed: bool) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    data = bytes([0, 0, 8, 3]) + np.array(pixels.shape, ">u4").tobytes() + pixels.tobytes()
    name = "some-images-idx3-ubyte"
    (tmp_path / (f"{name}.gz" if is_packed else name)).write_bytes(gzip.compress(data) if is_packed else data)
    np.testing.assert_array_equal(ablation.read_idx(tmp_path, name), pixels)
    with pytest.raises(SystemExit, match=r"has no other\.gz and no other"):
        ablation.read_idx(tmp_path, "other")


def test_the_parts_of_the_digits_share_no_picture(ablation: Any) -> None:
    parts = ablation.digits()
    assert [len(part.labels) for part in parts] == [300, 497, 1000]
    seen = [{pixels.tobytes() for pixels in part.pixels} for part in parts]
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_a_variant_is_trained_and_scored(ablation: Any) -> None:
    train, val, _ = ablation.digits()
    few = ablation.Part(train.pixels[:64], train.labels[:64])
    settings = ablation.replace(ablation.SETTINGS["digits"], epochs=1, filters=(4, 4, 4, 4), units=8)
    model, result = ablation.train(ablation.VARIANTS["no batch normalisation"], settings, few, val, seed=0)
    assert len(result.history) == result.best_epoch == 1
    assert ablation.accuracy(model, val) == pytest.approx(result.history[0]["val_accuracy"], abs=1e-6)


def test_every_row_was_measured_with_the_settings_that_the_script_has_now(ablation: Any) -> None:
    for row in ROWS:
        if (row["dataset"], row["epochs"]) != ("fashion", str(students.CUT_SHORT)):
            changes = ablation.VARIANTS[row["variant"]].changes
            expected = ablation.replace(ablation.SETTINGS[row["dataset"]], **changes).to_json()
            assert ablation.settings_of(row) == expected
