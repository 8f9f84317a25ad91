"""What one does with a finished run: score it, ask it, write its report again."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from fieldguide.bundle import read_tensors
from fieldguide.classifier import find_pictures, load
from fieldguide.data.index import labelled_pictures
from fieldguide.errors import BundleError
from fieldguide.evaluation.evaluate import evaluate_pictures, read_evaluation
from fieldguide.records import PARTS, Audit, Evaluation, Prediction, Run
from fieldguide.reporting.page_pictures import read_page
from fieldguide.reporting.report import write_report
from fieldguide.storage import read_json, read_record


def evaluate(run: str | os.PathLike[str], *, data: str | os.PathLike[str] | None = None, precision: str = "auto") -> Evaluation:
    """The scores of a run on its test part (its validation part if it has no test part), or on other labelled pictures.

    Args:
        run: a run folder; with `data` also a bundle folder or a zip.
        data: a folder of class folders, a folder with a test part, or a CSV file; classes are matched by name.
        precision: of the engine, with `data`.

    Raises:
        BundleError: if the run is not finished.
        DatasetError: if `data` has a class the classifier does not know, or no picture that can be read. Single files that
            cannot be read are `skipped` in the evaluation.
    """
    if data is not None:
        classifier = load(run, precision=precision)
        index = labelled_pictures(data, classifier.class_names)
        labels = np.array([image.label for image in index.images], dtype=np.int64)
        paths = [image.path for image in index.images]
        evaluation = evaluate_pictures(classifier, Path(index.root), paths, labels, part="test")
        return dataclasses.replace(evaluation, skipped=(*index.skipped, *evaluation.skipped))
    for part in ("test", "val"):
        evaluation_of_part = read_evaluation(Path(run).expanduser() / "evaluation", part)
        if evaluation_of_part is not None:
            return evaluation_of_part
    raise BundleError(f"{os.fspath(run)!r} holds no evaluation.\nhint: give a finished run, or pictures with `--data`.")


def predict(
    run: str | os.PathLike[str],
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    precision: str = "auto",
    reject: float | None = None,
    set_coverage: float | None = None,
) -> Iterator[Prediction]:
    """Classifies files, folders and glob patterns with a run, a bundle or a zip of one; answers come in order.

    A file that cannot be read gives a prediction whose `error` says why. Other arguments as in `Classifier`.

    Raises:
        BundleError: if the run is missing, unfinished or damaged.
        RecipeError: if a share is out of range.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    classifier = load(run, precision=precision, reject=reject, set_coverage=set_coverage)
    return classifier.predict_many(list(find_pictures(given)))


def report(run: str | os.PathLike[str]) -> Path:
    """Writes the report of a finished run again from its records; returns the path of `report.html`.

    Raises:
        BundleError: if the run is not finished.
    """
    directory = Path(run).expanduser()
    finished = read_record(Run, directory / "run.json", directory=str(directory))
    pictures_path = directory / "evaluation" / "thumbnails.safetensors"
    pictures = read_tensors(pictures_path) if pictures_path.is_file() else {}
    return write_report(
        directory,
        run=finished,
        audit=read_record(Audit, directory / "audit.json"),
        evaluations={part: read_evaluation(directory / "evaluation", part) for part in PARTS},
        thumbnails={path: jpeg.tobytes() for path, jpeg in pictures.items()},
        suspects=read_json(directory / "evaluation" / "suspects.json")["suspects"],
        page=lambda: read_page(directory / "evaluation"),
    )


def verify(run: str | os.PathLike[str]) -> float:
    """Checks every file of a bundle by its hash and lets the network answer its own probe.

    Args:
        run: a run folder, a bundle folder or a zip of one.

    Returns:
        The largest difference of a probability from those that were written beside the probe.

    Raises:
        BundleError: if a file is missing or damaged, or the difference is above 1e-3 at the bundle's own precision.
    """
    return load(run).verify()
