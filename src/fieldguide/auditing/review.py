"""The review: a CSV file of pictures to keep, exclude or relabel, proposed by the audit, edited and given back by the user.

Nothing is moved or deleted by it: it only says what a training leaves out and which labels it reads differently.
"""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldguide.errors import DatasetError
from fieldguide.records import Audit, ImageIndex, Skipped

COLUMNS = ("path", "action", "label")
ACTIONS = ("keep", "exclude", "relabel")

_RELABEL_FROM = 0.5  # probability that the label is wrong, from which relabelling is proposed
_LISTED = ("copy_conflict", "leak", "stranger", "outlier", "dark", "bright", "blurred", "low_information", "tiny", "aspect")


@dataclass(frozen=True)
class Review:
    """What the user decided.

    Attributes:
        excluded: paths to leave out.
        labels: path -> class name to read instead of the folder's.
    """

    excluded: frozenset[str]
    labels: Mapping[str, str]


def review_rows(audit: Audit) -> list[dict[str, str]]:
    """A row of `path`, `action`, `label` for every picture worth a decision, labels to look at first coming first.

    Proposed are `relabel` where the label is more probably wrong than right, `exclude` for a training picture whose copy is in
    the test part, and `keep` for all others. With `keep` a label only reminds of what was suggested.
    """
    rows: dict[str, dict[str, str]] = {}
    for finding in audit.findings:
        if finding.kind == "label_error" and finding.suggested is not None:
            action = "relabel" if (finding.score or 0.0) >= _RELABEL_FROM else "keep"
            rows[finding.paths[0]] = {"path": finding.paths[0], "action": action, "label": finding.suggested}
    for _, learned in audit.leaks:
        rows[learned] = {"path": learned, "action": "exclude", "label": ""}
    for finding in audit.findings:
        if finding.kind in _LISTED:
            for path in finding.paths:
                rows.setdefault(path, {"path": path, "action": "keep", "label": ""})
    return list(rows.values())


def proposed(audit: Audit) -> Review:
    """The review as `review_rows` proposes it."""
    return _review(review_rows(audit))


def read_review(path: str | os.PathLike[str], class_names: Sequence[str]) -> Review:
    """What a file in the form of `review.csv` says.

    Raises:
        DatasetError: if it cannot be read, lacks a column, or has an action or a class that does not exist.
    """
    name = Path(path)
    try:
        with name.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            found = reader.fieldnames or ()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(
            f"The review {str(name)!r} cannot be read: {error}.\nhint: give the review.csv of an audit."
        ) from error
    if not set(COLUMNS) <= set(found):
        raise DatasetError(
            f"The review {str(name)!r} needs the columns {','.join(COLUMNS)}; it has {','.join(found) or 'none'}.\n"
            "hint: start from the review.csv that `fieldguide audit` writes."
        )
    for number, row in enumerate(rows, start=2):
        for column in COLUMNS:
            value = (row[column] or "").strip() if column != "path" else (row[column] or "")
            # The apostrophe by which the audit kept a spreadsheet from taking a name for a formula.
            row[column] = value[1:] if value[:1] == "'" and value[1:2] in tuple("=+-@\t\r") else value
        if row["action"] not in ACTIONS:
            raise DatasetError(
                f"Line {number} of {str(name)!r} has the action {row['action']!r}.\nhint: write {', '.join(ACTIONS)}."
            )
        if row["action"] == "relabel" and row["label"] not in class_names:
            raise DatasetError(
                f"Line {number} of {str(name)!r} relabels to {row['label']!r}, which is no class of the folder.\n"
                f"hint: the classes are {', '.join(class_names[:20])}."
            )
    return _review(rows)


def apply_review(index: ImageIndex, review: Review) -> ImageIndex:
    """The index without the excluded pictures and with the new labels.

    Raises:
        DatasetError: if the review names a picture that is not in the folder.
    """
    known = {image.path for image in index.images} | {skipped.path for skipped in index.skipped}
    unknown = sorted((review.excluded | set(review.labels)) - known)
    if unknown:
        raise DatasetError(
            f"The review names {len(unknown)} picture(s) that the folder {index.root} does not hold, such as {unknown[0]!r}.\n"
            "hint: paths are relative to the folder that was audited; audit it again if files have moved."
        )
    label_of = {name: label for label, name in enumerate(index.class_names)}
    images = tuple(
        dataclasses.replace(image, label=label_of[review.labels[image.path]]) if image.path in review.labels else image
        for image in index.images
        if image.path not in review.excluded
    )
    excluded = [image.path for image in index.images if image.path in review.excluded]
    skipped = tuple(Skipped(path, "excluded", "the review says so") for path in excluded)
    return dataclasses.replace(index, images=images, skipped=(*index.skipped, *skipped))


def _review(rows: Sequence[Mapping[str, str]]) -> Review:
    excluded = frozenset(row["path"] for row in rows if row["action"] == "exclude")
    labels = {row["path"]: row["label"] for row in rows if row["action"] == "relabel"}
    return Review(excluded, labels)
