"""The bundle's answers on a part of the data: from cached embeddings, checked from file, kept on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bundle import MAX_DIFFERENCE, Bundle, read_tensors, write_tensors
from fieldguide.classifier import Classifier
from fieldguide.data.decoding import read_file
from fieldguide.errors import BundleError, DatasetError, DecodeError, EngineError
from fieldguide.records import Evaluation, Skipped
from fieldguide.storage import damaged_as_bundle_error, read_json, sha256, sha256_file, write_json

NUM_CHECKED = 64
_MAX_NOVELTY_DIFFERENCE = 1e-2  # the border lies at 1


def evaluate_embeddings(
    bundle: Bundle,
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    paths: Sequence[str],
    *,
    part: str,
    method: str,
    leaked: Sequence[int] = (),
    times_scored: int | None = None,
    digests: Sequence[str] = (),
) -> Evaluation | None:
    """The bundle's own head, temperature and novelty on embeddings of its own network; None where there is no picture."""
    if not len(labels):
        return None
    novelty = bundle.certainty.novelty
    return Evaluation(
        part=part,
        class_names=bundle.class_names,
        labels=labels,
        probabilities=bundle.probabilities(embeddings),
        paths=tuple(paths),
        method=method,
        leaked=tuple(leaked),
        novelties=novelty.scores(embeddings) if novelty else None,
        reject=novelty.reject if novelty else 0.0,
        times_scored=times_scored,
        digests=tuple(digests),
    )


def evaluate_pictures(
    classifier: Classifier, root: Path, paths: Sequence[str], labels: NDArray[np.int64], *, part: str
) -> Evaluation:
    """Sends pictures from file through the whole bundle; those that cannot be read are `skipped`.

    Raises:
        DatasetError: if none can be read.
    """
    predictions = list(classifier.predict_many([root / path for path in paths]))
    usable = [i for i, prediction in enumerate(predictions) if prediction.error is None]
    skipped = [
        Skipped(paths[i], "unreadable", prediction.error)
        for i, prediction in enumerate(predictions)
        if prediction.error is not None
    ]
    if not usable:
        raise DatasetError(f"None of the {len(paths)} files in {root} can be read as a picture.")
    rows = [[predictions[i].probabilities[name] for name in classifier.class_names] for i in usable]
    novelty = classifier.certainty.novelty
    return Evaluation(
        part=part,
        class_names=classifier.class_names,
        labels=labels[usable],
        probabilities=np.array(rows, np.float32),
        paths=tuple(paths[i] for i in usable),
        novelties=np.array([predictions[i].novelty for i in usable], np.float32) if novelty else None,
        reject=novelty.reject if novelty else 0.0,
        skipped=tuple(skipped),
    )


@dataclass(frozen=True)
class FromFile:
    """What came of asking a bundle again, from file."""

    largest_difference: float  # of a probability
    changed: tuple[str, ...]  # pictures that are no longer what was scored, and were not compared


def check_from_file(classifier: Classifier, root: Path, evaluation: Evaluation) -> FromFile:
    """Sends up to 64 pictures from file through the whole bundle and compares its answers.

    Raises:
        EngineError: if a probability differs by more than 1e-3: then what was scored is not what ships.
    """
    count = len(evaluation.paths)
    chosen = np.unique(np.linspace(0, count - 1, min(NUM_CHECKED, count)).round().astype(int)).tolist()
    same: list[int] = []

    def contents() -> Iterator[bytes]:
        for i in chosen:
            content = unchanged(root / evaluation.paths[i], evaluation.digests[i])
            if content is not None:
                same.append(i)
                yield content

    largest = 0.0
    for position, prediction in enumerate(classifier.predict_many(contents())):
        i = same[position]
        answer = [prediction.probabilities.get(name, np.nan) for name in classifier.class_names]
        difference = float(np.abs(np.array(answer) - evaluation.probabilities[i]).max())
        stranger = 0.0
        if evaluation.novelties is not None:
            stranger = abs((np.nan if prediction.novelty is None else prediction.novelty) - float(evaluation.novelties[i]))
        if not (difference <= MAX_DIFFERENCE and stranger <= _MAX_NOVELTY_DIFFERENCE):  # true for NaN as well
            raise EngineError(
                f"{evaluation.paths[i]!r} gets another answer from file than in the evaluation "
                f"(probability off by {difference:.4f}, at most {MAX_DIFFERENCE} is allowed; novelty by {stranger:.4f}"
                + (f"; {prediction.error}" if prediction.error else "")
                + ").\nhint: train again; if it happens again, delete the cache."
            )
        largest = max(largest, difference)
    return FromFile(largest, tuple(evaluation.paths[i] for i in chosen if i not in same))


def unchanged(path: Path, digest: str) -> bytes | None:
    """A picture's content, if its SHA-256 in hexadecimal begins with `digest`; None if it has changed or vanished."""
    try:
        content = read_file(path)
    except DecodeError:
        return None
    return content if sha256(content).startswith(digest) else None


def write_evaluation(directory: Path, evaluation: Evaluation, summary: Mapping[str, Any]) -> None:
    """Writes `PART.json` (paths, labels, figures) and `PART.safetensors` (probabilities, novelties)."""
    values = evaluation.to_json()
    for name in ("probabilities", "novelties"):
        del values[name]
    arrays = {"probabilities": evaluation.probabilities}
    if evaluation.novelties is not None:
        arrays["novelties"] = evaluation.novelties
    tensors = directory / f"{evaluation.part}.safetensors"
    write_tensors(tensors, arrays)
    write_json(
        directory / f"{evaluation.part}.json", {**values, "summary": dict(summary), "tensors_sha256": sha256_file(tensors)}
    )


def read_evaluation(directory: Path, part: str) -> Evaluation | None:
    """What `write_evaluation` wrote; None if that part was not evaluated.

    Raises:
        BundleError: if one of its files is missing or damaged.
    """
    path, tensors = directory / f"{part}.json", directory / f"{part}.safetensors"
    if not path.is_file() and not tensors.is_file():
        return None
    values = read_json(path)
    arrays = read_tensors(tensors)
    if values.get("tensors_sha256") not in (None, sha256_file(tensors)):  # None: of an older version
        raise BundleError(f"{tensors} is damaged: its SHA-256 differs.\nhint: train again.")
    with damaged_as_bundle_error(path):
        return Evaluation(
            part=part,
            class_names=tuple(values["class_names"]),
            labels=np.array(values["labels"], dtype=np.int64),
            probabilities=arrays["probabilities"],
            paths=tuple(values["paths"]),
            method=values["method"],
            leaked=tuple(values["leaked"]),
            novelties=arrays.get("novelties"),
            reject=values.get("reject", 0.0),
            times_scored=values["times_scored"],
            digests=tuple(values.get("digests", ())),
        )
