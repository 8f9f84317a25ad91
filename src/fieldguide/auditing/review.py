"""The review: a CSV file of pictures to keep, exclude or relabel, proposed by the audit, edited and given back by the user.

Nothing is moved or deleted by it: it only says what a training leaves out and which labels it reads differently.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldguide.data.listing import delimiter_of
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
        kept: paths that were looked at and stay as they are.
    """

    excluded: frozenset[str]
    labels: Mapping[str, str]
    kept: frozenset[str] = frozenset()

    def rows(self) -> list[dict[str, str]]:
        """As rows of a `review.csv`."""
        actions = {path: ("exclude", "") for path in self.excluded} | {path: ("keep", "") for path in self.kept}
        actions |= {path: ("relabel", label) for path, label in self.labels.items()}
        return [{"path": path, "action": action, "label": label} for path, (action, label) in sorted(actions.items())]


def review_rows(audit: Audit, decided: Review | None = None) -> list[dict[str, str]]:
    """A row of `path`, `action`, `label` for every picture worth a decision, labels to look at first coming first.

    Proposed are `relabel` where the label is more probably wrong than right, `exclude` for each training picture of which
    a copy is in the test part, and `keep` for all others. With `keep` a label only reminds of what was suggested. What was
    decided already comes before all that, and stays.
    """
    rows: dict[str, dict[str, str]] = {}
    for finding in audit.findings:
        if finding.kind == "label_error" and finding.suggested is not None:
            action = "relabel" if (finding.score or 0.0) >= _RELABEL_FROM else "keep"
            rows[finding.paths[0]] = {"path": finding.paths[0], "action": action, "label": finding.suggested}
    leaked = {test for test, _ in audit.leaks}
    copies = [path for group in audit.groups if leaked & set(group) for path in group if path not in leaked]
    for learned in (*(path for _, path in audit.leaks), *copies):
        rows[learned] = {"path": learned, "action": "exclude", "label": ""}
    for finding in audit.findings:
        if finding.kind in _LISTED:
            for path in finding.paths:
                rows.setdefault(path, {"path": path, "action": "keep", "label": ""})
    first = {row["path"]: row for row in decided.rows()} if decided else {}
    return list((first | {path: row for path, row in rows.items() if path not in first}).values())


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
        text = name.read_text(encoding="utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
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
    actions: dict[str, tuple[str, str]] = {}
    decisions = []
    for number, row in enumerate(rows, start=2):
        if not any((row[column] or "").strip() for column in COLUMNS):
            continue  # a row that was cleared
        for column in COLUMNS:
            value = row[column] or ""
            # The apostrophe by which the audit kept a spreadsheet from taking a name for a formula.
            value = value[1:] if value[:1] == "'" and value[1:2] in tuple("=+-@\t\r") else value
            is_name = column == "path" or (column == "label" and value in class_names)  # with spaces around it, maybe
            row[column] = value if is_name else value.strip()
        if row["action"] not in ACTIONS:
            raise DatasetError(
                f"Line {number} of {str(name)!r} has the action {row['action']!r}.\nhint: write {', '.join(ACTIONS)}."
            )
        if row["action"] == "relabel" and row["label"] not in class_names:
            raise DatasetError(
                f"Line {number} of {str(name)!r} relabels to {row['label']!r}, which is no class of the folder.\n"
                f"hint: the classes are {', '.join(class_names[:20])}."
            )
        decision = (row["action"], row["label"] if row["action"] == "relabel" else "")
        if actions.setdefault(row["path"], decision) != decision:
            raise DatasetError(
                f"Line {number} of {str(name)!r} decides otherwise of {row['path']!r} than a line before it.\n"
                "hint: keep one row per picture."
            )
        decisions.append(row)
    return _review(decisions)


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
    return Review(excluded, labels, frozenset(row["path"] for row in rows if row["action"] == "keep"))
