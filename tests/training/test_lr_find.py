"""The learning-rate finder finds what one would choose by eye."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldguide
from fieldguide import training, workflow

training.import_tensorflow()

from fieldguide.cli import main  # noqa: E402
from fieldguide.data.scan import Scan  # noqa: E402
from fieldguide.errors import RecipeError  # noqa: E402
from fieldguide.recipes.recipe import TrainingData  # noqa: E402
from fieldguide.records import ImageIndex, LearningRates, Preprocessing  # noqa: E402
from fieldguide.training.lr_find import Sweep, smooth  # noqa: E402
from fieldguide.workflow import rates  # noqa: E402

SMALL = fieldguide.Classic(image_size=(32, 32), filters=(8, 8), units=16, batch_size=16)


def test_the_smoothed_loss_is_the_average_of_what_came_with_the_newest_counting_most() -> None:
    assert smooth([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smooth([1.0, 2.0]) == pytest.approx([1.0, (0.09 * 1.0 + 0.1 * 2.0) / 0.19])


def test_the_suggestion_is_where_the_loss_falls_steepest_before_its_lowest_point() -> None:
    rates = np.geomspace(1e-5, 1.0, 51)
    curve = 2.0 - 1.0 / (1.0 + (1e-3 / rates) ** 2) + 100.0 * rates**3  # falls fastest at 0.001, explodes near 0.1
    assert Sweep(tuple(rates), tuple(curve), tuple(curve)).suggestion == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_noise_from_batch_to_batch_hardly_moves_the_suggestion(seed: int) -> None:
    rates = np.geomspace(1e-6, 1.0, 120)
    noise = np.random.default_rng(seed).normal(0, 0.2, 120)
    losses = (2.0 - 1.0 / (1.0 + (1e-3 / rates) ** 2) + 100.0 * rates**3 + noise).tolist()
    assert 2e-4 < Sweep(tuple(rates), tuple(losses), tuple(smooth(losses))).suggestion < 1e-2


def test_it_learns_from_the_training_part_says_a_rate_and_draws_it(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fieldguide.lr_find(tiny_folder, recipe=SMALL, num_batches=40, progress=False)
    assert 1e-6 <= found.suggestion <= 1.0
    assert len(found.learning_rates) == len(found.losses) == len(found.smoothed) <= 40
    assert list(found.learning_rates) == sorted(found.learning_rates)
    fieldguide.plots.lr_find(found).savefig(tmp_path / "rates.png")
    again = fieldguide.lr_find(tiny_folder, recipe=SMALL, num_batches=40, progress=False)
    assert again == found
    capsys.readouterr()
    settings = [word for name in ("image_size=32,32", "filters=4,4", "units=8") for word in ("--set", name)]
    with pytest.raises(SystemExit) as caught:
        main(["lr-find", str(tiny_folder), *settings, "--json", "--plot", str(tmp_path / "cli.png")])
    assert not caught.value.code
    assert json.loads(capsys.readouterr().out)["suggestion"] > 0
    assert (tmp_path / "cli.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["rates.txt", "nowhere/rates.png"])
def test_a_figure_that_cannot_be_drawn_is_refused_before_the_search(
    name: str, tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["lr-find", str(tiny_folder), "--plot", str(tmp_path / name)])
    assert caught.value.code == 2 and "should end in .png, .svg or .pdf" in " ".join(capsys.readouterr().err.split())


def test_the_command_that_it_proposes_keeps_what_was_given(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def lr_find(source: str, **options: Any) -> LearningRates:
        asked.update(options)
        return LearningRates("classic", (0.1, 0.2), (1.0, 0.5), (1.0, 0.7), 0.0123)

    monkeypatch.setattr(workflow, "lr_find", lr_find)
    settings = ("--set", "units=8", "--set", "learning_rate=5", "--set", "filters=4,4")
    with pytest.raises(SystemExit):
        main(["lr-find", "my photos", *settings, "--exclude-class", "a b", "--merge-subfolders", "--seed", "1"])
    assert (asked["exclude_classes"], asked["merge_subfolders"], asked["seed"]) == (["a b"], True, 1)
    said, proposed = capsys.readouterr().out.splitlines()
    assert said.startswith("learning_rate 0.012 ")
    if os.name == "posix":
        kept = ["--set", "units=8", "--set", "filters=4,4", "--set", "learning_rate=0.012", "--seed", "1"]
        folder = ["--exclude-class", "a b", "--merge-subfolders"]
        assert shlex.split(proposed) == ["next:", "fieldguide", "train", "my photos", "--recipe", "classic", *kept, *folder]


def test_it_learns_from_pictures_of_the_size_that_a_training_takes(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pictures have 40 x 48 pixels: `max_enlargement` takes the usual size down."""
    shapes: list[tuple[int, ...]] = []

    def find(self: fieldguide.Classic, data: TrainingData, **options: Any) -> LearningRates:
        shapes.append(data.train.values.shape)
        return LearningRates(self.name, (0.1,), (1.0,), (1.0,), 0.1)

    monkeypatch.setattr(fieldguide.Classic, "find_learning_rate", find)
    read_again: list[tuple[int, int]] = []
    original = rates.scan_pixels

    def scan_pixels(index: ImageIndex, scanned: Scan, preprocessing: Preprocessing, *args: Any, **options: Any) -> Scan:
        read_again.append(preprocessing.image_size)
        return original(index, scanned, preprocessing, *args, **options)

    monkeypatch.setattr(rates, "scan_pixels", scan_pixels)
    for recipe in (fieldguide.Classic(max_enlargement=4.0), fieldguide.Classic()):
        fieldguide.lr_find(tiny_folder, recipe=recipe, progress=False)
    side = fieldguide.Classic().fitted_to_pictures(np.array([[40, 48]])).image_size[0]
    assert side < 96
    assert shapes == [(51, 96, 96, 3), (51, side, side, 3)]
    assert read_again == [(side, side)]  # only where another size is wanted


def test_a_recipe_without_a_rate_and_a_range_that_is_none_are_refused(tiny_folder: Path) -> None:
    with pytest.raises(RecipeError, match="transfer has no learning rate"):
        fieldguide.lr_find(tiny_folder, recipe="transfer")
    with pytest.raises(RecipeError, match="below highest"):
        fieldguide.lr_find(tiny_folder, lowest=1.0, highest=0.1)
