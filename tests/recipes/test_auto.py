"""The `auto` recipe: when it goes on to fine-tuning, what it keeps, and what it says of it."""

from __future__ import annotations

import functools
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldguide
from fieldguide.bundle import read_bundle
from fieldguide.errors import DatasetError, RecipeError
from fieldguide.evaluation.evaluate import read_evaluation
from fieldguide.recipes import auto
from fieldguide.recipes.auto import Auto, will_pay
from fieldguide.recipes.recipe import Recipe
from fieldguide.records import Run, Split
from fieldguide.workflow import following
from tests.recipes.test_every_recipe import shipped

SMALL = functools.partial(fieldguide.Finetune, image_size=(40, 32), epochs=1, min_steps=0, batch_size=26, warmup_epochs=0.0)


def curve(accuracy: float, num_images: int, *, half: float | None = None) -> tuple[dict[str, Any], ...]:
    """The last rows of a learning curve; the interval is that of a share, as `wilson_interval` gives it for large n."""
    margin = 1.96 * (accuracy * (1 - accuracy) / (1.25 * num_images)) ** 0.5
    last = {"num_images": num_images, "accuracy": accuracy, "low": accuracy - margin, "high": accuracy + margin}
    return (last,) if half is None else ({**last, "num_images": num_images // 2, "accuracy": half}, last)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (curve(0.987, 1600, half=0.984), False),  # cats and dogs: too little is left to gain
        (curve(0.856, 1400, half=0.84), True),  # pictures of another kind than ImageNet's
        (curve(0.70, 2400, half=0.66), True),
        (curve(0.90, 48, half=0.80), False),  # so few that nobody could tell
        (curve(0.70, 100, half=0.40), False),  # more pictures are what is missing
        (curve(1.0, 5000), False),
        (curve(0.60, 1000), True),
    ],
)
def test_it_pays_where_a_third_of_the_errors_is_more_than_chance(rows, expected):
    pays, reason = will_pay(rows)
    assert pays == expected
    assert f"{rows[-1]['accuracy']:.1%}" in reason and ("no more" in reason) != expected


def test_settings_out_of_range_are_refused():
    with pytest.raises(RecipeError, match="backbone"):
        Auto(backbone="lite9")
    with pytest.raises(RecipeError, match="image_size"):
        Auto(image_size=(8, 8))


@pytest.fixture
def always_pays(small_backbone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "will_pay", lambda curve: (True, "for a test."))
    monkeypatch.setattr(auto, "Finetune", SMALL)


def train(folder: Path, out: Path, **options: Any) -> Run:
    return fieldguide.train(folder, out=out, recipe=Auto(image_size=(32, 32)), progress=False, **options)


def test_where_it_does_not_pay_the_bundle_is_that_of_transfer(small_backbone, tiny_folder, tmp_path):
    chosen = train(tiny_folder, tmp_path / "auto")
    plain = fieldguide.train(
        tiny_folder, out=tmp_path / "plain", recipe=fieldguide.Transfer(image_size=(32, 32)), progress=False
    )
    assert (chosen.recipe, chosen.chosen, plain.chosen) == ("auto", "transfer", "transfer")
    assert shipped(chosen) == shipped(plain)
    assert chosen.notes[: len(plain.notes)] == plain.notes
    assert any(note.startswith("No fine-tuning: ") for note in chosen.notes)


def test_fine_tuning_is_kept_where_it_does_better(always_pays, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "_val_accuracy", lambda first, used: 0.0)
    said: list[str] = []
    run = train(tiny_folder, tmp_path / "whole", say=said.append)
    assert (run.recipe, run.chosen) == ("auto", "finetune")
    assert "Fine-tuning: for a test." in run.notes and "Fine-tuning: for a test." in said
    assert any("finetune was kept" in note for note in run.notes)
    assert len(run.history) == 1 and run.learning_curve and "fine-tune" in run.seconds
    bundle = read_bundle(run.directory)
    assert bundle.preprocessing.image_size == (40, 32) and bundle.recipe == "finetune"
    assert [run.scores[part]["num_images"] for part in ("train", "val", "test")] == [51, 9, 18]
    scored = read_evaluation(Path(run.directory, "evaluation"), "test")
    assert scored is not None
    answers = fieldguide.load(run.directory).predict([tiny_folder / path for path in scored.paths])
    probabilities = np.array([[answer.probabilities[c] for c in scored.class_names] for answer in answers])
    np.testing.assert_allclose(probabilities, scored.probabilities, atol=1e-3)


