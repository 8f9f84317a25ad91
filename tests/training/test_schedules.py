"""The learning rate's path, at the places where it can be told by hand."""

from __future__ import annotations

import pytest

from fieldguide import training

training.import_tensorflow()

from fieldguide.training.schedules import warmup_cosine  # noqa: E402


def test_the_rate_rises_in_a_line_and_falls_in_a_half_cosine() -> None:
    schedule = warmup_cosine(0.2, warmup_steps=10, total_steps=110)
    expected = {0: 0.0, 5: 0.1, 10: 0.2, 60: 0.1, 110: 0.0}
    assert {step: float(schedule(step)) for step in expected} == pytest.approx(expected, abs=1e-6)


def test_without_warm_up_it_starts_at_the_peak() -> None:
    schedule = warmup_cosine(0.2, warmup_steps=0, total_steps=100)
    assert [float(schedule(step)) for step in (0, 50, 100)] == pytest.approx([0.2, 0.1, 0.0], abs=1e-6)


def test_a_warm_up_longer_than_training_is_cut() -> None:
    schedule = warmup_cosine(0.2, warmup_steps=10, total_steps=1)
    assert float(schedule(0)) == pytest.approx(0.2)
