"""How fast every export is on this machine, and what it costs: one row a format."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fieldguide.classifier import Classifier
from fieldguide.errors import FieldguideError
from fieldguide.exporting.elsewhere import Answers, answers_of
from fieldguide.exporting.export import write_export
from fieldguide.exporting.formats import FORMATS, TENSOR, format_named
from fieldguide.exporting.parity import Parity, Pictures
from fieldguide.records import Record

BATCHES = (1, 32)
ENGINE = "fieldguide"  # the row of the bundle itself, as `predict` runs it


@dataclass(frozen=True)
class ExportTiming(Record):
    """What one format costs here. Times are of a batch, in a process of its own, resized pictures in, answers out."""

    format: str
    size_bytes: int | None = None  # what one contract needs
    cold_start_seconds: float | None = None  # from starting Python to the first answer
    batch_1_p50_seconds: float | None = None
    batch_1_p99_seconds: float | None = None
    batch_32_p50_seconds: float | None = None  # 32 one after the other, where the format takes one at a time
    batch_32_p99_seconds: float | None = None
    parity: Parity | None = None
    picture_parity: Parity | None = None
    error: str | None = None  # why there are no figures

    @classmethod
    def of(cls, answers: Answers, **fields: Any) -> Self:
        """A row from what the fresh process measured."""
        for size in BATCHES:
            for name in ("p50", "p99"):
                fields[f"batch_{size}_{name}_seconds"] = answers.seconds[str(size)][name]
        return cls(cold_start_seconds=answers.seconds["cold_start"], **fields)


def time_exports(
    classifier: Classifier,
    *,
    formats: Sequence[str] = (),
    pictures: Pictures,
    calibration: Sequence[Path] = (),
    say: Callable[[str], None] = lambda line: None,
) -> tuple[ExportTiming, ...]:
    """Exports every format into a folder that is deleted again, proves it and times it; the bundle itself comes first.

    Args:
        classifier: at precision f32.
        formats: names; all that have a file of their own where empty.
        pictures: to compare on, and to time with.
        calibration: training pictures, for formats that are calibrated.
        say: called with a line before each format.

    Raises:
        RecipeError: if there is no such format.
        DatasetError: if no picture can be read.
    """
    chosen = {name: format_named(name) for name in formats or [name for name, entry in FORMATS.items() if entry.is_timed]}
    bundle = classifier.bundle
    few = pictures.paths[:: max(1, len(pictures.paths) // 8)]
    say(f"timing {ENGINE}")
    found = answers_of(bundle.directory, "the_engine", few, preprocessing=bundle.preprocessing, timed=BATCHES)
    size = sum((bundle.directory / name).stat().st_size for name in ("network.xml", "network.bin", "head.safetensors"))
    rows = [ExportTiming.of(found[TENSOR], format=ENGINE, size_bytes=size)]
    for name, entry in chosen.items():
        say(f"exporting and timing {name}")
        with tempfile.TemporaryDirectory(prefix="fieldguide-bench-") as folder:
            directory = Path(folder, name)
            try:
                export = write_export(classifier, directory, name, pictures=pictures, calibration=calibration)
                settings: dict[str, Any] = {"preprocessing": bundle.preprocessing, "most_at_once": entry.most_at_once}
                answers = answers_of(directory, entry.module, few, **settings, timed=BATCHES)[TENSOR]
            except FieldguideError as error:  # of one format: the others still have their figures
                rows.append(ExportTiming(name, error=str(error)))
                continue
            fields: dict[str, Any] = {"parity": export.parity, "picture_parity": export.picture_parity}
            rows.append(ExportTiming.of(answers, format=name, size_bytes=_size(directory, entry.load_module().FILES), **fields))
    return tuple(rows)


def _size(directory: Path, files: dict[str, str]) -> int:
    """Bytes that the tensor contract needs: a file, with what lies beside it under its name; or a folder."""
    path = directory / files[TENSOR]
    inside = path.rglob("*") if path.is_dir() else directory.glob(f"{path.stem}.*")
    return sum(file.stat().st_size for file in inside if file.is_file())
