"""Makes the notebooks from their scripts: text and code from notebooks/src/*.py, outputs by running them.

    python notebooks/build.py               run both from top to bottom and write them (a few minutes)
    python notebooks/build.py --text        write the text anew and keep the outputs; refused where code has changed
    python notebooks/build.py --check       say whether the notebooks are what the scripts make; exit status 1 if not

The scripts are in jupytext's percent format. A cell `<!-- measured -->` becomes the table of measured runs, from
benchmarks/results/main-job.csv.
"""

from __future__ import annotations

import csv
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat

from fieldguide.evaluation.metrics import wilson_interval
from fieldguide.reporting.wording import interval, percent

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results" / "main-job.csv"
NOTEBOOKS = {
    HERE / "src" / "cnn.py": HERE.parent / "CNN for Image Classification.ipynb",
    HERE / "src" / "transfer_learning.py": HERE / "transfer-learning.ipynb",
}
MEASURED = "<!-- measured -->"
_RECIPES = {"classic": "classic", "transfer, empty cache": "transfer"}  # what a row measured -> recipe
_LARGEST_BYTES = 2_000_000
_LONGEST_REPR = 200  # characters


def notebook_of(script: Path) -> Any:
    """The notebook that a script describes, without outputs."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells, start=1):
        cell["id"] = f"cell-{number:02}"  # the same each time, so that a diff shows what changed
        if cell.source == MEASURED:
            cell.source = measured_table()
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def measured_table(path: Path = RESULTS) -> str:
    """Markdown: the last measured runs of each recipe on photographs of cats and dogs, from a results file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["dataset"] == "cats_dogs" and row["what"] in _RECIPES]
    lines = [
        "### Measured on photographs",
        "",
        "Digits are easy. On photographs of cats and dogs (2,000 for training and validation, 2,000 for the test, a",
        "part of Kaggle's *Dogs vs. Cats*) whole runs of `fieldguide train` from an empty cache gave, with 95 % intervals",
        "and the number of pictures:",
        "",
        "| recipe | seed | training | validation | test | minutes | machine |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, recipe in _RECIPES.items():
        mine = [row for row in rows if row["what"] == what]
        # The last run of each seed on the machine that measured last.
        last = {row["seed"]: row for row in mine if row["machine"] == mine[-1]["machine"]}
        for _, row in sorted(last.items()):
            cells = [_score(row, part) for part in ("train", "val", "test")]
            minutes = f"{float(row['seconds']) / 60:.1f}"
            lines.append("| " + " | ".join([f"`{recipe}`", row["seed"], *cells, minutes, row["machine"]]) + " |")
    return "\n".join(
        [
            *lines,
            "",
            "`classic` learns from the 2,000 pictures alone. `transfer` starts from a network trained on ImageNet, which",
            "contains cats and dogs; on pictures of things that ImageNet lacks the difference is smaller. Every row is in",
            "`benchmarks/results/main-job.csv`; `python benchmarks/main_job.py classic DATASET` measures it again. A dash:",
            "not recorded.",
        ]
    )


def _score(row: dict[str, str], part: str) -> str:
    accuracy, count = row.get(f"{part}_accuracy"), row.get(f"num_{part}")
    if not accuracy:
        return "–"
    if not count:
        return percent(float(accuracy))
    bounds = wilson_interval(round(float(accuracy) * int(count)), int(count))
    return f"{percent(float(accuracy))} ({interval(bounds)}, n = {int(count):,})"


def execute(notebook: Any, *, timeout_seconds: int = 900) -> None:
    """Runs all cells in an empty folder with an empty cache; outputs go into the notebook."""
    from nbclient import NotebookClient

    with tempfile.TemporaryDirectory() as folder:
        os.environ["FIELDGUIDE_CACHE"] = str(Path(folder, "cache"))
        work = Path(folder, "work")
        work.mkdir()
        NotebookClient(
            notebook,
            timeout=timeout_seconds,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": str(work)}},
        ).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    drop_long_repr(notebook)


def drop_long_repr(notebook: Any) -> None:
    """Takes away the plain text of outputs that have HTML, where it is long: a record's every field, for no reader."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            if "text/html" in data and len(data.get("text/plain", "")) > _LONGEST_REPR:
                del data["text/plain"]


def sources(notebook: Any) -> list[tuple[str, str]]:
    """Type and source of each cell: what must be equal in script and notebook."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def problems(notebook: Any) -> list[str]:
    """What must not be in the outputs: errors, standard error, widgets, paths of the machine that ran it."""
    found = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            text = nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[output])]))
            if output.output_type == "error" or output.get("name") == "stderr":
                found.append(f"{cell.id}: {output.get('evalue') or output.get('text')}")
            if any(word in output.get("text", "") for word in ("WARNING", "Warning")):
                found.append(f"{cell.id}: {output.text}")
            if "widget-view" in text:
                found.append(f"{cell.id}: a widget, which shows nothing in a saved notebook")
            places = {str(Path.home()), tempfile.gettempdir(), str(HERE.parent)} - {"/"}
            found += [f"{cell.id}: the path {place}" for place in places if place + os.sep in text]
    return found


def _code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _has_same_code(old: Any, made: Any) -> bool:
    return [cell.source for cell in _code_cells(old)] == [cell.source for cell in _code_cells(made)]


def _remedy(old: Any, made: Any) -> str:
    is_text = old is not None and _has_same_code(old, made)
    return "python notebooks/build.py --text (takes a second)" if is_text else "make notebooks (runs it)"


def main(arguments: list[str]) -> int:
    """Writes or checks the notebooks; returns the exit status."""
    status = 0
    for script, path in NOTEBOOKS.items():
        made = notebook_of(script)
        old = nbformat.read(path, as_version=4) if path.is_file() else None
        if "--check" in arguments:
            if old is None or sources(old) != sources(made):
                print(f"{path.name} is not what {script.name} makes.\nhint: {_remedy(old, made)}", file=sys.stderr)
                status = 1
            continue
        if "--text" in arguments:
            if old is None or not _has_same_code(old, made):
                print(
                    f"The code of {script.name} has changed: its outputs are not kept.\nhint: make notebooks", file=sys.stderr
                )
                return 1
            for before, now in zip(_code_cells(old), _code_cells(made), strict=True):
                now.outputs, now.execution_count = before.outputs, before.execution_count
            drop_long_repr(made)
        else:
            execute(made)
            found = problems(made)
            if found:
                print("\n".join(found), file=sys.stderr)
                return 1
        text = nbformat.writes(made) + "\n"
        if len(text.encode()) > _LARGEST_BYTES:
            print(f"{path.name} would have {len(text.encode()):,} bytes; at most {_LARGEST_BYTES:,}.", file=sys.stderr)
            return 1
        path.write_text(text, encoding="utf-8")
        print(f"{path.name}: {len(made.cells)} cells, {len(text.encode()) / 1000:.0f} kB")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
