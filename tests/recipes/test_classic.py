"""The `classic` recipe: it learns, repeats itself to the byte, stops when asked, and says what is wrong."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.errors import RecipeError
from fieldguide.recipes.classic import Classic
from fieldguide.recipes.fitted import Fitted
from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.training.session import Session

SMALL = Classic(
    image_size=(16, 20), filters=(8, 8), units=16, epochs=3, min_steps=0, batch_size=16, dropout=0.2, mixup=0.0, precision="f32"
)
HUES = np.array([(200, 50, 40), (40, 180, 60), (40, 60, 200)])

Pictures = tuple[NDArray[np.uint8], NDArray[np.int64]]


def pictures(num_images: int, seed: int, *, num_classes: int = 3) -> Pictures:
    """Hues with strong noise, of the size that SMALL takes."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num_images) % num_classes
    pixels = HUES[labels][:, None, None, :] + rng.normal(0, 60, (num_images, 16, 20, 3))
    return pixels.clip(0, 255).astype(np.uint8), labels


def data(train: Pictures, val: Pictures, *, num_classes: int = 3, seed: int = 0, **session: Any) -> TrainingData:
    parts = (Examples(pixels, labels, np.arange(len(labels))) for pixels, labels in (train, val))
    return TrainingData(*parts, num_classes=num_classes, seed=seed, session=Session(**session))


def fit(recipe: Classic = SMALL, *, seed: int = 0, num_train: int = 100, num_classes: int = 3, **session: Any) -> Fitted:
    train, val = pictures(num_train, 1, num_classes=num_classes), pictures(70, 2, num_classes=num_classes)
    return recipe.fit(data(train, val, num_classes=num_classes, seed=seed, **session))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit(Classic.from_json({**SMALL.to_json(), "filters": (8, 8, 8, 8), "epochs": 12}))


