"""A finished run as files for other programs: `export`; what each costs: `bench_export`; the model card: `card`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fieldguide.bundle import read_bundle
from fieldguide.classifier import Classifier, load
from fieldguide.data.index import labelled_pictures
from fieldguide.errors import DatasetError
from fieldguide.evaluation.evaluate import read_evaluation
from fieldguide.exporting.export import Export, refuse_occupied, write_export
from fieldguide.exporting.formats import format_named
from fieldguide.exporting.parity import Pictures
from fieldguide.exporting.timing import ExportTiming, time_exports
from fieldguide.records import PARTS, Audit, Run, Split
from fieldguide.reporting.model_card import model_card
from fieldguide.storage import read_json, read_record, write_text

CARD_FILE = "MODEL_CARD.md"


def export(
    run: str | os.PathLike[str],
    format: str,
    *,
    out: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    reject: float | None = None,
) -> Export:
    """Writes a trained classifier as a file that other programs run, once it has answered real pictures as the engine does.

    The file is loaded in a fresh process by its own runtime and compared with the engine at f32 on 256 test pictures of the
    run (on 2,000 where it computes in 8 bits; on all where there are fewer). Beyond a bound nothing is kept.

    Args:
        run: a run folder; with `data` also a bundle folder or a zip.
        format: a name from `fieldguide.exporting.formats.FORMATS`.
        out: the folder for the files; `exports/FORMAT` in the run folder when None. An older export there is replaced.
        data: labelled pictures to compare on instead, as in `evaluate`.
        reject: share of pictures like the training pictures that the file answers "none of these"; as trained when None.

    Raises:
        RecipeError: if there is no such format, or the share is out of range.
        DatasetError: if `out` holds something else, or there are no pictures to compare on.
        MissingExtraError: if an optional part is not installed; the message says how to install it.
        BundleError: if the run is not finished, or its network cannot be written in this format.
        EngineError: if the file answers otherwise than the engine.

    Example:
        >>> fieldguide.export("runs/dataset", "onnx").parity.max_abs_diff  # doctest: +SKIP
        9e-07
    """
    chosen = format_named(format)
    if out is None:
        if not (Path(run) / "run.json").is_file():
            raise DatasetError(f"{os.fspath(run)!r} is no run folder.\nhint: say with `--out DIR` where the export should go.")
        out = Path(run) / "exports" / format
    refuse_occupied(Path(out))
    classifier = load(run, precision="f32", reject=reject)
    pictures = pictures_of(run, classifier, data)
    calibration = training_pictures(Path(run)) if chosen.is_quantized else ()
    texts = {CARD_FILE: card(run)} if (Path(run) / "run.json").is_file() else {}
    return write_export(classifier, Path(out), format, pictures=pictures, calibration=calibration, texts=texts)


def bench_export(
    run: str | os.PathLike[str],
    *,
    formats: Sequence[str] = (),
    data: str | os.PathLike[str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[ExportTiming, ...]:
    """Exports every format, proves it, and times it on this machine; the bundle itself, as `predict` runs it, comes first.

    Nothing is kept. A format that cannot be written here, for want of an optional part for instance, has a row that says why.

    Args:
        run: a run folder; with `data` also a bundle folder or a zip, but for formats that are calibrated.
        formats: names; all when empty.
        data: labelled pictures to compare on instead, as in `evaluate`.
        say: called with a line before each format.

    Raises:
        RecipeError: if there is no such format.
        DatasetError: if there are no pictures to compare on.
        BundleError: if the run is not finished.
    """
    classifier = load(run, precision="f32")
    pictures = pictures_of(run, classifier, data)
    calibration = training_pictures(Path(run)) if (Path(run) / "split.json").is_file() else ()
    return time_exports(classifier, formats=formats, pictures=pictures, calibration=calibration, say=say)


def card(run: str | os.PathLike[str], *, out: str | os.PathLike[str] | None = None) -> str:
    """The model card of a finished run, in Markdown; what only its maker can say is marked as to be filled in.

    Args:
        run: a run folder.
        out: a file to write it to as well. One that is there is not overwritten.

    Raises:
        BundleError: if the run is not finished.
        DatasetError: if the file is there already.
    """
    directory = Path(run)
    if out is not None and Path(out).exists():
        raise DatasetError(f"{os.fspath(out)!r} is there already.\nhint: give another name with `--out`.")
    bundle = read_bundle(directory)
    finished = read_record(Run, directory / "run.json", directory=str(directory))
    written = model_card(
        name=directory.resolve().name,
        run=finished,
        audit=read_record(Audit, directory / "audit.json"),
        evaluations={part: read_evaluation(directory / "evaluation", part) for part in PARTS},
        image_size=bundle.preprocessing.image_size,
        model_hash=bundle.model_hash,
    )
    if out is not None:
        write_text(Path(out), written)
    return written


def pictures_of(run: str | os.PathLike[str], classifier: Classifier, data: str | os.PathLike[str] | None) -> Pictures:
    """The test pictures of a run (of its validation part if it has no test part), or the labelled pictures in `data`.

    Raises:
        DatasetError: if there are none, or they are not where they were.
    """
    if data is not None:
        index = labelled_pictures(data, classifier.class_names)
        labels = np.array([image.label for image in index.images], dtype=np.int64)
        return Pictures([Path(index.root, image.path) for image in index.images], labels)
    directory = Path(run)
    for part in ("test", "val", "train"):
        evaluation = read_evaluation(directory / "evaluation", part)
        if evaluation is not None:
            root = Path(read_json(directory / "index.json")["root"])
            paths = [root / path for path in evaluation.paths]
            if not any(path.is_file() for path in paths):
                raise DatasetError(
                    f"The pictures of the run are not in {root}.\nhint: say where they are now with `--data DIR`."
                )
            return Pictures(paths, evaluation.labels)
    raise DatasetError(
        f"{os.fspath(run)!r} holds no evaluation.\nhint: give labelled pictures to compare on with `--data DIR`."
    )


def training_pictures(run: Path) -> list[Path]:
    """The pictures that a run learned from.

    Raises:
        BundleError: if it is no run folder.
    """
    split = read_record(Split, run / "split.json")
    root = Path(read_json(run / "index.json")["root"])
    return [root / split.images[i].path for i in split.train]
