"""The `scratch` recipe: it learns without a validation part, from pictures that grow, and goes on where it was cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldguide import training

training.import_tensorflow()

import fieldguide  # noqa: E402
from fieldguide.errors import BundleError, RecipeError  # noqa: E402
from fieldguide.recipes.fitted import Fitted  # noqa: E402
from fieldguide.recipes.scratch import Scratch  # noqa: E402
from fieldguide.training import loop, resumption  # noqa: E402
from fieldguide.training.checkpoint import Checkpoints  # noqa: E402
from fieldguide.training.resumption import Resumption  # noqa: E402
from tests.conftest import noisy_picture  # noqa: E402
from tests.recipes.test_classic import as_bytes, data, keras_logits, pictures  # noqa: E402

SMALL = Scratch(
    image_size=(16, 20),
    grow_from=0.5,
    filters=(8, 16),
    blocks=(1, 1),
    epochs=4,
    min_steps=0,
    batch_size=16,
    grown_at=0.5,
    cutmix=0.3,
    precision="f32",
)
NOBODY = (np.empty((0, 16, 20, 3), np.uint8), np.empty(0, np.int64))
STEPS = 7  # an epoch of 100 pictures in batches of 16


def fit(recipe: Scratch = SMALL, **session: Any) -> Fitted:
    return recipe.fit(data(pictures(100, 1), NOBODY, **session))


@pytest.fixture(scope="module")
def whole() -> Fitted:
    """A training that nobody stopped."""
    return fit()


@pytest.fixture(scope="module")
def watched() -> Fitted:
    """The same with a validation part."""
    return SMALL.fit(data(pictures(100, 1), pictures(70, 2)))


def test_it_learns_three_hues_from_every_picture_and_keeps_the_last_average() -> None:
    result = fit(Scratch.from_json({**SMALL.to_json(), "epochs": 12, "mixup": 0.0, "average_momentum": 0.9}))
    pixels, labels = pictures(70, 2)
    assert (keras_logits(result, pixels).argmax(axis=1) == labels).mean() > 0.95
    assert result.network.architecture == "residual"
    assert [row["epoch"] for row in result.history] == list(range(1, 13))
    assert set(result.history[0]) == {"epoch", "loss", "accuracy", "learning_rate", "seconds"}
    assert result.notes[0].startswith("There is no validation score: nothing was chosen, so that all 100 training pictures")


def test_it_answers_for_the_mirror_image_as_well_unless_left_and_right_matter() -> None:
    assert fit(replace(SMALL, epochs=1, warmup_epochs=0.5)).network.options["test_time_flip"] is True
    for plain in (replace(SMALL, horizontal_flip=False), replace(SMALL, test_time_flip=False)):
        assert plain.network().options["test_time_flip"] is False


def test_many_pictures_are_seen_less_often_and_that_is_said() -> None:
    assert Scratch().num_epochs(2000) == 190
    assert [Scratch().num_epochs(count) for count in (50_000, 10_000_000)] == [10, 1]
    result = fit(replace(SMALL, max_steps=2 * STEPS + 1))
    assert len(result.history) == 2
    assert result.notes[0] == "100 training pictures are many: 2 epochs instead of 4."


def test_a_validation_part_is_scored_where_there_is_one(watched: Fitted) -> None:
    assert "val_accuracy" in watched.history[0]
    assert watched.notes == ()


def test_a_validation_part_changes_nothing_before_the_choice(whole: Fitted, watched: Fitted) -> None:
    """Each epoch ends with the same loss, whether or not it is validated."""
    assert [row["loss"] for row in whole.history] == [row["loss"] for row in watched.history]


class Killed(BaseException):
    """What a kill leaves: the files, and nothing else."""


@pytest.mark.parametrize(  # at the end of an epoch; within one, in another size
    "num_steps", [pytest.param(2 * STEPS, marks=pytest.mark.slow), 3 * STEPS - 1]
)
def test_a_training_that_was_killed_goes_on_to_the_same_bytes(
    num_steps: int, whole: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumption, "INTERVAL_SECONDS", 0.0)  # each step is saved
    checkpoints = Checkpoints(tmp_path / "checkpoints", identity={})
    original = Resumption.on_train_batch_end

    def killed(self: Resumption, batch: int, logs: dict[str, float] | None = None) -> None:
        original(self, batch, logs)
        if self.num_steps == num_steps:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Resumption, "on_train_batch_end", killed)
        with pytest.raises(Killed):
            fit(checkpoints=checkpoints)
    resumed = fit(checkpoints=checkpoints)
    assert as_bytes(resumed) == as_bytes(whole)
    assert [row["loss"] for row in resumed.history] == [row["loss"] for row in whole.history]


def test_pictures_grow_epoch_by_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    original = loop.GrowingSize.at

    def at(self: loop.GrowingSize, share: float) -> tuple[int, int]:
        asked.append((share, original(self, share)))
        return asked[-1][1]

    monkeypatch.setattr(loop.GrowingSize, "at", at)
    fit()
    assert list(dict.fromkeys(asked))[:3] == [(0.0, (8, 8)), (0.25, (16, 16)), (0.5, (16, 20))]


@pytest.mark.parametrize(
    ("share", "last", "first"),
    [(4 / 7, (112, 112), (64, 64)), (0.1, (112, 64), (16, 16)), (1.0, (100, 90), (100, 90)), (0.5, (12, 48), (12, 24))],
)
def test_they_begin_at_about_that_share_of_their_size(share: float, last: tuple[int, int], first: tuple[int, int]) -> None:
    assert loop.GrowingSize.from_share(share, last, 0.8, smallest=16).first == first


def test_with_a_budget_they_grow_by_the_clock() -> None:
    import time

    result = fit(deadline=time.perf_counter() + 4.0)
    assert result.history
    assert all(np.isfinite(row["loss"]) for row in result.history)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": (1, 1)}, "blocks should be 4 numbers >= 1"),
        ({"grow_from": 1.5}, r"grow_from should be in \(0, 1\]"),
        ({"grown_at": 0.0}, r"grown_at should be in \(0, 1\]"),
        ({"all_changes_from": 0}, "all_changes_from should be a whole number >= 1"),
        ({"cutmix": 1.5}, r"cutmix should be in \[0, 1\]"),
        ({"max_enlargement": float("inf")}, "max_enlargement should be a number >= 1; received inf"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Scratch(**changes)


def test_a_run_has_no_validation_score_and_says_why_and_what_is_missing(tiny_folder: Path, tmp_path: Path) -> None:
    recipe = Scratch(image_size=(16, 16), grow_from=0.5, filters=(8,), blocks=(1,), epochs=1, min_steps=0, warmup_epochs=0.0)
    run = fieldguide.train(tiny_folder, out=tmp_path / "run", recipe=recipe, progress=False)
    assert run.scores["val"] is None and run.scores["test"] is not None and run.certainty == {}
    assert run.scores["train"] is not None and run.scores["train"]["num_images"] == 60  # all that are not for testing
    assert any("no validation score: nothing was chosen" in note for note in run.notes)
    report = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "no validation score: nothing was chosen" in report and "nan" not in report.lower().split()
    with pytest.raises(BundleError, match=r"every training picture was learned from(.|\n)*validate=true"):
        fieldguide.load(run.directory, reject=0.02)


@pytest.mark.parametrize(
    ("usual", "wanted", "fitted"),
    [
        ((28, 28), (112, 112), (56, 56)),
        ((375, 500), (112, 112), (112, 112)),
        ((56, 56), (112, 112), (112, 112)),
        ((30, 50), (112, 112), (80, 80)),  # twice the side of a square of that area
        ((5, 5), (112, 112), (16, 16)),  # the network takes no less
        ((28, 28), (112, 56), (80, 40)),
        ((28, 28), (30, 30), (30, 30)),
    ],
)
def test_small_pictures_are_not_enlarged_beyond_need(
    usual: tuple[int, int], wanted: tuple[int, int], fitted: tuple[int, int]
) -> None:
    sizes = np.array([(4000, 3000), usual, usual, (1, 1)])
    assert Scratch(image_size=wanted).fitted_to_pictures(sizes).image_size == fitted
    assert Scratch(image_size=wanted, max_enlargement=100.0).fitted_to_pictures(sizes).image_size == wanted


def strengths(monkeypatch: pytest.MonkeyPatch, all_changes_from: int, **session: Any) -> list[float]:
    """Of crops and mixing, as a training asks for them."""
    asked: list[tuple[int, float]] = []
    original = loop.training_batches

    def recorded(*args: Any, strength_of_epoch: Any, **more: Any) -> Any:
        def strength(epoch: int) -> float:
            asked.append((epoch, strength_of_epoch(epoch)))
            return asked[-1][1]

        return original(*args, strength_of_epoch=strength, **more)

    monkeypatch.setattr(loop, "training_batches", recorded)
    fit(replace(SMALL, all_changes_from=all_changes_from), **session)
    assert [epoch for epoch, _ in asked] == list(range(len(asked)))  # once as each epoch begins: within it the clock goes on
    return [strength for _, strength in asked]


@pytest.mark.parametrize(("all_changes_from", "strength"), [(3, 1.0), (100, 0.04)])
def test_with_few_epochs_pictures_are_changed_less(
    monkeypatch: pytest.MonkeyPatch, all_changes_from: int, strength: float
) -> None:
    found = strengths(monkeypatch, all_changes_from)
    assert found == pytest.approx([strength] * len(found)) and len(found) >= SMALL.epochs


def test_by_the_clock_they_are_changed_as_much_as_there_will_be_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setattr(loop.TimeBudget, "num_epochs", lambda self, num_ended: 100.0 * num_ended)
    found = strengths(monkeypatch, 1000, deadline=time.perf_counter() + 4.0)
    assert found == pytest.approx([min(1.0, epoch / 10) for epoch in range(len(found))])


@pytest.fixture
def small_pictures(tmp_path: Path) -> Path:
    """Two classes of 12 pictures, 10 x 14 pixels."""
    for k in range(24):
        picture = tmp_path / "small" / ("red", "blue")[k % 2] / f"{k}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        noisy_picture(((250, 20, 20), (20, 20, 250))[k % 2], k, (10, 14)).save(picture)
    return tmp_path / "small"


def test_a_run_on_small_pictures_says_at_which_size_it_learned(small_pictures: Path, tmp_path: Path) -> None:
    said: list[str] = []
    recipe = Scratch(image_size=(64, 64), filters=(4, 8), blocks=(1, 1), epochs=1, min_steps=1, warmup_epochs=0.0)
    run = fieldguide.train(small_pictures, out=tmp_path / "run", recipe=recipe, progress=False, say=said.append)
    note = "The pictures are small, 10 x 14 pixels in the median: learned from at 24 x 24 instead of 64 x 64"
    assert any(line.startswith(note) for line in said) and any(line.startswith(note) for line in run.notes)
    assert run.settings["image_size"] == [24, 24]
    assert "image_size=24,24" in run.environment["command"]
    assert fieldguide.load(run.directory).image_size == (24, 24)
    again = fieldguide.reproduce(tmp_path / "run", progress=False)
    assert again.is_equal
