"""What each part of `scratch` brings: leaves one out at a time, and measures on validation pictures, never on test pictures.

    python benchmarks/parts.py DATASET/training_set [SEED ...]

Each run is a trial of search.py, with its row in results/search.csv; what has a row is passed over, so that a run that was
stopped goes on. The table of all rows is printed in the end. Pictures are smaller and rounds fewer than in the default,
for some ten minutes of processor a run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from measure import Row, read_rows
from search import settings_of, trial

EPOCHS = 120
IMAGE_SIZE = (64, 64)
LEFT_OUT: dict[str, dict[str, Any]] = {  # what is left out -> settings
    "nothing": {},
    "random crops": {"min_crop": 1.0},
    "averaged weights": {"average_momentum": 0.0},
    "mixup and CutMix": {"mixup": 0.0, "cutmix": 0.0},
    "growing: all pictures of 64 x 64 pixels": {"grow_from": 1.0},
    "the mirror image in the answer": {"test_time_flip": False},
    "mirror images, in training and in the answer": {"horizontal_flip": False},
    "changes of light and colour": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0},
    "label smoothing": {"label_smoothing": 0.0},
    "weight decay": {"weight_decay": 0.0},
}


def settings_without(what: str) -> dict[str, Any]:
    """Those of the trial that leaves it out, where they are not the default."""
    return {"epochs": EPOCHS, "image_size": IMAGE_SIZE, "min_steps": 0, "validate": True, **LEFT_OUT[what]}


def table(rows: Sequence[Row]) -> str:
    """In Markdown, of rows of search.csv; the smallest accuracy last.

    A setting that is younger than a row is not named in it, and must be one that changes nothing in these trials.
    """
    found: list[tuple[float, str]] = []
    for what in LEFT_OUT:
        settings = json.loads(settings_of("scratch", settings_without(what)))
        mine = [row for row in rows if row["recipe"] == "scratch" and json.loads(row["settings"]).items() <= settings.items()]
        if mine:
            accuracy = mean(float(row["last_val_accuracy"]) for row in mine)
            minutes = mean(float(row["cpu_seconds"]) for row in mine) / 60
            seeds = f"{len(mine)} seed{'s' if len(mine) > 1 else ''}"
            found.append((accuracy, f"| {what} | {accuracy:.1%} (n = {mine[0]['num_val']}, {seeds}) | {minutes:.1f} |"))
    lines = ["| left out | validation accuracy | minutes of processor |", "|---|---|---|"]
    return "\n".join([*lines, *(line for _, line in sorted(found, reverse=True))]) + "\n"


def main() -> None:
    folder, *seeds = sys.argv[1:]
    for seed in [int(seed) for seed in seeds] or [0]:
        for what in LEFT_OUT:
            trial("scratch", Path(folder), settings_without(what), seed=seed, note=f"without {what}")
    print(table(read_rows("search")))


if __name__ == "__main__":
    main()
