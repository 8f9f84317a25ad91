"""Whether probabilities mean what they say: calibration error, coverage of prediction sets, answers only when sure.

    python benchmarks/calibration.py DATASET [SEEDS]    trains with seeds 0 .. SEEDS - 1 (1); embeddings may be cached

A row per seed goes to results/calibration.csv. Temperature, confidences and sets come from training pictures, held out.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import add_row

import fieldguide
from fieldguide.bundle import read_bundle
from fieldguide.evaluation.calibration import answers_when_sure
from fieldguide.evaluation.evaluate import read_evaluation
from fieldguide.evaluation.metrics import expected_calibration_error

COVERAGES = (0.9, 0.95, 0.99)


def main(dataset: str, seeds: int) -> None:
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            run = fieldguide.train(dataset, out=Path(folder, "run"), seed=seed)
            certainty = read_bundle(run.directory).certainty
            parts = {part: read_evaluation(Path(run.directory, "evaluation"), part) for part in ("val", "test")}
        test = parts["test"]
        raw = test.probabilities.astype(np.float64) ** certainty.temperature
        raw /= raw.sum(axis=1, keepdims=True)
        sets = {}
        for coverage in COVERAGES:
            members = certainty.sets(test.probabilities, coverage)
            held = members[np.arange(len(test.labels)), test.labels].mean()
            sets[coverage] = {"covered": round(float(held), 4), "mean_size": round(float(members.sum(axis=1).mean()), 3)}
        sure = [
            {name: round(row[name], 4) for name in ("target", "coverage", "accuracy")}
            for row in answers_when_sure(parts["val"], test)
            if row["accuracy"] is not None
        ]
        add_row(
            "calibration",
            {
                "dataset": Path(dataset).name,
                "seed": seed,
                "test_accuracy": run.scores["test"]["accuracy"],
                "num_test": len(test.labels),
                "temperature": round(certainty.temperature, 4),
                "calibration_error_before": round(expected_calibration_error(raw, test.labels), 4),
                "calibration_error": round(run.scores["test"]["calibration_error"], 4),
                "num_bins": run.certainty["num_bins"],
                "sets": json.dumps(sets),
                "answered_when_sure": json.dumps(sure),
            },
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 1)
