"""Accuracy against minutes on the same pictures: our recipes, Keras fine-tuning the same network, a mini-Xception.

    python benchmarks/finetune.py DATASET --recipe finetune [--per-class 300] [--time 4m] [--set KEY=VALUE] [--seed 0]
    python benchmarks/finetune.py DATASET --recipe keras --time 10m [--per-class 300]
    python benchmarks/finetune.py DATASET --recipe mini-xception --time 10m

DATASET is a folder with a training and a test part, or `fashion-mnist` (Debian's dataset-fashion-mnist). `--per-class` takes
that many training pictures of each class, by seed, and all of the test part. Every run is a process of its own with an empty
cache; its time counts from the start of the process to the end of training, scoring not included. A row goes to
results/finetune.csv. Nothing is chosen on the test part. On part of the machine: `taskset -c 1 python ...`.

Plain Keras is what a careful user writes: EfficientNet-Lite0 with the published weights at 128 px, first the head alone on the
frozen network, then everything but batch normalisation with AdamW at 5e-4 and a cosine that ends with the time, mirrored,
shifted and zoomed pictures, label smoothing as in ours, and the weights of the best epoch on validation. The mini-Xception is
that of Deep Learning with Python, from random weights at 180 px, with Adam at 1e-3, its mirrored, turned and zoomed pictures,
and the same cosine and choice of weights.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import add_row, run_command
from PIL import Image

FIELDGUIDE = [sys.executable, "-m", "fieldguide"]
FASHION = Path("/usr/share/datasets/fashion-mnist")
SIZE, BATCH, RATE, HEAD_EPOCHS = (128, 128), 32, 5e-4, 5
PLAIN_KERAS = {"keras": ("pretrained", "plain Keras"), "mini-xception": ("mini-xception", "mini-Xception")}
XCEPTION_SIZE, XCEPTION_RATE = (180, 180), 1e-3


def make_folder(dataset: str, per_class: int | None, seed: int, into: Path) -> None:
    """Copies `per_class` training pictures of each class (all when None), chosen by seed, and the whole test part."""
    rng = np.random.default_rng(seed)
    if dataset == "fashion-mnist":
        for part, stem, limit in (("train", "train", per_class), ("test", "t10k", None)):
            images = np.frombuffer(gzip.open(FASHION / f"{stem}-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
            labels = np.frombuffer(gzip.open(FASHION / f"{stem}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
            for label in range(10):
                (into / part / f"{label}").mkdir(parents=True)
                for i in rng.permutation(np.flatnonzero(labels == label))[:limit]:
                    Image.fromarray(images.reshape(-1, 28, 28)[i]).save(into / part / f"{label}" / f"{i:05d}.png")
        return
    for part in sorted(path for path in Path(dataset).iterdir() if path.is_dir()):
        for folder in sorted(path for path in part.iterdir() if path.is_dir()):
            (into / part.name / folder.name).mkdir(parents=True)
            files = sorted(folder.iterdir())
            if per_class is not None and not part.name.startswith("test"):
                files = [files[i] for i in rng.permutation(len(files))[:per_class]]
            for file in files:
                shutil.copyfile(file, into / part.name / folder.name / file.name)


def run_ours(folder: Path, recipe: str, given: argparse.Namespace) -> dict[str, Any]:
    """Trains with the command line; what the row needs of its answer."""
    command = [*FIELDGUIDE, "train", str(folder), "--out", str(folder.parent / "run"), "--recipe", recipe, "--json"]
    command += ["--seed", str(given.seed), *(["--time", given.time] if given.time else [])]
    command += [word for setting in given.set for word in ("--set", setting)]
    seconds, peak, output = run_command(command, FIELDGUIDE_CACHE=str(folder.parent / "cache"))
    values = json.loads(output)
    afterwards = sum(values["seconds"][stage] for stage in ("certainty", "bundle", "evaluate", "report"))
    return {
        "what": recipe if values["chosen"] == recipe else f"{recipe} -> {values['chosen']}",
        "training_seconds": round(seconds - afterwards, 1),
        "total_seconds": round(seconds, 1),
        "peak_mb": round(peak),
        "val_accuracy": values["val"]["accuracy"] if values["val"] else "",
        "test_accuracy": values["test"]["accuracy"],
        "num_train": values["train"]["num_images"],
        "num_val": values["val"]["num_images"] if values["val"] else 0,
        "num_test": values["test"]["num_images"],
        "notes": " ".join(values["notes"][1:]),
    }


def run_keras(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """The same in a process that runs `train_plainly`."""
    network, what = PLAIN_KERAS[given.recipe]
    command = [sys.executable, __file__, str(folder), "--recipe", f"{network}-child", "--time", given.time]
    command += ["--seed", str(given.seed)]
    seconds, peak, output = run_command(command, FIELDGUIDE_CACHE=str(folder.parent / "cache"))
    values = json.loads(output.splitlines()[-1])
    return {"what": what, **values, "total_seconds": round(seconds, 1), "peak_mb": round(peak), "notes": ""}


def mini_xception(num_classes: int) -> Any:
    """The network of Chollet 2021, Deep Learning with Python, 2nd edition, section 9.3.5, written from its description."""
    import keras

    layers = keras.layers
    pixels = keras.Input((*XCEPTION_SIZE, 3), dtype="uint8")
    x = layers.Conv2D(32, 5, use_bias=False)(layers.Rescaling(1 / 255)(pixels))
    for filters in (32, 64, 128, 256, 512):
        around = layers.Conv2D(filters, 1, 2, "same", use_bias=False)(x)
        for _ in range(2):
            x = layers.Activation("relu")(layers.BatchNormalization()(x))
            x = layers.SeparableConv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.add([layers.MaxPooling2D(3, 2, "same")(x), around])
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(pixels, layers.Dense(num_classes)(x))


def pretrained(num_classes: int) -> Any:
    """EfficientNet-Lite0 with the published weights and a fresh head."""
    from fieldguide.models.keras_operations import build_keras, set_weights
    from fieldguide.models.operations import Network
    from fieldguide.models.weights import pretrained_weights

    model = build_keras(Network("efficientnet_lite0", SIZE), num_classes=num_classes)
    start = {f"head/{v.name}": np.array(v.numpy()) for v in model.layers[-1].weights}
    set_weights(model, {**pretrained_weights("efficientnet_lite0"), **start})
    return model


def train_plainly(folder: str, network: str, minutes: float, seed: int, started: float) -> dict[str, Any]:
    """Trains with Keras alone until `minutes` after `started`; accuracies, and the seconds until training ended."""
    import keras
    import tensorflow as tf

    import fieldguide

    keras.utils.set_random_seed(seed)
    is_pretrained = network == "pretrained"
    size = SIZE if is_pretrained else XCEPTION_SIZE
    pictures = fieldguide.load_pictures(folder, image_size=size, seed=seed, progress=False)
    num_classes, train, val = len(pictures.class_names), pictures.train, pictures.val
    model = pretrained(num_classes) if is_pretrained else mini_xception(num_classes)
    peak_rate = RATE if is_pretrained else XCEPTION_RATE
    changes = [keras.layers.RandomFlip("horizontal")]
    if is_pretrained:
        changes += [keras.layers.RandomTranslation(0.1, 0.1), keras.layers.RandomZoom((-0.2, 0.0))]
    else:
        changes += [keras.layers.RandomRotation(0.1), keras.layers.RandomZoom(0.2)]
    change = keras.Sequential(changes)

    def batches(part: Any, *, training: bool) -> Any:
        data = tf.data.Dataset.from_tensor_slices((part.pixels, part.labels))
        data = data.shuffle(len(part), seed=seed).batch(BATCH) if training else data.batch(64)
        data = data.map(lambda x, y: (change(x, training=True) if training else x, tf.one_hot(y, num_classes)))
        return data.prefetch(2)

    def fit(rate: float, epochs: int, callbacks: list[Any]) -> None:
        model.compile(
            keras.optimizers.AdamW(rate) if is_pretrained else keras.optimizers.Adam(rate),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1 if is_pretrained else 0.0),
            metrics=["accuracy"],
            jit_compile=False,
        )
        model.fit(
            batches(train, training=True),
            epochs=epochs,
            validation_data=batches(val, training=False) if callbacks else None,
            callbacks=callbacks,
            verbose=2,
        )

    if is_pretrained:
        head = model.layers[-1]
        for layer in model.layers:
            layer.trainable = layer is head
        fit(1e-2, HEAD_EPOCHS, [])
        for layer in model.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)

    begun, best = time.time(), {"accuracy": -1.0, "weights": model.get_weights(), "validation": 0.0}
    deadline = started + 60.0 * minutes

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            share = min(1.0, (time.time() - begun) / max(deadline - begun, 1.0))
            self.model.optimizer.learning_rate = peak_rate * min(1.0, 20 * share) * 0.5 * (1 + math.cos(math.pi * share))

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if time.time() + best["validation"] > deadline:
                self.model.stop_training = True

        def on_test_begin(self, logs: Any = None) -> None:
            self._test_started = time.time()

        def on_test_end(self, logs: Any = None) -> None:
            best["validation"] = time.time() - self._test_started

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if logs["val_accuracy"] >= best["accuracy"]:
                best.update(accuracy=logs["val_accuracy"], weights=self.model.get_weights())

    fit(peak_rate, 10_000, [Clock()])
    seconds = time.time() - started
    model.set_weights(best["weights"])

    def accuracy(part: Any) -> float:
        logits = model.predict(part.pixels, batch_size=64, verbose=0)
        return float((logits.argmax(axis=1) == part.labels).mean())

    return {
        "training_seconds": round(seconds, 1),
        "val_accuracy": accuracy(val),
        "test_accuracy": accuracy(pictures.test),
        "num_train": len(train),
        "num_val": len(val),
        "num_test": len(pictures.test),
    }


if __name__ == "__main__":
    process_started = time.time()
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset")
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--per-class", type=int)
    parser.add_argument("--time", help="as `fieldguide train --time`; 10m")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--seed", type=int, default=0)
    parsed = parser.parse_args()
    if parsed.recipe.endswith("-child"):
        network, minutes = parsed.recipe.removesuffix("-child"), float(parsed.time.removesuffix("m"))
        print(json.dumps(train_plainly(parsed.dataset, network, minutes, parsed.seed, process_started)))
        sys.exit()
    with tempfile.TemporaryDirectory() as temporary:
        name = Path(parsed.dataset).name
        target = Path(temporary, name)
        make_folder(parsed.dataset, parsed.per_class, parsed.seed, target)
        is_keras = parsed.recipe in PLAIN_KERAS
        row = run_keras(target, parsed) if is_keras else run_ours(target, parsed.recipe, parsed)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    facts = {"dataset": name, "per_class": parsed.per_class or "", "seed": parsed.seed, "cores": cores}
    add_row("finetune", {**facts, "budget": parsed.time or "", "settings": " ".join(parsed.set), **row})
