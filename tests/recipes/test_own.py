"""A network that the user wrote in Keras: trained, shipped, and told what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fieldguide
from fieldguide import training

training.import_tensorflow()

import keras  # noqa: E402

from fieldguide.bundle import read_bundle  # noqa: E402
from fieldguide.embedding.engine import Engine, network_of_graph, save_network  # noqa: E402
from fieldguide.errors import BundleError, RecipeError  # noqa: E402
from fieldguide.evaluation.evaluate import read_evaluation  # noqa: E402
from fieldguide.models.own_network import build_own, parts_of  # noqa: E402
from fieldguide.recipes.own import Own  # noqa: E402
from fieldguide.training.checkpoint import Checkpoints  # noqa: E402
from tests.recipes.test_classic import data, pictures  # noqa: E402

SMALL = fieldguide.Classic(image_size=(16, 20), epochs=1, min_steps=0, batch_size=8, precision="f32")
SETTINGS = fieldguide.Classic(image_size=(24, 32), epochs=3, min_steps=0, batch_size=8, average_momentum=0.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3)).astype(np.uint8)


def functional(image_size: tuple[int, int], num_classes: int) -> Any:
    """Many kinds of layers, as people use them."""
    pixels = keras.Input((*image_size, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Activation("swish")(x)
    x = keras.layers.SeparableConv2D(16, 3, strides=2, padding="same", activation="relu")(x)
    squeezed = keras.layers.Dense(16, activation="sigmoid")(keras.layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = keras.layers.Multiply()([x, squeezed])
    x = keras.layers.Concatenate()([keras.layers.MaxPooling2D()(x), keras.layers.AveragePooling2D(2)(x)])
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.DepthwiseConv2D(3, activation="leaky_relu")(x)
    x = keras.layers.SpatialDropout2D(0.1)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.LayerNormalization()(keras.layers.Dense(12, activation="gelu")(x))
    return keras.Model(pixels, keras.layers.Dense(num_classes)(keras.layers.Dropout(0.1)(x)))


def sequential(image_size: tuple[int, int], num_classes: int) -> Any:
    """As the textbooks write it; the size is known once it sees pictures."""
    return keras.Sequential(
        [
            keras.layers.Rescaling(1 / 255),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(num_classes, use_bias=False),
        ]
    )


class Subclassed(keras.Model):
    """Keras knows nothing of what is between its layers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv, self.pool = keras.layers.Conv2D(6, 3, activation="relu"), keras.layers.GlobalMaxPooling2D()
        self.top = keras.layers.Dense(num_classes)

    def call(self, x: Any) -> Any:
        return self.top(self.pool(self.conv(x / 255.0)))


def of_bytes(image_size: tuple[int, int], num_classes: int) -> Any:
    """Takes uint8 itself, and another model within."""
    pixels = keras.Input((*image_size, 3), dtype="uint8")
    inner = keras.Sequential([keras.Input((*image_size, 3)), keras.layers.Conv2D(4, 5), keras.layers.GlobalAveragePooling2D()])
    return keras.Model(pixels, keras.layers.Dense(num_classes)(inner(keras.layers.Rescaling(1 / 255)(pixels))))


BUILDERS = {
    "functional": functional,
    "sequential": sequential,
    "subclassed": lambda image_size, num_classes: Subclassed(num_classes),
    "uint8": of_bytes,
}