@pytest.mark.slow
def test_fine_tuning_that_follows_goes_on_where_it_was_cut_off(always_pays, tiny_folder, tmp_path, monkeypatch):
    from fieldguide.training.resumption import Resumption

    monkeypatch.setattr(following, "_val_accuracy", lambda first, used: 0.0)
    run = train(tiny_folder, tmp_path / "whole")

    original = Resumption.on_train_batch_end

    def signalled(self: Resumption, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.num_steps == 0:
            signal.raise_signal(signal.SIGINT)
        original(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Resumption, "on_train_batch_end", signalled)
        cut = train(tiny_folder, tmp_path / "cut")
    assert cut.interrupted == "SIGINT" and cut.work["steps"] == 1
    resumed = train(tiny_folder, tmp_path / "cut")
    assert resumed.interrupted is None and resumed.work["steps"] == 2
    assert shipped(resumed) == shipped(run)


def test_the_frozen_network_is_kept_where_fine_tuning_does_no_better(always_pays, tiny_folder, tmp_path):
    run = train(tiny_folder, tmp_path / "auto")
    plain = fieldguide.train(
        tiny_folder, out=tmp_path / "plain", recipe=fieldguide.Transfer(image_size=(32, 32)), progress=False
    )
    assert run.chosen == "transfer" and shipped(run) == shipped(plain)
    assert any("The frozen network was kept" in note and "100.0%" in note for note in run.notes)
    assert run.work["steps"] == 2


def test_with_little_time_left_it_does_not_begin(always_pays, tiny_folder, tmp_path):
    run = train(tiny_folder, tmp_path / "auto", time_seconds=30)
    assert run.chosen == "transfer" and any("less than 60 s are left" in note for note in run.notes)


def test_what_was_learned_is_not_lost_where_fine_tuning_refuses(always_pays, tiny_folder, tmp_path, monkeypatch):
    def refuse(self, data):
        raise RecipeError("A class has only one group of training pictures.\nhint: add pictures.")

    monkeypatch.setattr(fieldguide.Finetune, "fit", refuse)
    run = train(tiny_folder, tmp_path / "run")
    assert (run.recipe, run.chosen) == ("auto", "transfer") and run.scores["test"]["num_images"] == 18
    assert "finetune was left out: A class has only one group of training pictures." in run.notes


def test_more_pixels_than_a_default_may_take_are_not_kept(always_pays, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(following, "MOST_BYTES", 78 * 40 * 32 * 3 - 1)  # one byte too few for these pictures
    said: list[str] = []
    run = train(tiny_folder, tmp_path / "auto", say=said.append)
    assert run.chosen == "transfer" and "fine-tune" in run.seconds and not run.work
    assert any("78 pictures of 40 x 32 pixels" in note and "--recipe finetune" in note for note in run.notes)
    assert any("was left out" in line for line in said)


def test_pictures_that_change_meanwhile_are_noticed(always_pays, tiny_folder, tmp_path, monkeypatch):
    original = following.used_split

    def changed(split: Split, recipe: Recipe) -> Split:
        picture = next((tiny_folder / "test_set").rglob("*.jpg"))
        picture.write_bytes(next((tiny_folder / "training_set").rglob("*.jpg")).read_bytes())
        return original(split, recipe)

    monkeypatch.setattr("fieldguide.workflow.training.used_split", changed)
    with pytest.raises(DatasetError, match="has changed while"):
        train(tiny_folder, tmp_path / "auto")
