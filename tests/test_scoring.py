"""Where nothing was learned, it is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fieldguide
from fieldguide.evaluation.metrics import summarize
from fieldguide.records import Evaluation
from fieldguide.workflow.scoring import doubt_whether_it_learned


def evaluation(part: str, num_right: int, num_of: tuple[int, int]) -> Evaluation:
    """Of two classes; the first answers are right."""
    labels = np.repeat([0, 1], num_of)
    answers = np.where(np.arange(len(labels)) < num_right, labels, 1 - labels)
    paths = tuple(f"{i}.jpg" for i in range(len(labels)))
    probabilities = np.eye(2, dtype=np.float32)[answers] * 0.8 + 0.1
    return Evaluation(part, ("cats", "dogs"), labels, probabilities, paths, method="held out")


@pytest.mark.parametrize(
    ("num_right", "num_of", "is_doubted"),
    [(52, (50, 50), True), (59, (50, 50), True), (60, (50, 50), False), (92, (90, 10), True), (99, (90, 10), False)],
)
def test_a_network_is_doubted_that_could_be_one_which_always_says_the_same(
    num_right: int, num_of: tuple[int, int], is_doubted: bool
) -> None:
    parts = {"train": evaluation("train", 100, (50, 50)), "val": None, "test": evaluation("test", num_right, num_of)}
    scores = {name: summarize(part) if part is not None else None for name, part in parts.items()}
    notes = doubt_whether_it_learned(parts, scores)
    assert len(notes) == is_doubted
    for note in notes:
        assert f"of 100 test pictures {num_right:.1f}% are named rightly" in note
        assert f"{max(num_of):.1f}% would be by always saying 'cats'" in note
    assert doubt_whether_it_learned({**parts, "test": None}, {**scores, "test": None}) == ()  # by the training part


def test_a_few_test_pictures_cast_no_doubt_on_what_many_others_have_shown() -> None:
    parts = {"train": None, "val": evaluation("val", 95, (50, 50)), "test": evaluation("test", 3, (2, 1))}
    scores = {name: summarize(part) if part is not None else None for name, part in parts.items()}
    assert doubt_whether_it_learned(parts, scores) == ()
    (note,) = doubt_whether_it_learned({**parts, "val": None}, {**scores, "val": None})
    assert "of 3 test pictures 100.0% are named rightly" in note


def test_a_training_on_pictures_without_a_difference_says_so(make_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_folder({f"{part}/{name}": count for part, count in (("train", 20), ("test", 10)) for name in "ab"})
    said: list[str] = []
    run = fieldguide.train(folder, out=tmp_path / "run", recipe="transfer", progress=False, say=said.append)
    (note,) = [note for note in run.notes if note.startswith("It is not shown that anything was learned: of 20 test pictures")]
    assert note in said and "learned: of 20 test pictures" in (tmp_path / "run" / "report.html").read_text("utf-8")
