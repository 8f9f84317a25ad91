"""The contract of every recipe: it trains a step, ships, predicts what was scored, says why, and goes on where it was cut."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fieldguide
from fieldguide.evaluation.evaluate import read_evaluation
from fieldguide.recipes.recipe import Recipe
from fieldguide.recipes.registry import RECIPES
from fieldguide.records import Run

# One that trains a network takes two steps, so that it can be cut off between them.
SMALL: dict[str, Callable[[], Recipe]] = {
    "auto": lambda: fieldguide.Auto(image_size=(32, 32)),  # chooses transfer here; see test_auto.py
    "transfer": lambda: fieldguide.Transfer(image_size=(32, 32)),
    "finetune": lambda: fieldguide.Finetune(image_size=(32, 32), epochs=1, min_steps=0, batch_size=26, warmup_epochs=0.0),
    "classic": lambda: fieldguide.Classic(
        image_size=(32, 32), filters=(8, 8), units=8, epochs=1, min_steps=0, batch_size=26, warmup_epochs=0.0
    ),
    "scratch": lambda: fieldguide.Scratch(
        image_size=(32, 32),
        grow_from=0.5,
        filters=(8, 8),
        blocks=(1, 1),
        epochs=1,
        min_steps=0,
        batch_size=32,
        warmup_epochs=0.0,
    ),
}


def shipped(run: Run) -> dict[str, bytes]:
    names = ("bundle/weights.safetensors", "bundle/head.safetensors", "bundle/network.bin", "evaluation/test.safetensors")
    return {name: Path(run.directory, name).read_bytes() for name in names}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.usefixtures("small_backbone")
def test_it_trains_saves_loads_predicts_the_same_and_resumes(
    name: str, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fieldguide.train(tiny_folder, out=tmp_path / "whole", recipe=SMALL[name](), progress=False)
    assert run.recipe == name
    scored = read_evaluation(Path(run.directory, "evaluation"), "test")
    assert scored is not None and len(scored.paths) == 18

    classifier = fieldguide.load(run.directory)
    assert classifier.verify() < 1e-3
    answers = classifier.predict([tiny_folder / path for path in scored.paths])
    probabilities = np.array([[answer.probabilities[c] for c in scored.class_names] for answer in answers])
    np.testing.assert_allclose(probabilities, scored.probabilities, atol=1e-3)
    why = fieldguide.explain(classifier, tiny_folder / scored.paths[0])
    assert why.evidence is not None and why.place is not None and len(why.nearest) == 5
    pixels = np.stack([np.full((32, 32, 3), value, np.uint8) for value in (30, 200)])
    logits = classifier.to_keras()(pixels, training=False).numpy()
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), classifier.predict_pixels(pixels), atol=0.05)  # bf16

    from fieldguide.training.resumption import Resumption

    original = Resumption.on_train_batch_end
    is_trained = bool(run.work)

    def signalled(self: Resumption, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.num_steps == 0:
            signal.raise_signal(signal.SIGINT)
        original(self, batch, logs)

    if is_trained:
        with monkeypatch.context() as patch:
            patch.setattr(Resumption, "on_train_batch_end", signalled)
            cut = fieldguide.train(tiny_folder, out=tmp_path / "cut", recipe=SMALL[name](), progress=False)
        assert cut.interrupted == "SIGINT" and cut.work["steps"] == 1
        assert fieldguide.load(cut.directory).verify() < 1e-3
    resumed = fieldguide.train(tiny_folder, out=tmp_path / "cut", recipe=SMALL[name](), progress=False)
    assert resumed.interrupted is None
    assert shipped(resumed) == shipped(run)
    assert resumed.work.get("steps") == (2 if is_trained else None)
