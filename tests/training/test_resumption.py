"""A training that was cut off and goes on ends with the same bytes as one that was not."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fieldguide import training

training.import_tensorflow()

from fieldguide.errors import RecipeError  # noqa: E402
from fieldguide.recipes.classic import Classic  # noqa: E402
from fieldguide.recipes.fitted import Fitted  # noqa: E402
from fieldguide.training import resumption  # noqa: E402
from fieldguide.training.checkpoint import Checkpoints  # noqa: E402
from fieldguide.training.resumption import Resumption  # noqa: E402
from tests.recipes.test_classic import SMALL, as_bytes, fit  # noqa: E402

STEPS = 7  # an epoch of 100 pictures in batches of 16


class Killed(BaseException):
    """What a kill leaves: the files, and nothing else."""


@pytest.fixture(scope="module")
def whole() -> Fitted:
    return fit()


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkpoints:
    monkeypatch.setattr(resumption, "INTERVAL_SECONDS", 0.0)  # each step is saved
    return Checkpoints(tmp_path / "checkpoints", identity={"recipe": SMALL.to_json()})


def without_seconds(fitted: Fitted) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in fitted.history]


def assert_same(resumed: Fitted, whole: Fitted) -> None:
    assert as_bytes(resumed) == as_bytes(whole)
    assert without_seconds(resumed) == without_seconds(whole)
    assert (resumed.notes, resumed.interrupted) == (whole.notes, None)


def kill(method: str, moment: Callable[[Resumption], bool], *, after: bool) -> pytest.MonkeyPatch:
    """Makes one call of a method of `Resumption` the last thing that happens."""
    patch = pytest.MonkeyPatch()
    original = getattr(Resumption, method)

    def last(self: Resumption, *args: Any, **named: Any) -> None:
        is_now = moment(self)
        if is_now and not after:
            raise Killed
        original(self, *args, **named)
        if is_now:
            raise Killed

    patch.setattr(Resumption, method, last)
    return patch


MOMENTS: dict[str, tuple[str, Callable[[Resumption], bool], bool]] = {
    "in the first epoch": ("on_train_batch_end", lambda at: at.num_steps == 3, True),
    "before a step was saved": ("on_train_batch_end", lambda at: at.num_steps == STEPS + 4, False),
    "after the last step of an epoch": ("on_train_batch_end", lambda at: at.num_steps == 2 * STEPS - 1, True),
    "while validating": ("on_test_batch_end", lambda at: at.epoch == 1, False),
    "between two epochs": ("on_epoch_end", lambda at: at.epoch == 1, True),
    "after the last epoch": ("on_epoch_end", lambda at: at.epoch == 2, True),
}
SOME = ("in the first epoch", "while validating")  # the others take their time


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SOME else pytest.mark.slow) for n in MOMENTS])
def test_killed_and_taken_up_again_it_ends_with_the_same_bytes(checkpoints: Checkpoints, whole: Fitted, name: str) -> None:
    method, moment, after = MOMENTS[name]
    with pytest.raises(Killed):
        patch = kill(method, moment, after=after)
        try:
            fit(checkpoints=checkpoints)
        finally:
            patch.undo()
    resumed = fit(checkpoints=checkpoints)
    assert_same(resumed, whole)
    assert resumed.work == {"steps": 3 * STEPS, "repeated_steps": 0, "starts": 2}


def test_work_that_was_lost_is_counted(checkpoints: Checkpoints, whole: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    saves: list[int] = []
    original = Checkpoints.save

    def every_fourth(self: Checkpoints, checkpoint: Any) -> bool:
        saves.append(checkpoint.step)
        return original(self, checkpoint) if checkpoint.step % 4 == 0 else False

    monkeypatch.setattr(Checkpoints, "save", every_fourth)
    for step in (11, 18):
        patch = kill("on_train_batch_end", lambda at, step=step: at.num_steps == step - 1, after=True)
        with pytest.raises(Killed):
            fit(checkpoints=checkpoints)
        patch.undo()
    resumed = fit(checkpoints=checkpoints)
    assert_same(resumed, whole)
    assert resumed.work == {"steps": 21, "repeated_steps": (11 - 8) + (18 - 16), "starts": 3}


def test_a_damaged_checkpoint_costs_its_work_and_no_more(checkpoints: Checkpoints, whole: Fitted) -> None:
    patch = kill("on_train_batch_end", lambda at: at.num_steps == 9, after=True)
    with pytest.raises(Killed):
        fit(checkpoints=checkpoints)
    patch.undo()
    newest = max(path for path in checkpoints.directory.iterdir() if path.is_dir())
    content = bytearray((newest / "tensors.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (newest / "tensors.safetensors").write_bytes(content)
    resumed = fit(checkpoints=checkpoints)
    assert_same(resumed, whole)
    assert resumed.work["repeated_steps"] == 1


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("on_train_batch_end", "SIGINT"),
        ("on_test_batch_end", "SIGTERM"),
        pytest.param("on_train_batch_end", "SIGTERM", marks=pytest.mark.slow),
        pytest.param("on_test_batch_end", "SIGINT", marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(
    checkpoints: Checkpoints, whole: Fitted, monkeypatch: pytest.MonkeyPatch, method: str, name: str
) -> None:
    monkeypatch.setattr(resumption, "INTERVAL_SECONDS", 1e9)  # saved because of the signal alone
    original = getattr(Resumption, method)

    def signalled(self: Resumption, *args: Any, **named: Any) -> None:
        if self.epoch == 1:
            signal.raise_signal(getattr(signal, name))
        original(self, *args, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Resumption, method, signalled)
        interrupted = fit(checkpoints=checkpoints)
    assert interrupted.interrupted == name
    assert interrupted.work["steps"] == (STEPS + 1 if method == "on_train_batch_end" else 2 * STEPS)
    assert len(interrupted.history) == 1
    assert_same(fit(checkpoints=checkpoints), whole)


def test_a_training_that_has_ended_is_not_begun_again(
    checkpoints: Checkpoints, whole: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(checkpoints=checkpoints)

    def refuse(*args: Any, **named: Any) -> None:
        raise AssertionError("a step was done again")

    monkeypatch.setattr(Resumption, "on_train_batch_end", refuse)
    assert_same(fit(checkpoints=checkpoints), whole)


def test_a_loss_that_is_no_number_in_the_middle_of_an_epoch_can_be_saved(checkpoints: Checkpoints) -> None:
    recipe = Classic.from_json({**SMALL.to_json(), "optimizer": "sgd", "learning_rate": 10.0, "warmup_epochs": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        import keras

        from fieldguide.training import loop

        patch.setattr(loop, "make_optimizer", lambda *_, **__: keras.optimizers.SGD(1e30))
        with pytest.raises(RecipeError, match="learning_rate"):
            fit(recipe, checkpoints=checkpoints)
    found = checkpoints.load()
    assert found is not None and None in found.state["train_logs"].values()