@pytest.mark.parametrize("name", BUILDERS)
def test_the_engine_gives_what_keras_gives_and_the_same_network_is_the_same_file(name: str, tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        keras.utils.set_random_seed(3)
        model = build_own(BUILDERS[name], image_size=(24, 32), num_classes=5)
        parts = parts_of(model)
        path = tmp_path / f"{number}.xml"
        save_network(network_of_graph(parts.graph), path)
        contents.append((path.read_bytes(), path.with_suffix(".bin").read_bytes()))
    logits = Engine(path, precision="f32").embed(PIXELS) @ parts.kernel + parts.bias
    np.testing.assert_allclose(logits, model(PIXELS, training=False), atol=1e-4)
    assert contents[0] == contents[1]
    assert parts.kernel.shape[0] == {"functional": 12, "sequential": 11 * 15 * 8, "subclassed": 5, "uint8": 4}[name]


@pytest.mark.parametrize("name", ["functional", "subclassed"])
def test_everything_downstream_works(name: str, tiny_folder: Path, tmp_path: Path) -> None:
    run = fieldguide.train(tiny_folder, out=tmp_path / "run", model=BUILDERS[name], recipe=SETTINGS, progress=False)
    assert (run.recipe, run.chosen) == ("own", "own") and len(run.history) == 3
    assert run.settings["epochs"] == 3 and "filters" not in run.settings
    classifier = fieldguide.load(run.directory)
    assert classifier.verify() < 1e-3
    scored = read_evaluation(Path(run.directory, "evaluation"), "test")
    assert scored is not None
    answers = classifier.predict([tiny_folder / path for path in scored.paths])
    probabilities = np.array([[answer.probabilities[c] for c in scored.class_names] for answer in answers])
    np.testing.assert_allclose(probabilities, scored.probabilities, atol=1e-3)
    assert answers[0].novelty is not None
    assert Path(run.directory, "report.html").stat().st_size > 10_000
    assert fieldguide.evaluate(run.directory).part == "test"

    logits = classifier.to_keras(BUILDERS[name])(PIXELS, training=False).numpy()
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    exact = fieldguide.Classifier(read_bundle(run.directory), precision="f32").predict_pixels(PIXELS)
    np.testing.assert_allclose(odds / odds.sum(axis=1, keepdims=True), exact, atol=1e-4)
    with pytest.raises(BundleError, match=r"to_keras\(build\)"):
        classifier.to_keras()
    with pytest.raises(BundleError, match="another network"):
        classifier.to_keras(sequential)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_it_goes_on_where_it_was_cut_off(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from fieldguide.training.resumption import Resumption
    from tests.recipes.test_every_recipe import shipped

    whole = fieldguide.train(tiny_folder, out=tmp_path / "whole", model=functional, recipe=SETTINGS, progress=False)
    original = Resumption.on_train_batch_end

    def signalled(self: Resumption, batch: int, logs: dict[str, float] | None = None) -> None:
        if self.num_steps == 4:
            signal.raise_signal(signal.SIGINT)
        original(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Resumption, "on_train_batch_end", signalled)
        cut = fieldguide.train(tiny_folder, out=tmp_path / "cut", model=functional, recipe=SETTINGS, progress=False)
    assert cut.interrupted == "SIGINT"
    resumed = fieldguide.train(tiny_folder, out=tmp_path / "cut", model=functional, recipe=SETTINGS, progress=False)
    assert shipped(resumed) == shipped(whole)


class Scaled(keras.Model):
    """What Keras can say of it is the same whatever it does."""

    def __init__(self, num_classes: int, scale: Callable[[Any], Any]) -> None:
        super().__init__()
        self.scale, self.flat, self.top = scale, keras.layers.Flatten(), keras.layers.Dense(num_classes)

    def call(self, x: Any) -> Any:
        return self.top(self.flat(self.scale(x / 255.0)))


def plain(activation: str = "relu", filters: int = 4, rate: float = 0.1) -> Callable[..., Any]:
    def build(image_size: tuple[int, int], num_classes: int) -> Any:
        pixels = keras.Input((*image_size, 3))
        x = keras.layers.Conv2D(filters, 3, activation=activation)(keras.layers.Rescaling(1 / 255)(pixels))
        x = keras.layers.Lambda(lambda x: 2 * x, name="relu")(x)
        x = keras.layers.Dropout(rate)(keras.layers.GlobalAveragePooling2D()(x))
        return keras.Model(pixels, keras.layers.Dense(num_classes)(x))

    return build


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (plain(), plain("sigmoid")),
        (plain(), plain(filters=5)),
        (plain(), plain(rate=0.2)),
        (lambda size, n: Scaled(n, keras.ops.relu), lambda size, n: Scaled(n, keras.ops.tanh)),
    ],
    ids=["activation", "filters", "dropout", "subclassed"],
)
def test_a_training_does_not_go_on_with_another_model(
    first: Callable[..., Any], second: Callable[..., Any], tmp_path: Path
) -> None:
    def fit(build: Callable[..., Any]) -> Any:
        session = {"checkpoints": Checkpoints(tmp_path, identity={})}
        return Own(build, SMALL).fit(data(pictures(24, 1), pictures(6, 2), **session))

    begun = fit(first)
    with pytest.raises(RecipeError, match=r"model that the function gives was .* and is .* now\.\nhint: .*--out"):
        fit(second)
    assert fit(first).work == {**begun.work, "starts": 2}  # what was refused is no start


def dense(image_size: tuple[int, int], *layers: Any) -> Any:
    return keras.Sequential([keras.Input((*image_size, 3)), keras.layers.Flatten(), *layers])


def ends_in(*layers: Any) -> Callable[..., Any]:
    return lambda image_size, num_classes: keras.Sequential([keras.Input((*image_size, 3)), keras.layers.Flatten(), *layers])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda image_size, num_classes: "a model", "should give a keras.Model; it gave str"),
        (lambda image_size, num_classes: functional((8, 8), 5), r"cannot take pictures of shape \(batch, 24, 32"),
        (ends_in(keras.layers.Dense(7)), r"logits of shape \(batch, 5\); it gives \(None, 7\)"),
        (ends_in(keras.layers.Dense(5, activation="softmax")), "its last layer ends in softmax"),
        (ends_in(keras.layers.Dense(5), keras.layers.Softmax()), "gives probabilities"),
    ],
)
def test_what_does_not_fit_is_said(build: Callable[..., Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        build_own(build, image_size=(24, 32), num_classes=5)


def test_a_model_goes_with_a_recipe_that_trains_from_scratch_alone(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="received the recipe finetune"):
        fieldguide.train(tiny_folder, out=tmp_path / "run", model=functional, recipe="finetune", progress=False)
