"""Writes a format, proves it, and only then lets it appear: the folder is there complete and checked, or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fieldguide.classifier import Classifier
from fieldguide.errors import BundleError, DatasetError
from fieldguide.exporting.formats import PICTURE, TENSOR, format_named
from fieldguide.exporting.metadata import metadata_of
from fieldguide.exporting.parity import NUM_PICTURES, NUM_QUANTIZED, Parity, Pictures, check, spread
from fieldguide.models.registry import OWN
from fieldguide.records import Record
from fieldguide.storage import atomic_directory, read_json, write_json, write_text

EXPORT_FILE = "export.json"


@dataclass(frozen=True)
class Export(Record):
    """An exported classifier: where it lies, and how it answered beside the engine."""

    format: str
    directory: str
    files: tuple[str, ...]  # relative to the folder, without export.json
    size_bytes: int  # of the largest file or model folder that one contract needs
    parity: Parity  # of the tensor contract
    picture_parity: Parity | None = None  # of the picture contract, where the format has it
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The export those values describe."""
        parities = {
            name: None if values.get(name) is None else Parity.from_json(values[name]) for name in ("parity", "picture_parity")
        }
        return super().from_json({**values, **parities})


def write_export(
    classifier: Classifier,
    directory: Path,
    format_name: str,
    *,
    pictures: Pictures,
    calibration: Sequence[Path] = (),
    texts: Mapping[str, str] | None = None,
) -> Export:
    """Writes the files of a format into a new folder, after they have answered as the engine does.

    Args:
        classifier: at precision f32.
        directory: of the export. One that holds an older export and nothing else is replaced.
        format_name: a name from `FORMATS`.
        pictures: to compare on; at most 256 are, for 8-bit formats 2,000.
        calibration: training pictures, for formats that are calibrated.
        texts: further files by name, such as the model card.

    Raises:
        RecipeError: if there is no such format.
        DatasetError: if the folder holds something else, or no picture can be read.
        MissingExtraError: if an optional part is not installed.
        BundleError: if the classifier's network cannot be written in this format.
        EngineError: if the files answer otherwise than the bounds allow; then nothing is left behind.
    """
    chosen = format_named(format_name)
    if chosen.builds_anew and classifier.bundle.network.architecture == OWN:
        raise BundleError(
            f"The format {format_name} builds the network anew, and a bundle holds no code to build a user's own from.\n"
            "hint: `--format openvino`, or convert what `fieldguide.load(RUN).to_keras(build)` gives."
        )
    refuse_occupied(directory)
    compared = spread(pictures, NUM_QUANTIZED if chosen.is_quantized else NUM_PICTURES)
    metadata = metadata_of(classifier)
    with _leaving_nothing(directory.parent), atomic_directory(directory) as temporary:
        chosen.load_module().write(classifier, temporary, metadata, calibration)
        size = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
        parities = check(classifier, compared, temporary, chosen)
        for name, text in (texts or {}).items():
            write_text(temporary / name, text)
        files = sorted(path.relative_to(temporary).as_posix() for path in temporary.rglob("*") if path.is_file())
        export = Export(
            format=format_name,
            directory=str(directory),
            files=tuple(files),
            size_bytes=size,
            parity=parities[TENSOR],
            picture_parity=parities.get(PICTURE),
            metadata=metadata,
        )
        values = export.to_json()
        del values["directory"]  # it may be moved
        write_json(temporary / EXPORT_FILE, values)
    return export


@contextlib.contextmanager
def _leaving_nothing(parent: Path) -> Iterator[None]:
    """Takes a folder that the block made away again, where the block fails."""
    was_there = parent.exists()
    try:
        yield
    except BaseException:
        if not was_there:
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def read_export(directory: Path) -> Export:
    """What `write_export` wrote of itself.

    Raises:
        BundleError: if the folder holds no export.
    """
    values = read_json(directory / EXPORT_FILE)
    try:
        return Export.from_json({**values, "directory": str(directory)})
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{directory / EXPORT_FILE} is damaged: {error}.\nhint: export again.") from error


def refuse_occupied(directory: Path) -> None:
    """Refuses a folder whose content would be lost.

    Raises:
        DatasetError: if it exists and holds anything but an export.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return
    if directory.is_dir() and (directory / EXPORT_FILE).is_file():
        known = {EXPORT_FILE, *read_export(directory).files}
        if all(path.relative_to(directory).as_posix() in known for path in directory.rglob("*") if not path.is_dir()):
            return
    raise DatasetError(
        f"{str(directory)!r} exists and holds something else than an export.\nhint: give another folder with `--out`."
    )
