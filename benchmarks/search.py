"""Tries settings of a recipe on validation pictures carved from a training folder; never on test pictures.

    python benchmarks/search.py RECIPE DATASET/training_set '{"epochs": 20}' [SEED [NOTE]]

Appends a row to benchmarks/results/search.csv when it is done; a trial that has a row is not run again, and one that was cut
off goes on. A quarter of each class, the same in every trial, is validation. `seconds` is wall time and depends on what else
runs; `cpu_seconds` of two cores hardly does.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from measure import add_row, read_rows
from PIL import Image

from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.recipes.registry import recipe_of
from fieldguide.recipes.settings import with_settings
from fieldguide.training.checkpoint import Checkpoints
from fieldguide.training.session import Session

NAME = "search"


def read_pictures(folder: Path, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, height, width, 3) and labels of a folder of class folders."""
    height, width = image_size
    pixels, labels = [], []
    for label, directory in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        for path in sorted(directory.iterdir()):
            with Image.open(path) as image:
                image.draft("RGB", (2 * width, 2 * height))
                pixels.append(np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)))
            labels.append(label)
    return np.stack(pixels), np.array(labels)


def settings_of(name: str, changes: Mapping[str, Any]) -> str:
    """The settings of the recipe of that name with those changes, as a row has them."""
    return json.dumps(with_settings(recipe_of(name), changes).to_json())


def trial(name: str, folder: Path, changes: Mapping[str, Any], *, seed: int, note: str) -> None:
    """Trains the recipe of that name with the changed settings, and adds its row if there is none yet."""
    recipe, settings = with_settings(recipe_of(name), changes), settings_of(name, changes)
    dataset = folder.resolve().parent.name
    key = {"recipe": name, "settings": settings, "seed": str(seed), "dataset": dataset}
    if any(key.items() <= row.items() for row in read_rows(NAME)):
        print(f"has its row: {name} {note or dict(changes)}, seed {seed}", flush=True)
        return
    pixels, labels = read_pictures(folder, recipe.image_size)
    order = np.random.default_rng(2024).permutation(len(labels))
    in_class = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        in_class[rows] = np.arange(len(rows)) * 4 // len(rows)
    train, val = np.flatnonzero(in_class > 0), np.flatnonzero(in_class == 0)
    directory = Path(tempfile.gettempdir(), "fieldguide-search", hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16])
    directory.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(directory, identity=key, say=print)
    session = Session(progress=True, say=print, checkpoints=checkpoints, history=directory / "history.csv")
    started, cpu_started = time.perf_counter(), time.process_time()
    parts = (Examples(pixels[rows], labels[rows], rows) for rows in (train, val))
    fitted = recipe.fit(TrainingData(*parts, num_classes=int(labels.max()) + 1, seed=seed, session=session))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    if fitted.interrupted:
        raise SystemExit("interrupted; the same command goes on")
    if fitted.work.get("starts", 1) > 1:
        note = f"{note}; seconds are of the last start".removeprefix("; ")
    row = {
        "recipe": name,
        "settings": settings,
        "seed": seed,
        "val_accuracy": f"{max(row['val_accuracy'] for row in fitted.history):.4f}",
        "last_val_accuracy": f"{fitted.history[-1]['val_accuracy']:.4f}",
        "num_val": len(val),
        "seconds": f"{seconds:.0f}",
        "cpu_seconds": f"{cpu_seconds:.0f}",
        "note": note,
        "dataset": dataset,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }
    add_row(NAME, row)
    checkpoints.remove()


if __name__ == "__main__":
    _, NAME_OF_RECIPE, FOLDER, CHANGES, *MORE = sys.argv
    trial(
        NAME_OF_RECIPE,
        Path(FOLDER),
        json.loads(CHANGES),
        seed=int(MORE[0]) if MORE else 0,
        note=MORE[1] if len(MORE) > 1 else "",
    )
