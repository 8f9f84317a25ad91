"""The exported page in headless Chromium, beside the command line: the same answers, and how long it takes.

    python benchmarks/web.py RUN PICTURES [COUNT]

RUN is exported anew with `--format web`; COUNT (50) pictures, evenly taken from the folder PICTURES, are given to the page. A
row for each precision of the command line goes to results/web.csv. Choosing the pictures needs no label.
"""

from __future__ import annotations

import csv
import io
import sys
import tempfile
import time
from pathlib import Path

from measure import add_row

import fieldguide
from fieldguide.classifier import find_pictures

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.browser import browser
from tests.exporting.test_web import static_host, wait_for


def main(run: str, folder: str, count: int) -> None:
    """Compares and records."""
    found = list(find_pictures([folder]))
    pictures = found[:: max(1, len(found) // count)][:count]
    number = "return document.querySelectorAll('#list button').length"
    with tempfile.TemporaryDirectory() as temporary:
        fieldguide.export(run, "web", out=Path(temporary, "web"))
        with static_host(Path(temporary, "web")) as address, browser(downloads=Path(temporary)) as driver:
            started = time.perf_counter()
            driver.get(address)
            wait_for(lambda: driver.find_element("id", "files").is_enabled())
            ready = time.perf_counter() - started
            started = time.perf_counter()
            driver.find_element("id", "files").send_keys("\n".join(pictures))
            wait_for(lambda: driver.execute_script(number) == len(pictures))
            seconds = time.perf_counter() - started
            driver.find_element("id", "download").click()
            wait_for(lambda: any(Path(temporary).glob("*.csv")))
        (table,) = Path(temporary).glob("*.csv")
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
    for precision in ("f32", "auto"):
        classifier = fieldguide.load(run, precision=precision)
        agreed, largest = 0, 0.0
        for row, prediction in zip(rows, classifier.predict(pictures), strict=True):
            agreed += row["nearest_class"] == prediction.nearest_class
            for name, probability in prediction.probabilities.items():
                largest = max(largest, abs(float(row[f"probability: {name}"]) - probability))
        add_row(
            "web",
            {
                "run": Path(run).name,
                "num_images": len(pictures),
                "command_line_precision": classifier.engine().precision,
                "same_top_class": agreed,
                "largest_difference": f"{largest:.2g}",
                "seconds_until_ready": round(ready, 2),
                "seconds_a_picture": round(seconds / len(pictures), 3),
                "browser": "Chromium, headless",
            },
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 50)
