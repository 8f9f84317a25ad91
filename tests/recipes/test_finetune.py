"""The `finetune` recipe: it learns what the frozen network cannot, and gives way to it where it does not."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldguide
from fieldguide.embedding.engine import Engine
from fieldguide.embedding.graph import build_network
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import RecipeError
from fieldguide.recipes.finetune import Finetune
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.recipes.transfer import Transfer
from fieldguide.training.session import Session

SMALL = Finetune(
    image_size=(32, 40), epochs=6, min_steps=0, batch_size=16, learning_rate=3e-3, average_momentum=0.9, precision="f32"
)


def stripes(num_images: int, seed: int) -> Examples:
    """Upright, lying and oblique stripes of random colours, places and widths, in noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % 3
    y, x = np.mgrid[:32, :40]
    pixels = []
    for label in labels:
        along = (x, y, x + y)[label]
        wave = np.sin(along * rng.uniform(0.8, 1.6) + rng.uniform(0, 6))[..., None]
        pixels.append(128 + 60 * wave * rng.uniform(-1, 1, 3) + rng.normal(0, 40, (32, 40, 3)))
    return Examples(np.clip(pixels, 0, 255).astype(np.uint8), labels, np.arange(num_images))


def data(*, seed: int = 0, num_val: int = 60, **session: Any) -> TrainingData:
    return TrainingData(stripes(120, 1), stripes(num_val, 2), num_classes=3, seed=seed, session=Session(**session))


def accuracy(fitted: Fitted, part: Examples) -> float:
    embeddings = Engine(build_network(fitted.network, fitted.weights), precision="f32").embed(part.values)
    head = LinearHead(fitted.head_kernel, fitted.head_bias)
    return float((head.logits(embeddings).argmax(axis=1) == part.labels).mean())


@pytest.mark.usefixtures("small_backbone")
def test_it_beats_the_frozen_network_and_what_ships_has_the_accuracy_that_the_history_says() -> None:
    said: list[str] = []
    fitted = SMALL.fit(data(say=said.append))
    frozen = Transfer(image_size=(32, 40))
    embedded = dataclasses.replace(stripes(120, 1), values=Engine(frozen.frozen_network()).embed(stripes(120, 1).values))
    before = frozen.fit(dataclasses.replace(data(), train=embedded))
    assert accuracy(fitted, stripes(60, 2)) == pytest.approx(max(row["val_accuracy"] for row in fitted.history), abs=1e-6)
    assert accuracy(fitted, stripes(300, 3)) > accuracy(before, stripes(300, 3)) + 0.05
    assert "after fine-tuning" in fitted.notes[1] and any("frozen: validation accuracy" in line for line in said)
    assert [row["epoch"] for row in fitted.history] == list(range(1, 7))
    assert fitted.work["steps"] == 6 * 8
    assert fitted.out_of_fold is None


@pytest.mark.usefixtures("small_backbone")
@pytest.mark.parametrize("horizontal_flip", [True, False])
def test_it_answers_for_the_mirror_image_as_well_unless_left_and_right_matter(horizontal_flip: bool) -> None:
    fitted = dataclasses.replace(SMALL, horizontal_flip=horizontal_flip).fit(data())
    assert fitted.network.options["test_time_flip"] is horizontal_flip
    engine = Engine(build_network(fitted.network, fitted.weights), precision="f32")
    pixels = stripes(60, 2).values
    difference = np.abs(engine.embed(pixels) - engine.embed(np.ascontiguousarray(pixels[:, :, ::-1]))).max()
    assert bool(difference < 1e-3) is horizontal_flip
    assert accuracy(fitted, stripes(60, 2)) == pytest.approx(max(row["val_accuracy"] for row in fitted.history), abs=1e-6)


@pytest.mark.usefixtures("small_backbone")
def test_the_frozen_network_is_kept_where_training_on_does_not_beat_it() -> None:
    fitted = dataclasses.replace(SMALL, learning_rate=1e-7, epochs=1).fit(data())
    assert "the frozen network is kept" in fitted.notes[1]
    assert fitted.network == Transfer(image_size=(32, 40)).network()
    published = Transfer(image_size=(32, 40)).weights()
    assert set(fitted.weights) == set(published)
    assert all(np.array_equal(fitted.weights[name], value) for name, value in published.items())
    assert len(fitted.history) == 1


def test_small_sets_are_seen_more_often() -> None:
    recipe = Finetune(epochs=10, min_steps=500, max_steps=1500, batch_size=32)
    assert recipe.num_epochs(64) == 250
    assert recipe.num_epochs(1600) == 10
    assert recipe.num_epochs(8000) == 6
    assert recipe.num_epochs(100_000) == 1  # each picture is seen


def test_without_validation_pictures_it_says_so() -> None:
    with pytest.raises(RecipeError, match="needs validation pictures"):
        SMALL.fit(data(num_val=0))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("backbone", "lite9"),
        ("image_size", (16, 224)),
        ("epochs", 0),
        ("batch_size", 0),
        ("min_steps", -1),
        ("precision", "f16"),
        ("learning_rate", 0.0),
        ("min_crop", 0.0),
        ("label_smoothing", 1.0),
        ("average_momentum", 1.0),
        ("weight_decay", -0.1),
        ("mixup", 2.0),
        ("warmup_epochs", 1e3),
        ("grow_from", 0.0),
        ("grown_at", 1.5),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(RecipeError, match=name):
        Finetune(**{name: value})  # type: ignore[arg-type]


def test_its_settings_cost_no_import_of_tensorflow() -> None:
    code = "import sys; from fieldguide.recipes.finetune import Finetune; Finetune(); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.usefixtures("small_backbone")
def test_a_learning_rate_is_found_for_it_from_the_head_on(tiny_folder: Path) -> None:
    recipe = Finetune(image_size=(32, 32), batch_size=16)
    found = fieldguide.lr_find(tiny_folder, recipe=recipe, num_batches=20, lowest=1e-5, progress=False)
    assert found.recipe == "finetune" and 1e-5 <= found.suggestion <= 1.0
    assert found.losses[0] < 1.0  # of three classes, by chance 1.1: the head knows something already
