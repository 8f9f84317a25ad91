"""Accuracy against minutes: writes the table in README.md and draws the figure of docs/concepts/from-scratch.md.

    python benchmarks/minutes.py

From results/main-job.csv and results/finetune.csv, of the newest machine with all of its cores and default settings. Minutes
go from the start of the process to the end of training: decoding, embedding and the audit are in them, scoring and the report
are not. Of several seeds the median is taken. A test says when the README is behind the results.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from fieldguide.evaluation.metrics import wilson_interval

ROOT = Path(__file__).parents[1]
START, END = "<!-- minutes: benchmarks/minutes.py -->\n", "<!-- /minutes -->"
FIGURE = ROOT / "docs" / "pictures" / "accuracy-minutes.svg"
FROM_MAIN_JOB = {"transfer, empty cache": "transfer", "classic": "classic", "scratch": "scratch"}
OF_OTHERS = ("plain Keras", "mini-Xception")
AFTER_TRAINING = ("certainty", "bundle", "evaluate", "report")  # stages of a command
PICTURES = {  # dataset, pictures a class -> what the table calls them
    ("cats_dogs", ""): "`cats_dogs`: 2,000 photographs",
    ("cifar10", "300"): "`cifar10`: 300 pictures of each class",
}

Row = dict[str, str]


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
    runs: dict[tuple[str, str, str], dict[str, tuple[float, Row]]] = defaultdict(dict)  # the newest run of each seed
    for row in main_job:
        if row["machine"] == machine and row["what"] in FROM_MAIN_JOB and (row["dataset"], "") in PICTURES:
            stages = json.loads(row["detail"])
            seconds = float(row["seconds"]) - sum(stages[stage] for stage in AFTER_TRAINING if stage in stages)
            what = FROM_MAIN_JOB[row["what"]]
            runs[PICTURES[row["dataset"], ""], f"`{what}`", ""][row["seed"]] = (seconds, row)
    for row in finetune:
        pictures = PICTURES.get((row["dataset"], row["per_class"]))
        if pictures and (row["machine"], row["cores"], row["settings"]) == (machine, machine.split()[0], ""):
            what = row["what"] if row["what"] in OF_OTHERS else f"`{row['what']}`"
            runs[pictures, what, row["budget"]][row["seed"]] = (float(row["training_seconds"]), row)
    found = []
    for (pictures, what, _), of_seeds in runs.items():
        timed = [seconds for seconds, row in of_seeds.values() if not row.get("note")]
        if timed:
            rows = [row for _, row in of_seeds.values()]
            accuracy = median(float(row["test_accuracy"]) for row in rows)
            found.append(Point(pictures, what, median(timed) / 60, accuracy, int(rows[0]["num_test"]), len(rows)))
    return sorted(found, key=lambda point: (point.pictures, point.minutes))


def table(found: Sequence[Point]) -> str:
    """In Markdown."""
    lines = ["| pictures | what | minutes | test accuracy |", "|---|---|---|---|"]
    for point in found:
        low, high = wilson_interval(round(point.accuracy * point.num_test), point.num_test)
        seeds = f"{point.num_seeds} seed{'s' if point.num_seeds > 1 else ''}"
        accuracy = f"**{point.accuracy:.2%}** ({low:.2%} to {high:.2%}, n = {point.num_test:,}; {seeds})"
        lines.append(f"| {point.pictures} | {point.what} | {point.minutes:.1f} | {accuracy} |")
    return "\n".join(lines) + "\n"


def updated(readme: str, found: Sequence[Point]) -> str:
    """The README with the table of these points."""
    before, rest = readme.split(START)
    return before + START + table(found) + END + rest.split(END)[1]


def read_points() -> list[Point]:
    """Those of the recorded rows."""
    return points(*(_read_rows(name) for name in ("main-job", "finetune")))


def draw(found: Sequence[Point], path: Path) -> None:
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
        chart.xaxis.set_major_formatter("{x:g}")
        chart.grid(alpha=0.3)
        chart.legend()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _read_rows(name: str) -> list[Row]:
    with (ROOT / "benchmarks" / "results" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    recorded = read_points()
    readme_path = ROOT / "README.md"
    readme_path.write_text(updated(readme_path.read_text(encoding="utf-8"), recorded), encoding="utf-8")
    draw(recorded, FIGURE)
