"""The demonstration: scikit-learn's handwritten digits as a folder with faults planted in it, learned both ways."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldguide import workflow
from fieldguide.recipes.classic import Classic
from fieldguide.recipes.recipe import Recipe
from fieldguide.recipes.registry import RECIPES
from fieldguide.recipes.transfer import Transfer
from fieldguide.records import Run
from fieldguide.storage import read_record

_SIDE = 64  # px
_NUM_TEST = 360
_CLASS_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_digits(directory: str | os.PathLike[str]) -> Path:
    """Writes 1,797 digits (8 x 8 px, enlarged to 64 x 64) as training_set/ and test_set/, with six faults planted.

    A damaged file, two copies of one training picture, one training picture in the test part, three wrong labels.
    Returns the folder; where it exists already, it is left as it is.

    Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, in scikit-learn.
    """
    target = Path(directory)
    if not target.is_dir():
        temporary = target.with_name(f".{target.name}")  # so that a folder half written is not taken for a whole one
        shutil.rmtree(temporary, ignore_errors=True)
        _write_digits(temporary)
        temporary.rename(target)
    return target


def _write_digits(directory: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    labels: NDArray[np.int64] = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    test = set(order[:_NUM_TEST].tolist())
    train = [int(i) for i in order[_NUM_TEST:]]
    wrong = {i: (int(labels[i]) + 3) % 10 for i in train[:3]}
    for i, image in enumerate(digits.images):
        part = "test_set" if i in test else "training_set"
        path = directory / part / _CLASS_NAMES[wrong.get(i, int(labels[i]))] / f"digit-{i:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = (image * (255 / 16)).round().astype(np.uint8)
        Image.fromarray(255 - pixels).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(path)

    def file_of(i: int, part: str) -> Path:
        return directory / part / _CLASS_NAMES[int(labels[i])] / f"digit-{i:04d}.png"

    twin = file_of(train[10], "training_set")
    for number in (1, 2):
        shutil.copyfile(twin, twin.with_name(f"copy-{number}.png"))
    leaked = file_of(train[11], "training_set")
    shutil.copyfile(leaked, directory / "test_set" / leaked.parent.name / "also-in-training.png")
    damaged = file_of(train[12], "training_set")
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])


def demo(directory: Path = Path("demo"), *, say: Callable[[str], None] = print) -> tuple[Run, Run]:
    """Writes the digits, trains `classic` (a Keras CNN from scratch) and `transfer`, and says where the reports are."""
    pictures = write_digits(directory / "digits")
    # Digits have a left and a right: no mirror images. 32 px are plenty for what was 8 x 8.
    classic = Classic(image_size=(32, 32), epochs=15, horizontal_flip=False, min_crop=0.8, max_rotation_degrees=10.0)
    recipes: tuple[Recipe, ...] = (classic, Transfer())
    runs = []
    for recipe in recipes:
        say(f"\n{recipe.name}: {RECIPES[recipe.name].summary}")
        finished = directory / "runs" / recipe.name / "run.json"
        if finished.is_file():
            say(f"trained before; delete {finished.parent} to train again")
            run = read_record(Run, finished)
        else:
            run = workflow.train(pictures, out=finished.parent, recipe=recipe, say=say)
        test = run.scores["test"]
        low, high = test["interval"]
        say(f"test accuracy {test['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}), {run.seconds['total']:.0f} s")
        runs.append(run)
    say("\nThe reports, to open in a browser:")
    for run in runs:
        say(f"  {Path(run.directory, 'report.html').resolve()}")
    return runs[0], runs[1]
