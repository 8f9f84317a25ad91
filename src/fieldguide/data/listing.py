"""Pictures listed in a CSV file, and what an index knows of a file before labels become numbers."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from fieldguide.errors import DatasetError

PART_NAMES = {
    "train": ("training_set", "train", "training", "trainset", "train_set"),
    "val": ("val", "valid", "validation", "validation_set", "val_set", "valid_set", "dev"),
    "test": ("test_set", "test", "testing", "testset"),
}
PART_OF = {name: part for part, names in PART_NAMES.items() for name in names}


@dataclass(frozen=True)
class ListedFile:
    """A picture, with the class and the part that a folder or a CSV file gives it."""

    path: str  # posix, relative to the root
    class_name: str
    part: str | None  # train, val or test
    group: str | None = None


def read_csv(path: Path, *, to_learn: bool = True) -> list[ListedFile]:
    """The rows of a CSV file with the columns `path,label[,split][,group]`, paths relative to the file.

    `to_learn` asks for a row of the training part, where there are parts.

    Raises:
        DatasetError: if a row is wrong; it is named by its number, as a spreadsheet counts.
    """
    root = path.resolve().parent
    try:
        text = path.read_text(encoding="utf-8-sig")
        delimiter = delimiter_of(text)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows, header = list(reader), reader.fieldnames or []
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8: {error}.\nhint: save it as CSV in UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise DatasetError(f"{path} cannot be read as CSV: {error}.\nhint: save it as UTF-8, comma separated.") from error
    columns = [name.strip().lower() for name in header]
    if not {"path", "label"} <= set(columns):
        raise DatasetError(
            f"{path} must have a first line with the columns path,label and may have split and group; "
            f"received {', '.join(columns) or 'an empty file'}.\nhint: add the line `path,label` at the top."
        )
    files = []
    for number, row in enumerate(rows, start=2):  # row 1 is the header, as a spreadsheet counts
        if any(cell.strip() for cell in row.pop(None, ())):  # None is what DictReader calls cells beyond the header
            raise DatasetError(
                f"Row {number} of {path} has more cells than the first line names.\n"
                f"hint: put a text that holds {delimiter!r} in double quotes."
            )
        values = {name.strip().lower(): (value or "").strip() for name, value in row.items()}
        if not any(values.values()):
            continue
        if not values["path"] or not values["label"]:
            raise DatasetError(f"Row {number} of {path} lacks a path or a label.\nhint: fill it in, or delete the row.")
        absolute = _find(values["path"], root)
        if absolute is None:
            raise DatasetError(
                f"Row {number} of {path}: there is no file {values['path']!r}.\n"
                f"hint: paths are relative to {root}; correct the path or delete the row."
            )
        part = values.get("split", "").lower() or None
        if part is not None and part not in PART_OF:
            raise DatasetError(
                f"Row {number} of {path}: split must be train, val or test; received {values['split']!r}.\n"
                "hint: correct it, or leave the column out and the pictures are divided for you."
            )
        relative = Path(os.path.relpath(absolute, root)).as_posix()
        files.append(ListedFile(relative, values["label"], PART_OF[part] if part else None, values.get("group") or None))
    _refuse_bad_csv(files, path, to_learn)
    return files


def delimiter_of(text: str) -> str:
    """What stands between the cells of a CSV file; a semicolon is what Excel writes where the comma is decimal."""
    return max(",;\t", key=text.split("\n", 1)[0].count)


def _find(text: str, root: Path) -> Path | None:
    """The file that a cell names, written with slashes or, on whatever system, with backslashes."""
    for spelling in (text, text.replace("\\", "/")):
        if (root / spelling).is_file():
            return root / spelling
    return None


def _refuse_bad_csv(files: list[ListedFile], path: Path, to_learn: bool) -> None:
    if not files:
        raise DatasetError(f"{path} has no row below its first line.\nhint: write a row for each picture.")
    twice = [name for name, count in Counter(f.path for f in files).items() if count > 1]
    if twice:
        raise DatasetError(f"{path} names {twice[0]!r} twice.\nhint: keep one row per picture.")
    without = sum(f.part is None for f in files)
    if 0 < without < len(files):
        raise DatasetError(
            f"{path}: {without} of {len(files)} rows have no split.\nhint: fill the column in for all rows, or leave it out."
        )
    if to_learn and not without and not any(f.part == "train" for f in files):
        raise DatasetError(f"{path} has no row with split `train`.\nhint: mark the pictures to learn from.")
    groups: dict[str, set[str | None]] = defaultdict(set)
    for file in files:
        if file.group is not None:
            groups[file.group].add(file.part)
    for group, parts in groups.items():
        if len(parts) > 1:
            raise DatasetError(
                f"{path}: group {group!r} has pictures in {' and '.join(sorted(str(p) for p in parts))}.\n"
                "hint: put all pictures of a group in one split, or leave the column split out."
            )
