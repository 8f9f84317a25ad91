"""Leaves each part out of the classic CNN in turn and measures what that costs: for `docs/for-students.md`.

    python benchmarks/ablation.py digits [--seeds 3] [--first VARIANTS] [--minutes M]
    python benchmarks/ablation.py fashion FOLDER [--seeds 3] [--first VARIANTS] [--minutes M]

FOLDER holds the four idx files of Fashion-MNIST (gzipped or not), from https://github.com/zalandoresearch/fashion-mnist or
Debian's package dataset-fashion-mnist (/usr/share/datasets/fashion-mnist). The digits are scikit-learn's.

A row per run (variant and seed) goes to results/ablation.csv. Runs that have a row with the same settings are passed over,
so a run that was stopped goes on where it was; after M minutes no other is started, and the exit status is 3.

Every variant is trained with the settings of the whole network, for the same number of epochs on the same batches; the
weights of the best epoch on validation pictures are kept, and those are scored on the test pictures once. Pooling is left
out by keeping every second pixel instead: kept whole, the maps would give the dense layer 256 times its weights.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from measure import add_row, read_rows
from numpy.typing import NDArray

from fieldguide import training

training.import_tensorflow()

import keras  # noqa: E402  (after the import that keeps TensorFlow quiet)

from fieldguide.models.keras_operations import KerasOperations  # noqa: E402
from fieldguide.models.operations import Operations  # noqa: E402
from fieldguide.recipes.classic import Classic  # noqa: E402
from fieldguide.recipes.recipe import Examples, TrainingData  # noqa: E402
from fieldguide.training.loop import make_deterministic  # noqa: E402

NAME = "ablation"
BUDGET_SPENT = 3  # exit status


@dataclass(frozen=True)
class Settings:
    """Of the network and of its training, in the words of the recipe `classic`, which has since been tuned further."""

    image_size: tuple[int, int] = (32, 32)  # (height, width)
    filters: tuple[int, ...] = (16, 32, 64, 128)
    units: int = 128
    dropout: float = 0.5
    epochs: int = 30
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    warmup_epochs: float = 1.0
    average_momentum: float = 0.99
    horizontal_flip: bool = True
    min_crop: float = 0.7
    max_rotation_degrees: float = 10.0
    brightness: float = 0.1
    contrast: float = 0.2

    def to_json(self) -> str:
        return json.dumps(asdict(self))


BASE = Settings()
SETTINGS = {
    "digits": replace(BASE, epochs=25, horizontal_flip=False),  # a mirrored 2 is no 2
    "fashion": BASE,
}


class WithoutBatchNorm(KerasOperations):
    """Convolutions and the dense layer get the bias that the normalisation had."""

    def conv(self, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Any:
        return super().conv(x, name, filters=filters, kernel_size=kernel_size, strides=strides, use_bias=True)

    def dense(self, x: Any, name: str, *, units: int, use_bias: bool = True) -> Any:
        return super().dense(x, name, units=units, use_bias=True)

    def batch_norm(self, x: Any, name: str, *, epsilon: float = 1e-3) -> Any:
        return x


class WithoutActivation(KerasOperations):
    def relu(self, x: Any, *, max_value: float | None = None) -> Any:
        return x


class WithoutConvolutions(KerasOperations):
    """The pixels go into the dense layer as they are: one hidden layer."""

    def conv(self, x: Any, name: str, *, filters: int, kernel_size: int, strides: int = 1, use_bias: bool = False) -> Any:
        return x

    def batch_norm(self, x: Any, name: str, *, epsilon: float = 1e-3) -> Any:
        return x if len(x.shape) == 4 else super().batch_norm(x, name, epsilon=epsilon)

    def relu(self, x: Any, *, max_value: float | None = None) -> Any:
        return x if len(x.shape) == 4 else super().relu(x, max_value=max_value)

    def max_pool(self, x: Any) -> Any:
        return x


class EverySecondPixel(KerasOperations):
    """Keeps the first value of each 2 x 2 window, which is what a stride of 2 in the convolution comes to."""

    def max_pool(self, x: Any) -> Any:
        return keras.layers.MaxPooling2D(pool_size=1, strides=2)(x)


NO_AUGMENTATION = {"horizontal_flip": False, "min_crop": 1.0, "max_rotation_degrees": 0.0, "brightness": 0.0, "contrast": 0.0}


@dataclass(frozen=True)
class Variant:
    """What is built and how it is trained, where that differs from the whole network."""

    operations: Callable[[], KerasOperations] = KerasOperations
    changes: dict[str, Any] = field(default_factory=dict)  # of the settings


VARIANTS = {
    "whole network": Variant(),
    "no batch normalisation": Variant(WithoutBatchNorm),
    "no dropout": Variant(changes={"dropout": 0.0}),
    "every second pixel instead of max pooling": Variant(EverySecondPixel),
    "no augmentation": Variant(changes=NO_AUGMENTATION),
    "no weight averaging": Variant(changes={"average_momentum": 0.0}),
    "no convolutions": Variant(WithoutConvolutions),
    "ten times the learning rate": Variant(changes={"learning_rate": 0.01}),
    "no batch normalisation, ten times the learning rate": Variant(WithoutBatchNorm, {"learning_rate": 0.01}),
    "no dropout, augmentation, averaging, smoothing or decay": Variant(
        changes={"dropout": 0.0, **NO_AUGMENTATION, "average_momentum": 0.0, "label_smoothing": 0.0, "weight_decay": 0.0}
    ),
    "no activation (ReLU)": Variant(WithoutActivation),
}


@dataclass(frozen=True, eq=False)
class Part:
    pixels: NDArray[np.uint8]  # (num_images, 32, 32, 3)
    labels: NDArray[np.int64]  # (num_images,)


def digits() -> tuple[Part, Part, Part]:
    """300 training, 497 validation and 1,000 test pictures: so few to learn from, and so many to score on."""
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    large = [
        Image.fromarray((255 - image * (255 / 16)).round().astype(np.uint8)).resize((32, 32), Image.Resampling.BICUBIC)
        for image in found.images
    ]
    return _parts(np.stack([np.asarray(image) for image in large]), found.target, (300, 497, 1000))


def fashion(folder: Path) -> tuple[Part, Part, Part]:
    """1,000 training and 1,000 validation pictures of the 60,000; all 10,000 test pictures. Two black pixels around each."""

    def pixels(name: str) -> NDArray[np.uint8]:
        return np.pad(read_idx(folder, name), ((0, 0), (2, 2), (2, 2)))

    train, val = _parts(pixels("train-images-idx3-ubyte"), read_idx(folder, "train-labels-idx1-ubyte"), (1000, 1000))
    (test,) = _parts(pixels("t10k-images-idx3-ubyte"), read_idx(folder, "t10k-labels-idx1-ubyte"), (10000,))
    return train, val, test


def read_idx(folder: Path, name: str) -> NDArray[np.uint8]:
    """The bytes of an idx file, NAME.gz or NAME, in their shape."""
    path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
    if path is None:
        raise SystemExit(f"{folder} has no {name}.gz and no {name}")
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    num_dimensions = data[3]
    shape = np.frombuffer(data, ">u4", count=num_dimensions, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * num_dimensions).reshape(shape)


def _parts(grey: NDArray[np.uint8], labels: NDArray[Any], sizes: tuple[int, ...]) -> tuple[Part, ...]:
    """Disjoint random parts of those sizes, the same every time; grey becomes three equal channels."""
    order = np.random.default_rng(2024).permutation(len(labels))[: sum(sizes)]
    rows = np.split(order, np.cumsum(sizes)[:-1])
    return tuple(Part(np.repeat(grey[r][..., None], 3, axis=3), labels[r].astype(np.int64)) for r in rows)


def network(ops: Operations, pixels: Any, settings: Settings) -> Any:
    """The CNN of the textbooks, in their order: convolution, normalisation, activation, pooling; up to the last layer."""
    x = ops.rescale(pixels, scale=1 / 127.5, offset=-1.0)  # 0..255 -> -1..1
    for number, width in enumerate(settings.filters, start=1):
        x = ops.conv(x, f"block{number}_conv", filters=width, kernel_size=3)
        x = ops.batch_norm(x, f"block{number}_norm")
        x = ops.relu(x)
        x = ops.max_pool(x)  # (batch, height / 2**number, width / 2**number, width)
    x = ops.flatten(x)
    x = ops.dense(x, "dense", units=settings.units, use_bias=False)  # the normalisation below has the bias
    x = ops.batch_norm(x, "dense_norm")
    x = ops.relu(x)
    return ops.dropout(x, rate=settings.dropout)


def build(variant: Variant, settings: Settings, *, num_classes: int = 10) -> Any:
    """The same lines, with the variant's layers."""
    inputs = keras.Input((*settings.image_size, 3), dtype="uint8")
    x = network(variant.operations(), inputs, settings)
    return keras.Model(inputs, keras.layers.Dense(num_classes, name="head")(x))


