"""Writes the tables of measured results in README.md and docs, and draws the figure of accuracy against minutes.

    python benchmarks/readme_table.py

A cell is the median of the newest runs on a machine. A test says when a page is behind the results. The tables of minutes and
of what runs elsewhere are made by minutes.py and elsewhere.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median

import elsewhere
import minutes
import parts
from measure import Row, accuracy_cell, newest_of_each_seed, read_rows, timed

ROOT = Path(__file__).parents[1]

# What main_job.py calls a measurement -> what the README says, and the command that was timed.
TITLES = {
    "transfer, empty cache": (
        "`transfer`, from process start to finished report",
        "fieldguide train {dataset} --recipe transfer",
    ),
    "transfer, cached embeddings": ("the same again, embeddings cached", "fieldguide train {dataset} --recipe transfer"),
    "classic": ("`classic`, from scratch", "fieldguide train {dataset} --recipe classic"),
    "scratch": ("`scratch`, from scratch", "fieldguide train {dataset} --recipe scratch"),
    "predict one picture, cold process": (
        "predict one picture, from process start",
        "fieldguide predict runs/{dataset} PICTURE",
    ),
    "predict the test part": ("predict 2,000 pictures", "fieldguide predict runs/{dataset} {dataset}/test_set"),
    "index + scan + audit": ("audit 60,000 small files", "fieldguide audit {dataset}"),
}


def table(rows: Sequence[Row]) -> str:
    """The table, in Markdown."""
    machines = list(dict.fromkeys(row["machine"] for row in reversed(rows)))
    lines = [f"| what | test accuracy | {' | '.join(machines)} |", f"|---|---|{'---|' * len(machines)}"]
    for what, (title, command) in TITLES.items():
        for dataset in dict.fromkeys(row["dataset"] for row in rows if row["what"] == what):
            mine = [row for row in rows if (row["what"], row["dataset"]) == (what, dataset)]
            newest = {machine: _newest(row for row in mine if row["machine"] == machine) for machine in machines}
            accuracy = _accuracy(newest[mine[-1]["machine"]])
            cells = [_cost(newest[machine], beside=newest[mine[-1]["machine"]]) for machine in machines]
            name = f"{title}<br>`{command.format(dataset=dataset)}`"
            lines.append(f"| {name} | {accuracy} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# Page -> the tables in it, by the name that marks them.
PAGES: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {
        "measured": lambda: table(read_rows("main-job")),
        "minutes": lambda: minutes.table(minutes.read_points()),
    },
    "docs/concepts/from-scratch.md": {"parts": lambda: parts.table(read_rows("search"))},
    "docs/how-to/export.md": {"exported": lambda: elsewhere.exported(read_rows("export"))},
    "docs/how-to/serve.md": {"served": lambda: elsewhere.served(read_rows("serve"))},
}


def updated(page: str) -> str:
    """The text of a page with the tables of the recorded rows."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for name, make in PAGES[page].items():
        start, end = f"<!-- {name}: benchmarks/readme_table.py -->\n", f"<!-- /{name} -->"
        before, rest = text.split(start)
        text = before + start + make() + end + rest.split(end)[1]
    return text


def _newest(rows: Iterable[Row]) -> list[Row]:
    """Of the last day: the last run of each seed, or, where there is none, the runs of the last commit."""
    rows = list(rows)
    rows = [row for row in rows if row["date"] == rows[-1]["date"]]
    if any(row["seed"] for row in rows):
        return newest_of_each_seed(rows)
    return [row for row in rows if row["commit"] == rows[-1]["commit"]]


def _accuracy(rows: Sequence[Row]) -> str:
    if not rows[0]["test_accuracy"]:
        return ""
    return accuracy_cell(median(float(row["test_accuracy"]) for row in rows), int(rows[0]["num_test"]))


def _cost(rows: Sequence[Row], beside: Sequence[Row]) -> str:
    """Time and memory; the accuracy as well where it is another than that of the newest runs, which stands before.

    A row's `note` says what keeps its time from being that of the machine, as one core of two; it counts where all have one.
    """
    if not rows:
        return "not measured"
    those = timed(rows) or rows
    seconds = median(float(row["seconds"]) for row in those)
    time = f"{seconds:.1f} s" if seconds < 100 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    runs = f"{len(rows)} runs" if len(rows) > 1 else "1 run"
    if len(those) < len(rows):
        runs = f"{len(those)} of {runs}, the others of an older commit or on part of the machine"
    if _accuracy(rows) != _accuracy(beside):
        runs += f", {_accuracy(rows).split(' ')[0].strip('*')}"
    runs += "".join(f"; {note}" for note in sorted({row.get("note") or "" for row in those} - {""}))
    return f"{time}, {median(float(row['peak_mb']) for row in those) / 1000:.2f} GB ({runs})"


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(updated(page), encoding="utf-8")
    minutes.draw(minutes.read_points())
