"""Training by the clock ends on time, whatever a step costs, with a schedule that fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fieldguide import training

training.import_tensorflow()

from fieldguide.training import budget as budget_module  # noqa: E402
from fieldguide.training import resumption  # noqa: E402
from fieldguide.training.best_weights import BestWeights  # noqa: E402
from fieldguide.training.budget import FEWEST_WARMUP_STEPS, TimeBudget  # noqa: E402
from fieldguide.training.checkpoint import Checkpoints  # noqa: E402
from fieldguide.training.schedules import warmup_cosine  # noqa: E402
from tests.recipes.test_classic import fit  # noqa: E402


class Clock:
    """A clock that moves when a step or a batch of validation has been done, and never otherwise."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *, step: float, validation_batch: float, first_step: float | None = None
    ) -> None:
        self.now = 1000.0
        monkeypatch.setattr(budget_module.time, "perf_counter", lambda: self.now)
        self.rates: list[float] = []

        def one_step(best: BestWeights, batch: int, logs: Any = None) -> None:
            self.now += step if self.rates or first_step is None else first_step
            self.rates.append(float(best.model.optimizer.learning_rate.numpy()))

        def one_batch(best: BestWeights, batch: int, logs: Any = None) -> None:
            self.now += validation_batch

        monkeypatch.setattr(BestWeights, "on_train_batch_begin", one_step, raising=False)
        monkeypatch.setattr(BestWeights, "on_test_batch_end", one_batch, raising=False)


@pytest.mark.parametrize(("seconds", "step"), [(100.0, 1.0), (40.0, 1.0), (9.0, 1.0), (100.0, 2.5)])
def test_it_ends_on_time_with_a_last_validation(monkeypatch: pytest.MonkeyPatch, seconds: float, step: float) -> None:
    clock = Clock(monkeypatch, step=step, validation_batch=0.5)  # 7 steps and 2 batches of validation an epoch
    fitted = fit(deadline=clock.now + seconds)
    assert seconds - step - 1.0 <= clock.now - 1000.0 <= seconds
    assert clock.rates[-1] < 0.1 * max(clock.rates) or seconds < 10
    assert 0 <= len(fitted.history) - seconds // (7 * step + 1) <= 1  # the last one may be cut short
    assert fitted.interrupted is None


def test_a_slow_first_step_is_not_taken_for_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, step=1.0, validation_batch=0.5, first_step=30.0)  # it builds the graph
    fitted = fit(deadline=clock.now + 50.0)
    assert fitted.work["steps"] >= 15


def test_the_first_steps_are_short_however_little_time_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, step=1.0, validation_batch=0.5)
    fit(deadline=clock.now + 12.0)
    assert clock.rates[0] <= 0.002 / FEWEST_WARMUP_STEPS
    assert max(clock.rates) <= 0.002 * len(clock.rates) / FEWEST_WARMUP_STEPS


def test_the_rate_is_that_of_the_schedule_with_time_in_the_place_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(budget_module.time, "perf_counter", lambda: now[0])
    budget = TimeBudget(deadline=100.0, learning_rate=0.4, warmup_share=0.1, validation_share=0.2)
    schedule = warmup_cosine(0.4, warmup_steps=10, total_steps=100)
    for moment in (0, 5, 10, 30, 99, 100):
        now[0] = float(moment)
        assert budget.rate() == pytest.approx(float(schedule(moment)), abs=1e-6)


def test_the_epochs_to_come_are_told_from_those_that_were(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(budget_module.time, "perf_counter", lambda: now)
    budget = TimeBudget(deadline=100.0, learning_rate=0.4, warmup_share=0.1, validation_share=0.2)
    assert budget.num_epochs(0) == 0.0
    now = 20.0
    assert budget.num_epochs(0) == 0.0 and budget.num_epochs(3) == pytest.approx(15.0)
    now = 100.0
    assert budget.num_epochs(16) == pytest.approx(16.0)


def test_what_was_cut_off_goes_on_with_the_share_that_was_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(resumption, "INTERVAL_SECONDS", 0.0)
    checkpoints = Checkpoints(tmp_path / "checkpoints", identity={})
    clock = Clock(monkeypatch, step=1.0, validation_batch=0.5)
    original = resumption.Resumption.on_train_batch_end

    class Killed(BaseException):
        pass

    def kill(self: resumption.Resumption, batch: int, logs: Any = None) -> None:
        original(self, batch, logs)
        if self.num_steps == 30:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(resumption.Resumption, "on_train_batch_end", kill)
        fit(deadline=clock.now + 100, checkpoints=checkpoints)
    before, clock.now = clock.now - 1000.0, 5000.0  # hours later
    rate = clock.rates[-1]
    fit(deadline=clock.now + 100, checkpoints=checkpoints)
    assert before + clock.now - 5000.0 == pytest.approx(100.0, abs=2.0)
    assert clock.rates[30] == pytest.approx(rate, rel=0.1)
