"""Tries settings of the `classic` recipe on validation pictures carved from a training folder; never on test pictures.

    python benchmarks/classic_search.py DATASET/training_set '{"epochs": 20, "filters": [16, 32, 64, 128]}' [SEED]

Appends a row to benchmarks/results/classic-search.csv. A quarter of each class, the same in every trial, is validation.
`seconds` is wall time and depends on what else runs; `cpu_seconds` of two cores hardly does.
"""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fieldguide.recipes.classic import Classic
from fieldguide.recipes.recipe import Examples, TrainingData

RESULTS = Path(__file__).parent / "results" / "classic-search.csv"
COLUMNS = ("settings", "seed", "val_accuracy", "last_val_accuracy", "num_val", "seconds", "cpu_seconds", "note")


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
    folder, changes = Path(sys.argv[1]), json.loads(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    note = sys.argv[4] if len(sys.argv) > 4 else ""
    recipe = Classic.from_json(changes)
    pixels, labels = read_pictures(folder, recipe.image_size)
    order = np.random.default_rng(2024).permutation(len(labels))
    in_class = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        in_class[rows] = np.arange(len(rows)) * 4 // len(rows)
    train, val = np.flatnonzero(in_class > 0), np.flatnonzero(in_class == 0)
    started, cpu_started = time.perf_counter(), time.process_time()
    parts = (Examples(pixels[rows], labels[rows], rows) for rows in (train, val))
    fitted = recipe.fit(TrainingData(*parts, num_classes=int(labels.max()) + 1, seed=seed, progress=True))
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
    for row in fitted.history:
        print({name: round(value, 4) for name, value in row.items()}, flush=True)
    best = max(row["val_accuracy"] for row in fitted.history)
    last = fitted.history[-1]["val_accuracy"]
    values = (json.dumps(recipe.to_json()), seed, f"{best:.4f}", f"{last:.4f}", len(val))
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(COLUMNS)
        writer.writerow((*values, f"{seconds:.0f}", f"{cpu_seconds:.0f}", note))
    print(f"best {best:.4f} last {last:.4f} wall {seconds:.0f} s cpu {cpu_seconds:.0f} s")


if __name__ == "__main__":
    main()