def train(variant: Variant, settings: Settings, train: Part, val: Part, *, seed: int) -> tuple[Any, Any]:
    """A trained model and what `Classic.train_model` says of it."""
    keras.backend.clear_session()
    make_deterministic(seed)
    model = build(variant, settings)
    recipe = Classic(**asdict(settings), min_steps=0, saturation=0.0, mixup=0.0, cutmix=0.0, all_changes_from=1)
    parts = (Examples(part.pixels, part.labels, np.arange(len(part.labels))) for part in (train, val))
    return model, recipe.train_model(model, TrainingData(*parts, num_classes=10, seed=seed))


def accuracy(model: Any, part: Part) -> float:
    return float((model.predict(part.pixels, batch_size=100, verbose=0).argmax(axis=1) == part.labels).mean())


def measure(dataset: str, name: str, seed: int, parts: tuple[Part, Part, Part]) -> None:
    settings = replace(SETTINGS[dataset], **VARIANTS[name].changes)
    started, cpu_started = time.perf_counter(), time.process_time()
    model, result = train(VARIANTS[name], settings, parts[0], parts[1], seed=seed)
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    add_row(
        NAME,
        {
            "dataset": dataset,
            "variant": name,
            "seed": seed,
            **{
                f"{part}_accuracy": round(accuracy(model, p), 4)
                for part, p in zip(("train", "val", "test"), parts, strict=True)
            },
            **{f"num_{part}": len(p.labels) for part, p in zip(("train", "val", "test"), parts, strict=True)},
            "num_weights": model.count_params(),
            "epochs": len(result.history),
            "best_epoch": result.best_epoch,
            "seconds": round(seconds, 1),
            "cpu_seconds": round(cpu_seconds, 1),
            "settings": settings.to_json(),
        },
    )


