"""Why a picture got its answer, by a run."""

from __future__ import annotations

import os
from pathlib import Path

from fieldguide.classifier import Classifier, Picture, load
from fieldguide.errors import DatasetError
from fieldguide.explanation.explain import explain_picture
from fieldguide.explanation.resemblance import read_memory
from fieldguide.records import Explanation
from fieldguide.reporting.explanation_plots import explanation as explanation_figure
from fieldguide.reporting.rendering import to_png
from fieldguide.storage import read_json, write_bytes


def explain(
    run: str | os.PathLike[str] | Classifier,
    picture: Picture,
    *,
    class_name: str | None = None,
    num_nearest: int = 5,
    out: str | os.PathLike[str] | None = None,
    precision: str = "auto",
) -> Explanation:
    """Where the network looked in a picture, and which training pictures it resembles.

    `fieldguide.plots.explanation` draws what this returns; a notebook shows it as it stands.

    Args:
        run: a run folder, a bundle folder or a zip of one, or what `fieldguide.load` returned: for many pictures that is
            quicker. Only a run folder knows its training pictures.
        picture: a path, the bytes of a file, a `PIL.Image.Image`, or an RGB uint8 array (height, width, 3). A path that is not
            there is looked for in the folder that the run learned from, whose pictures reports name like that.
        class_name: the class to ask about: why this one? The most probable one when None.
        num_nearest: how many training pictures to name.
        out: where to write the figure, a PNG; nowhere when None.
        precision: of the engine, where `run` is a path.

    Raises:
        BundleError: if the run is missing, unfinished or damaged.
        DecodeError: if the picture cannot be read.
        DatasetError: if the figure would take the picture's place, or the picture is of another type.
        RecipeError: if there is no class of that name.

    Example:
        >>> fieldguide.explain("runs/dataset", "photo.jpg").place  # doctest: +SKIP
        'upper left'
    """
    classifier = run if isinstance(run, Classifier) else load(run, precision=precision)
    if isinstance(picture, str | os.PathLike):
        if not os.path.exists(picture):
            root = training_pictures(classifier)
            picture = root / picture if root is not None and (root / picture).is_file() else picture
        if out is not None and all(map(os.path.exists, (out, picture))) and os.path.samefile(out, picture):
            raise DatasetError(
                f"The figure would take the place of the picture {os.fspath(picture)!r}.\nhint: give another name."
            )
    # The bundle of a run lies in its folder; one that was copied elsewhere, or unpacked, has nothing beside it.
    memory = read_memory(classifier.bundle.directory.parent / "evaluation")
    explained = explain_picture(classifier, picture, class_name=class_name, memory=memory, num_nearest=num_nearest)
    if out is not None:
        write_bytes(Path(out).expanduser(), to_png(explanation_figure(explained, training_pictures(classifier))))
    return explained


def figure_name(picture: str) -> Path:
    """`NAME-explained.png` in the current folder, with a number where there is one already."""
    stem = Path(picture).stem
    target, number = Path(f"{stem}-explained.png"), 1
    while target.exists():
        number += 1
        target = Path(f"{stem}-explained-{number}.png")
    return target


def training_pictures(run: str | os.PathLike[str] | Classifier) -> Path | None:
    """The folder that the paths in `Explanation.nearest` belong to; None where it is not known, or not there any more."""
    directory = run.bundle.directory.parent if isinstance(run, Classifier) else Path(run)
    if not (directory / "index.json").is_file():
        return None
    root = Path(read_json(directory / "index.json")["root"])
    return root if root.is_dir() else None
