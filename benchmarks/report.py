"""How large a report is, and how long headless Chromium takes to open it and to show the pictures behind a number.

    python benchmarks/report.py RUN [TIMES]

A row each time (3) in results/report.csv. `seconds_to_open` goes from asking for the file to the end of its load event;
`seconds_to_show` from the click on the largest cell of the confusion matrix until its first picture is drawn.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from measure import add_row

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import browser

_CLICK = """
const cells = [...document.querySelectorAll('[data-open^="cell:"]')];
const count = (cell) => parseInt(cell.textContent.replace(/[^0-9]/g, '')) || 0;
const largest = cells.reduce((a, b) => (count(b) > count(a) ? b : a));
(largest.querySelector('button') || largest).click();
"""
_SHOWN = "const found = document.querySelector('#explorer .explorer-list .tile img'); return !!found && found.complete"


def measure(report: Path) -> dict[str, float]:
    """Opens it in a browser of its own, clicks, and says how long both took."""
    with browser() as driver:
        started = time.perf_counter()
        driver.get(report.resolve().as_uri())
        opened = time.perf_counter()
        driver.execute_script(_CLICK)
        while not driver.execute_script(_SHOWN):
            time.sleep(0.01)
        shown = time.perf_counter()
    return {"seconds_to_open": round(opened - started, 3), "seconds_to_show": round(shown - opened, 3)}


if __name__ == "__main__":
    run = Path(sys.argv[1])
    values = json.loads((run / "run.json").read_text("utf-8"))
    for _ in range(int(sys.argv[2]) if sys.argv[2:] else 3):
        report = run / "report.html"
        facts = {"run": run.name, "num_test": values["scores"]["test"]["num_images"], "size_bytes": report.stat().st_size}
        add_row("report", {**facts, **measure(report), "browser": "Chromium, headless"})