def settings_of(row: dict[str, str]) -> str:
    """The settings of a row, without those of the recipe that are not ours."""
    values = json.loads(row["settings"])
    return json.dumps({field.name: values[field.name] for field in fields(Settings)})


def main() -> None:
    parser = argparse.ArgumentParser(description="Leaves each part out of the classic CNN in turn.")
    parser.add_argument("dataset", choices=tuple(SETTINGS))
    parser.add_argument("folder", nargs="?", type=Path, help="with the idx files of Fashion-MNIST")
    parser.add_argument("--seeds", type=int, default=3, help="0 .. SEEDS - 1; all of one variant before the next")
    parser.add_argument("--first", type=int, default=len(VARIANTS), help="so many variants, in the order of the script")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after so many")
    given = parser.parse_args()
    if (given.dataset == "fashion") != (given.folder is not None):
        parser.error("fashion needs a FOLDER, digits none")
    parts = digits() if given.dataset == "digits" else fashion(given.folder)
    done = {(r["dataset"], r["variant"], int(r["seed"]), settings_of(r)) for r in read_rows(NAME)}
    started = time.perf_counter()
    for name, variant in list(VARIANTS.items())[: given.first]:
        settings = replace(SETTINGS[given.dataset], **variant.changes).to_json()
        for seed in range(given.seeds):
            if (given.dataset, name, seed, settings) in done:
                continue
            if time.perf_counter() - started > 60 * given.minutes:
                sys.exit(BUDGET_SPENT)
            measure(given.dataset, name, seed, parts)


if __name__ == "__main__":
    main()
