"""The one check that every export must pass: the file, by its own runtime, against the engine, on real pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.data import decoding
from fieldguide.errors import DatasetError, EngineError
from fieldguide.evaluation.metrics import area_under_roc
from fieldguide.exporting.elsewhere import Answers, answers_of, shuffled_tiles
from fieldguide.exporting.formats import PICTURE, Format, runtime_version
from fieldguide.exporting.graph import NONE_OF_THESE, NOVELTY, PROBABILITIES
from fieldguide.records import Prediction, Preprocessing, Record

NUM_PICTURES = 256  # compared; all where there are fewer
NUM_QUANTIZED = 2000  # a loss of half a point needs more
NUM_STRANGERS = 256


@dataclass(frozen=True)
class Bounds:
    """What an export may differ by from the engine at f32."""

    top1_agreement: float = 0.0  # at least
    probability: float = 1.0  # largest difference
    novelty: float = np.inf  # largest difference; the border lies at 1
    accuracy_loss: float = 1.0
    share_loss: float = 1.0  # of the area under the ROC curve of novelty, and of the share turned away


_NO_PICTURES = "None of the {count} pictures to compare on can be read.\nhint: give labelled pictures with `--data DIR`."
TENSOR_BOUNDS = Bounds(top1_agreement=1.0, probability=1e-3, novelty=1e-2)
PICTURE_BOUNDS = Bounds(top1_agreement=0.995, probability=0.02)
QUANTIZED_BOUNDS = Bounds(accuracy_loss=0.005, share_loss=0.01)


@dataclass(frozen=True)
class Parity(Record):
    """How an exported file answers, beside the engine at f32. Shares lie in [0, 1]."""

    num_images: int
    top1_agreement: float
    max_abs_diff: float  # of a probability
    accuracy_before: float | None  # of the engine; None where the labels are not known
    accuracy_after: float | None
    runtime: str
    is_tensorflow_loaded: bool  # in the process that ran the file
    novelty_max_abs_diff: float | None = None
    none_of_these_agreement: float | None = None
    turned_away_before: float | None = None
    turned_away_after: float | None = None
    auroc_before: float | None = None  # of novelty, the pictures against themselves with their tiles shuffled
    auroc_after: float | None = None


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures to compare on, and their labels as positions in the class names; None where they are not known."""

    paths: Sequence[Path]
    labels: NDArray[np.int64] | None