def keras_logits(fitted: Fitted, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    from fieldguide.models.keras_operations import build_keras, set_weights

    model = build_keras(fitted.network, num_classes=len(fitted.head_bias))
    set_weights(model, {**fitted.weights, "head/kernel": fitted.head_kernel, "head/bias": fitted.head_bias})
    logits: NDArray[np.float32] = model(pixels, training=False).numpy()
    return logits


def test_it_learns_three_hues_and_the_weights_give_the_accuracy_that_the_history_says(fitted: Fitted) -> None:
    pixels, labels = pictures(70, 2)  # 64 and a partial batch of 6
    accuracy = (keras_logits(fitted, pixels).argmax(axis=1) == labels).mean()
    assert accuracy == pytest.approx(max(row["val_accuracy"] for row in fitted.history), abs=1e-6)
    assert accuracy > 0.95


def test_the_history_has_a_row_for_each_epoch(fitted: Fitted) -> None:
    assert [row["epoch"] for row in fitted.history] == list(range(1, 13))
    names = {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    assert all(set(row) == names for row in fitted.history)
    assert fitted.history[0]["learning_rate"] == pytest.approx(0.002)
    assert fitted.history[-1]["learning_rate"] == pytest.approx(0, abs=1e-6)
    assert fitted.notes == ()
    assert fitted.interrupted is None
    assert fitted.work == {"steps": 84, "repeated_steps": 0, "starts": 1}


def test_the_head_is_apart_from_the_other_weights(fitted: Fitted) -> None:
    assert fitted.head_kernel.shape == (16, 3)
    assert fitted.head_bias.shape == (3,)
    assert {"block4_norm/moving_mean", "dense/kernel"} <= set(fitted.weights)
    assert not any(name.startswith("head/") for name in fitted.weights)


def as_bytes(fitted: Fitted) -> dict[str, bytes]:
    arrays = {**fitted.weights, "kernel": fitted.head_kernel, "bias": fitted.head_bias}
    return {name: array.tobytes() for name, array in arrays.items()}


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = as_bytes(fit(seed=5)), as_bytes(fit(seed=5))
    assert first == second


def test_in_bfloat16_it_learns_as_well_and_hands_out_float32_weights() -> None:
    recipe = Classic.from_json({**SMALL.to_json(), "epochs": 12, "precision": "bf16"})
    result = fit(recipe)
    assert max(row["val_accuracy"] for row in result.history) > 0.9
    assert {weight.dtype for weight in result.weights.values()} == {np.dtype(np.float32)}


def test_another_seed_starts_from_other_weights() -> None:
    from fieldguide.models.keras_operations import build_keras, get_weights
    from fieldguide.training.loop import make_deterministic

    kernels = []
    for seed in (5, 6):
        make_deterministic(seed)
        kernels.append(get_weights(build_keras(SMALL.network(), num_classes=3))["dense/kernel"])
    assert (kernels[0] != kernels[1]).any()


def test_a_small_set_of_two_classes_is_seen_more_often_and_a_note_says_so() -> None:
    recipe = Classic.from_json({**SMALL.to_json(), "min_steps": 5, "epochs": 1})
    result = fit(recipe, num_train=7, num_classes=2)  # fewer pictures than a batch: one step an epoch
    assert len(result.history) == 5
    assert all(np.isfinite(row["loss"]) for row in result.history)
    assert result.head_kernel.shape == (16, 2)
    assert "5 epochs instead of 1" in result.notes[0]


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_training_after_its_step_with_the_best_weights_so_far(
    monkeypatch: pytest.MonkeyPatch, epoch: int, name: str
) -> None:
    said: list[str] = []
    signal_in_epoch(monkeypatch, epoch, name)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    result = fit(say=said.append)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert result.interrupted == name
    assert name in said[0]
    assert len(result.history) == max(1, epoch - 1)  # a first epoch that is cut off is validated as it stands
    assert f"Interrupted after step 3 of 7 of epoch {epoch}" in result.notes[0]
    best = max(row["val_accuracy"] for row in result.history)
    pixels, labels = pictures(70, 2)
    assert (keras_logits(result, pixels).argmax(axis=1) == labels).mean() == pytest.approx(best, abs=1e-6)


def signal_in_epoch(monkeypatch: pytest.MonkeyPatch, number: int, name: str) -> None:
    from fieldguide.training.best_weights import BestWeights

    original = BestWeights.on_train_batch_end

    def on_train_batch_end(self: Any, batch: int, logs: dict[str, float] | None = None) -> None:
        if len(self.history) == number - 1 and batch == 2:
            signal.raise_signal(getattr(signal, name))
        original(self, batch, logs)

    monkeypatch.setattr(BestWeights, "on_train_batch_end", on_train_batch_end)


def test_a_loss_that_is_no_number_names_the_setting_to_change() -> None:
    pixels, labels = pictures(32, 1)
    from fieldguide.training import loop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "make_optimizer", lambda *_, **__: loop.keras.optimizers.SGD(1e30))
        with pytest.raises(RecipeError, match="learning_rate"):
            SMALL.fit(data((pixels, labels), (pixels, labels)))


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    SMALL.fit(data(pictures(20, 1), pictures(10, 2), progress=True))
    text = terminal.getvalue()
    assert all(part in text for part in ("epoch 3/3", "60.0/60.0", "loss=", "val accuracy=", "images/s"))


def test_what_is_not_a_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    SMALL.fit(data(pictures(20, 1), pictures(10, 2), progress=True))
    assert log.getvalue() == ""  # nothing for what is over in seconds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": (8, 16)}, r"image_size .* \[16, 1024\]"),
        ({"filters": ()}, "filters"),
        ({"epochs": 0}, "epochs should be a whole number >= 1"),
        ({"optimizer": "adam"}, "adamw or sgd"),
        ({"dropout": 1.0}, r"dropout should be in \[0, 1\); received 1.0"),
        ({"learning_rate": 0.0}, r"learning_rate should be in \(0, 10\]"),
        ({"min_crop": 0.0}, r"min_crop should be in \(0, 1\]"),
        ({"warmup_epochs": 99.0}, "warmup_epochs"),
    ],
)
def test_a_setting_out_of_range_is_refused_with_the_range(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Classic(**changes)


def test_pictures_of_another_size_are_refused() -> None:
    pixels, labels = pictures(6, 0)
    with pytest.raises(RecipeError, match=r"validation part .* \(6, 16, 20, 3\)"):
        SMALL.fit(data((pixels, labels), (pixels[:, :15], labels)))


def test_settings_survive_json() -> None:
    assert Classic.from_json(SMALL.to_json()) == SMALL


def test_tensorflow_starts_without_a_word_and_the_recipe_does_not_import_it() -> None:
    code = (
        "import sys; from fieldguide.recipes.classic import Classic; Classic(); assert 'tensorflow' not in sys.modules\n"
        "from fieldguide import training; training.import_tensorflow(); assert 'tensorflow' in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert result.stdout == ""
