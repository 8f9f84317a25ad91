"""Accuracy against minutes: the table in README.md and the figure of docs/concepts/from-scratch.md.

From results/main-job.csv and results/finetune.csv, of the newest machine with all of its cores and the newest settings. Rows
of finetune.csv do not say the defaults they were made with: those of older code stay until they are measured again.
Minutes go from the start of the process to the end of training: decoding, embedding and the audit are in them, scoring and
the report are not. Of several seeds the median is taken. `python benchmarks/readme_table.py` writes both.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from measure import Row, accuracy_cell, newest_of_each_seed, read_rows, timed

ROOT = Path(__file__).parents[1]
FIGURE = ROOT / "docs" / "pictures" / "accuracy-minutes.svg"
FROM_MAIN_JOB = {"transfer, empty cache": "transfer", "classic": "classic", "scratch": "scratch"}
OF_OTHERS = ("plain Keras", "mini-Xception")
TICKS = (0.5, 1, 2, 3, 5, 10, 20, 30)  # minutes
AFTER_TRAINING = ("certainty", "bundle", "evaluate", "report")  # stages of a command
PICTURES = {  # dataset, pictures a class -> what the table calls them
    ("cats_dogs", ""): "`cats_dogs`: 2,000 photographs",
    ("cifar10", "300"): "`cifar10`: 300 pictures of each class",
}


class Point(NamedTuple):
    """What was reached in some minutes."""

    pictures: str
    what: str
    minutes: float
    accuracy: float
    num_test: int
    num_seeds: int


def points(main_job: Sequence[Row], finetune: Sequence[Row]) -> list[Point]:
    """Of the newest machine, by pictures and minutes."""
    machine = main_job[-1]["machine"]
    runs: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in main_job:
        pictures = PICTURES.get((row["dataset"], ""))
        if pictures and row["machine"] == machine and row["what"] in FROM_MAIN_JOB:
            stages = json.loads(row["detail"])
            seconds = float(row["seconds"]) - sum(stages.get(stage, 0.0) for stage in AFTER_TRAINING)
            runs[pictures, f"`{FROM_MAIN_JOB[row['what']]}`", ""].append({**row, "training_seconds": str(seconds)})
    for row in finetune:
        pictures = PICTURES.get((row["dataset"], row["per_class"]))
        if pictures and (row["machine"], row["cores"], row["settings"]) == (machine, machine.split()[0], ""):
            what = row["what"] if row["what"] in OF_OTHERS else f"`{row['what']}`"
            runs[pictures, what, row["budget"]].append(row)
    found = []
    for (pictures, what, _), every in runs.items():
        rows = newest_of_each_seed(row for row in every if row.get("settings") == every[-1].get("settings"))
        if those := timed(rows):
            minutes = median(float(row["training_seconds"]) for row in those) / 60
            accuracy = median(float(row["test_accuracy"]) for row in rows)
            found.append(Point(pictures, what, minutes, accuracy, int(rows[0]["num_test"]), len(rows)))
    return sorted(found, key=lambda point: (point.pictures, point.minutes))


def table(found: Sequence[Point]) -> str:
    """In Markdown."""
    lines = ["| pictures | what | minutes | test accuracy |", "|---|---|---|---|"]
    for point in found:
        seeds = f"; {point.num_seeds} seed{'s' if point.num_seeds > 1 else ''}"
        accuracy = accuracy_cell(point.accuracy, point.num_test, more=seeds)
        lines.append(f"| {point.pictures} | {point.what} | {point.minutes:.1f} | {accuracy} |")
    return "\n".join(lines) + "\n"


def read_points() -> list[Point]:
    """Those of the recorded rows."""
    return points(read_rows("main-job"), read_rows("finetune"))


def draw(found: Sequence[Point]) -> None:
    """One chart for each set of pictures: minutes (logarithmic) across, accuracy up."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "fieldguide"  # the same points give the same file
    sets = list(dict.fromkeys(point.pictures for point in found))
    figure, charts = plt.subplots(1, len(sets), figsize=(4.6 * len(sets), 3.6), squeeze=False, layout="constrained")
    for chart, pictures in zip(charts[0], sets, strict=True):
        lines: dict[str, list[Point]] = defaultdict(list)
        for point in (one for one in found if one.pictures == pictures):
            lines[point.what].append(point)
        for what, its in lines.items():
            chart.plot([p.minutes for p in its], [100 * p.accuracy for p in its], "o-", label=what.replace("`", ""))
        chart.set(title=pictures.replace("`", ""), xscale="log", xlabel="minutes on two cores", ylabel="test accuracy in %")
        chart.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
        chart.set_xticks([], minor=True)
        all_minutes = [point.minutes for point in found if point.pictures == pictures]
        chart.set_xlim(min(all_minutes) * 0.7, max(all_minutes) * 1.4)
        chart.grid(alpha=0.3)
        chart.legend()
    figure.savefig(FIGURE, metadata={"Date": None})
    plt.close(figure)
