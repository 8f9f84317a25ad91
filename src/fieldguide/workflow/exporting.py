"""A finished run as files for other programs: `export`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from fieldguide.classifier import Classifier, load
from fieldguide.data.index import labelled_pictures
from fieldguide.errors import DatasetError
from fieldguide.evaluation.evaluate import read_evaluation
from fieldguide.exporting.export import Export, refuse_occupied, write_export
from fieldguide.exporting.formats import format_named
from fieldguide.exporting.parity import Pictures
from fieldguide.records import Split
from fieldguide.storage import read_json


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
    return write_export(classifier, Path(out), format, pictures=pictures, calibration=calibration)


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
    split = Split.from_json(read_json(run / "split.json"))
    root = Path(read_json(run / "index.json")["root"])
    return [root / split.images[i].path for i in split.train]
