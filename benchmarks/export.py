"""Every export of finished runs: how it answers beside the engine, what it weighs, how fast it is here.

    python benchmarks/export.py runs/cats_dogs runs/cats_dogs-2 [--format onnx ...]

One row a run and format in results/export.csv, with the load of the machine: times on a busy one are upper bounds. Compared on
256 test pictures of the run, formats of 8 bits on 2,000.
"""

from __future__ import annotations

import argparse

from measure import add_row

import fieldguide

PARITY = ("num_images", "top1_agreement", "max_abs_diff", "accuracy_before", "accuracy_after", "none_of_these_agreement")
NOVELTY = ("novelty_max_abs_diff", "turned_away_before", "turned_away_after", "auroc_before", "auroc_after")


def main() -> None:
    """Measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--format", action="append", default=[])
    arguments = parser.parse_args()
    for run in arguments.runs:
        recipe = fieldguide.load(run).bundle.recipe
        for row in fieldguide.bench_export(run, formats=arguments.format, say=print):
            values = row.to_json()
            parity, picture = values.pop("parity") or {}, values.pop("picture_parity") or {}
            values |= {name: parity.get(name) for name in (*PARITY, *NOVELTY, "runtime", "is_tensorflow_loaded")}
            values |= {f"picture_{name}": picture.get(name) for name in (*PARITY, "novelty_max_abs_diff")}
            add_row("export", {"recipe": recipe, "data": "cats_dogs", **values})


if __name__ == "__main__":
    main()
