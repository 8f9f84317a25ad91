"""The tables of docs/how-to/export.md and docs/how-to/serve.md: exported files and the server, as the recorded rows have them.

From results/export.csv and results/serve.csv, of the newest machine; `python benchmarks/readme_table.py` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from measure import Row

OURS = "fieldguide"  # the row of `predict` itself
SERVED = {  # what serve.py calls a measurement -> what the page says, and how to say it
    "start": ("from the command to the line that it listens", "{seconds:.1f} s"),
    "one at a time": ("one client, one picture after the other", "median {p50_ms:.0f} ms, 99th percentile {p99_ms:.0f} ms"),
    "sixteen at a time": (
        "sixteen clients",
        "{per_second:.0f} pictures/s, {of_offline:.0%} of what `predict` does; 99th percentile {p99_ms:.0f} ms",
    ),
    "soak": (
        "{minutes:.0f} minutes under load",
        "{requests:,.0f} pictures, {failed:.0f} failed; {memory_first_mb:.0f} MB at first, {memory_mb:.0f} MB at the end, "
        "{memory_highest_mb:.0f} MB at most",
    ),
    "hostile": (
        "{requests:,.0f} hostile requests",
        "{answers_500:.0f} answers of status 500, {workers_replaced:.0f} workers lost",
    ),
}


def exported(rows: Sequence[Row]) -> str:
    """A line for each format of each recipe that was measured with the newest commit of that recipe, in Markdown."""
    lines = ["| recipe | format | size | cold start | one picture | 32 pictures | accuracy |", "|---|---|---|---|---|---|---|"]
    rows = [row for row in rows if row["machine"] == rows[-1]["machine"]]
    last = {row["recipe"]: row["commit"] for row in rows}
    newest = {(row["recipe"], row["format"]): row for row in rows if row["commit"] == last[row["recipe"]]}
    for recipe in dict.fromkeys(recipe for recipe, _ in newest):
        mine = {kind: row for (name, kind), row in newest.items() if name == recipe}
        for kind in (OURS, *sorted(kind for kind in mine if kind != OURS)):
            row = mine[kind]
            seconds = {n: float(row[f"{n}_seconds"]) for n in ("cold_start", "batch_1_p50", "batch_1_p99", "batch_32_p50")}
            accuracy = f"{float(row['accuracy_after']):.1%} of {int(row['num_images']):,}" if row["accuracy_after"] else ""
            name = "`predict`" if kind == OURS else f"`{kind}`"
            lines.append(
                f"| `{recipe}` | {name} | {int(row['size_bytes']) / 1e6:.1f} MB | {seconds['cold_start']:.1f} s "
                f"| {1e3 * seconds['batch_1_p50']:.1f} ms ({1e3 * seconds['batch_1_p99']:.1f}) "
                f"| {1e3 * seconds['batch_32_p50']:.0f} ms | {accuracy} |"
            )
    return "\n".join(lines) + "\n"


def served(rows: Sequence[Row]) -> str:
    """A line for each measurement of the server, in Markdown: medians over the rows of its newest commit."""
    return "\n".join(["| what | measured |", "|---|---|", *_served(rows)]) + "\n"


def _served(rows: Sequence[Row]) -> Iterator[str]:
    for what, (title, text) in SERVED.items():
        mine = [row for row in rows if row["what"] == what]
        newest = [row for row in mine if row["commit"] == mine[-1]["commit"]]
        if newest:
            values = {name: median(float(row[name]) for row in newest) for name in newest[0] if _is_number(newest[0][name])}
            yield f"| {title.format(**values)} | {text.format(**values)} |"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
