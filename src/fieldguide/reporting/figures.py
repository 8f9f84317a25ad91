"""The figures beside the page: each as a PNG, and as the numbers behind it in a CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fieldguide.evaluation import metrics
from fieldguide.evaluation.calibration import coverage_curve, reliability
from fieldguide.records import Evaluation, Run
from fieldguide.reporting import plots
from fieldguide.reporting.rendering import to_png
from fieldguide.storage import csv_text, write_bytes, write_text

CURVE_COLUMNS = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
PATH_COLUMNS = ("strength", "train_accuracy", "val_accuracy", "val_log_loss", "chosen")
LEARNING_CURVE_COLUMNS = ("num_images", "accuracy", "low", "high")
PER_CLASS_COLUMNS = ("class_name", "precision", "recall", "f1", "support", "auc")
CONFUSION_COLUMNS = ("true_class", "predicted_class", "num_images", "share_of_true_class")
PREDICTION_COLUMNS = ("path", "label", "predicted", "probability", "novelty", "correct")
RELIABILITY_COLUMNS = ("low", "high", "num_images", "confidence", "accuracy", "accuracy_low", "accuracy_high")
COVERAGE_COLUMNS = ("coverage", "accuracy", "confidence")


def write_figures(directory: Path, *, run: Run, evaluation: Evaluation | None) -> None:
    """Writes the figures of a run, and of the evaluation of its test part, into a folder.

    `confusion_matrix.csv` has a row for each pair of classes that occurred; pairs that are missing are 0.

    Raises:
        FieldguideError: if the folder cannot be written.
    """
    if has_epochs(run):
        write_bytes(directory / "curves.png", to_png(plots.curves(run)))
        _write_csv(directory / "curves.csv", run.history, CURVE_COLUMNS)
    if has_path(run):
        write_bytes(directory / "regularisation_path.png", to_png(plots.regularisation_path(run)))
        _write_csv(directory / "regularisation_path.csv", run.history, PATH_COLUMNS)
    if run.learning_curve:
        write_bytes(directory / "learning_curve.png", to_png(plots.learning_curve(run)))
        _write_csv(directory / "learning_curve.csv", run.learning_curve, LEARNING_CURVE_COLUMNS)
    if evaluation is not None:
        write_bytes(directory / "confusion_matrix.png", to_png(plots.confusion_matrix(evaluation)))
        _write_csv(directory / "confusion_matrix.csv", _confusion_rows(evaluation), CONFUSION_COLUMNS)
        write_bytes(directory / "per_class.png", to_png(plots.per_class(evaluation)))
        _write_csv(directory / "per_class.csv", metrics.per_class(evaluation), PER_CLASS_COLUMNS)
        write_bytes(directory / "reliability.png", to_png(plots.reliability_diagram(evaluation)))
        rows = reliability(evaluation.probabilities, evaluation.labels)
        _write_csv(directory / "reliability.csv", ({**row, **_bounds(row)} for row in rows), RELIABILITY_COLUMNS)
        write_bytes(directory / "coverage.png", to_png(plots.coverage(evaluation)))
        share, accuracy, confidence = (values.round(6).tolist() for values in coverage_curve(evaluation))
        points = [dict(zip(COVERAGE_COLUMNS, point, strict=True)) for point in zip(share, accuracy, confidence, strict=True)]
        _write_csv(directory / "coverage.csv", points, COVERAGE_COLUMNS)
        predictions = directory / f"predictions-{evaluation.part}.csv"
        _write_csv(predictions, _prediction_rows(evaluation), PREDICTION_COLUMNS)


def has_epochs(run: Run) -> bool:
    """Whether the history has a row per epoch."""
    return bool(run.history) and "epoch" in run.history[0]


def has_path(run: Run) -> bool:
    """Whether the history has a row per strength of regularisation."""
    return bool(run.history) and "strength" in run.history[0]


def _confusion_rows(evaluation: Evaluation) -> Iterable[dict[str, Any]]:
    counts = metrics.confusion_matrix(evaluation)
    shares = plots.row_shares(counts)
    names = evaluation.class_names
    for row, column in np.argwhere(counts):
        share = round(float(shares[row, column]), 6)
        yield dict(
            true_class=names[row],
            predicted_class=names[column],
            num_images=int(counts[row, column]),
            share_of_true_class=share,
        )


def _prediction_rows(evaluation: Evaluation) -> Iterable[dict[str, Any]]:
    names = evaluation.class_names
    probabilities = evaluation.probabilities.max(axis=1).astype(float).round(6).tolist()
    known = evaluation.novelties
    novelties = [None] * len(evaluation.labels) if known is None else known.astype(float).round(4).tolist()
    columns = (evaluation.paths, evaluation.labels.tolist(), evaluation.predicted.tolist(), probabilities, novelties)
    for path, label, predicted, probability, novelty in zip(*columns, strict=True):
        yield dict(
            path=path,
            label=names[label],
            predicted=names[predicted],
            probability=probability,
            novelty=novelty,
            correct=label == predicted,
        )


def _bounds(row: Mapping[str, Any]) -> dict[str, float]:
    return dict(zip(("accuracy_low", "accuracy_high"), row["interval"], strict=True))


def _write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    write_text(path, csv_text(rows, columns))
