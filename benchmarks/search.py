"""Tries settings of a recipe on validation pictures carved from a training folder; never on test pictures.

    python benchmarks/search.py RECIPE DATASET/training_set '{"epochs": 20}' [SEED [NOTE]]

Appends a row to benchmarks/results/search.csv when it is done; a trial that has a row is not run again, and one that was cut
off goes on. A quarter of each class, the same in every trial, is validation. `seconds` is wall time and depends on what else
runs; `cpu_seconds` of two cores hardly does.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fieldguide.recipes.recipe import Examples, TrainingData
from fieldguide.recipes.registry import recipe_of
from fieldguide.recipes.settings import with_settings
from fieldguide.training.checkpoint import Checkpoints
from fieldguide.training.session import Session

RESULTS = Path(__file__).parent / "results" / "search.csv"
COLUMNS = ("recipe", "settings", "seed", "val_accuracy", "last_val_accuracy", "num_val", "seconds", "cpu_seconds", "note")


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


def main() -> None:
    name, folder, changes = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    seed = int(sys.argv[4]) if len(sys.argv) > 4 else 0
    note = sys.argv[5] if len(sys.argv) > 5 else ""
    recipe = with_settings(recipe_of(name), changes)
    settings = json.dumps(recipe.to_json())
    with RESULTS.open(newline="", encoding="utf-8") as file:
        if any((row["recipe"], row["settings"], row["seed"]) == (name, settings, str(seed)) for row in csv.DictReader(file)):
            raise SystemExit("this trial has its row")
    pixels, labels = read_pictures(folder, recipe.image_size)
    order = np.random.default_rng(2024).permutation(len(labels))
    in_class = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        in_class[rows] = np.arange(len(rows)) * 4 // len(rows)
    train, val = np.flatnonzero(in_class > 0), np.flatnonzero(in_class == 0)
    key = hashlib.sha256(f"{name} {settings} {seed}".encode()).hexdigest()[:16]
    trial = Path(tempfile.gettempdir(), "fieldguide-search", key)
    trial.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(trial, identity={"recipe": name, "settings": settings, "seed": seed}, say=print)
    session = Session(progress=True, say=print, checkpoints=checkpoints, history=trial / "history.csv")
    started, cpu_started = time.perf_counter(), time.process_time()
    parts = (Examples(pixels[rows], labels[rows], rows) for rows in (train, val))
    fitted = recipe.fit(TrainingData(*parts, num_classes=int(labels.max()) + 1, seed=seed, session=session))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    if fitted.interrupted:
        raise SystemExit("interrupted; the same command goes on")
    if fitted.work.get("starts", 1) > 1:
        note = f"{note}; seconds are of the last start".removeprefix("; ")
    best = max(row["val_accuracy"] for row in fitted.history)
    last = fitted.history[-1]["val_accuracy"]
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        values = (name, settings, seed, f"{best:.4f}", f"{last:.4f}", len(val), f"{seconds:.0f}", f"{cpu_seconds:.0f}", note)
        csv.writer(file, lineterminator="\n").writerow(values)
    checkpoints.remove()
    print(f"best {best:.4f} last {last:.4f} wall {seconds:.0f} s cpu {cpu_seconds:.0f} s")


if __name__ == "__main__":
    main()