def check(classifier: Classifier, pictures: Pictures, directory: Path, chosen: Format) -> dict[str, Parity]:
    """Compares the files of a format in a folder with the engine; what was found by contract.

    Args:
        classifier: at precision f32.
        pictures: to compare on.
        directory: what the format's `write` wrote.
        chosen: the format.

    Raises:
        DatasetError: if no picture can be read.
        EngineError: if the files cannot be run, or differ by more than the bounds allow.
    """
    predictions = list(classifier.predict_many(list(pictures.paths)))
    readable = [i for i, prediction in enumerate(predictions) if prediction.error is None]
    if not readable:
        raise DatasetError(_NO_PICTURES.format(count=len(predictions)))
    paths = [pictures.paths[i] for i in readable]
    labels = None if pictures.labels is None else pictures.labels[readable]
    engine = _as_outputs(classifier, [predictions[i] for i in readable])
    settings: dict[str, Any] = {
        "preprocessing": classifier.bundle.preprocessing,
        "most_at_once": chosen.most_at_once,
        "contracts": chosen.contracts,
    }
    found = answers_of(directory, chosen.module, paths, **settings)
    strangers: dict[str, Answers] = {}
    by_engine: dict[str, NDArray[Any]] = {}
    if chosen.is_quantized and NOVELTY in engine:
        few = paths[:: max(1, len(paths) // NUM_STRANGERS)]
        strangers = answers_of(directory, chosen.module, few, **settings, shuffled=True)
        shuffled = _shuffled(few, classifier.bundle.preprocessing)
        by_engine = _as_outputs(classifier, list(classifier.predict_many(shuffled)))
    result = {}
    for contract, answers in found.items():
        facts = _compared(engine, answers.outputs, labels)
        if contract in strangers:
            facts["auroc_before"] = _auroc(engine[NOVELTY], by_engine[NOVELTY])
            facts["auroc_after"] = _auroc(answers.outputs[NOVELTY], strangers[contract].outputs[NOVELTY])
        result[contract] = Parity(
            num_images=len(paths),
            runtime=runtime_version(chosen.load_module()),
            is_tensorflow_loaded=answers.is_tensorflow_loaded,
            **facts,
        )
        _hold(result[contract], _bounds(chosen, contract), f"The exported file ({chosen.module}, {contract} contract)")
    return result


def spread(pictures: Pictures, count: int) -> Pictures:
    """At most so many of the pictures, evenly from the first to the last: of all classes, where they are sorted by class."""
    chosen = np.unique(np.linspace(0, len(pictures.paths) - 1, min(count, len(pictures.paths))).round().astype(int))
    labels = None if pictures.labels is None else pictures.labels[chosen]
    return Pictures([pictures.paths[i] for i in chosen], labels)


def _as_outputs(classifier: Classifier, predictions: Sequence[Prediction]) -> dict[str, NDArray[Any]]:
    names = classifier.class_names
    found: dict[str, NDArray[Any]] = {PROBABILITIES: np.array([[p.probabilities[name] for name in names] for p in predictions])}
    if classifier.certainty.novelty is not None:
        found[NOVELTY] = np.array([prediction.novelty for prediction in predictions])
        found[NONE_OF_THESE] = np.array([prediction.none_of_these for prediction in predictions])
    return found


def _compared(
    engine: Mapping[str, NDArray[Any]], file: Mapping[str, NDArray[Any]], labels: NDArray[np.int64] | None
) -> dict[str, Any]:
    before, after = engine[PROBABILITIES].argmax(axis=1), file[PROBABILITIES].argmax(axis=1)
    facts: dict[str, Any] = {
        "top1_agreement": float((before == after).mean()),
        "max_abs_diff": _largest(file[PROBABILITIES], engine[PROBABILITIES]),
        "accuracy_before": None if labels is None else float((before == labels).mean()),
        "accuracy_after": None if labels is None else float((after == labels).mean()),
    }
    if NOVELTY in engine:
        facts["novelty_max_abs_diff"] = _largest(file[NOVELTY], engine[NOVELTY])
        facts["none_of_these_agreement"] = float((file[NONE_OF_THESE] == engine[NONE_OF_THESE]).mean())
        facts["turned_away_before"] = float(engine[NONE_OF_THESE].mean())
        facts["turned_away_after"] = float(file[NONE_OF_THESE].mean())
    return facts


def _shuffled(paths: Sequence[Path], preprocessing: Preprocessing) -> Iterator[NDArray[np.uint8]]:
    size, white = preprocessing.image_size, preprocessing.sixteen_bit_max
    for number, path in enumerate(paths):
        yield shuffled_tiles(decoding.load(decoding.read_file(path), size, sixteen_bit_max=white), number)


def _auroc(own: NDArray[Any], strangers: NDArray[Any]) -> float | None:
    is_stranger = np.repeat([False, True], [len(own), len(strangers)])
    return area_under_roc(is_stranger, np.concatenate([own, strangers]).astype(np.float32))


def _largest(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.abs(a.astype(np.float64) - b).max())


def _bounds(chosen: Format, contract: str) -> Bounds:
    if chosen.is_quantized:
        return QUANTIZED_BOUNDS
    return PICTURE_BOUNDS if contract == PICTURE else TENSOR_BOUNDS


def _hold(parity: Parity, bounds: Bounds, what: str) -> None:
    """Raises an error that names every bound that does not hold; a value that is not finite holds none."""

    def loss(before: float | None, after: float | None) -> float:
        return 0.0 if before is None or after is None else before - after

    one = 1 / parity.num_images  # where pictures are few, one of them is more than the bound
    checks = [
        ("top classes agree for a share of", -parity.top1_agreement, -bounds.top1_agreement),
        ("a probability differs by", parity.max_abs_diff, bounds.probability),
        ("novelty differs by", parity.novelty_max_abs_diff or 0.0, bounds.novelty),
        ("accuracy falls by", loss(parity.accuracy_before, parity.accuracy_after), max(bounds.accuracy_loss, one)),
        ("the area under the ROC curve of novelty falls by", loss(parity.auroc_before, parity.auroc_after), bounds.share_loss),
        (
            "the share of own pictures turned away rises by",
            loss(parity.turned_away_after, parity.turned_away_before),
            max(bounds.share_loss, one),
        ),
    ]
    broken = [
        f"{name} {abs(value):.4g} ({abs(bound):.4g} is allowed)" for name, value, bound in checks if not value <= bound + 1e-9
    ]
    if broken:
        raise EngineError(
            f"{what} answers otherwise than the engine on {parity.num_images} pictures: {'; '.join(broken)}. "
            "Nothing was kept.\nhint: another format may do; `fieldguide verify` says whether the bundle itself is whole."
        )
