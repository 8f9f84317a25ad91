"""How a notebook shows an audit, a run, an evaluation and a prediction: a small table each, plain HTML and no script.

The cards keep to the colours of the page around them, so they suit light and dark themes, and without their style (a
viewer that does not trust the notebook strips it) they are still readable tables.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from fieldguide.auditing.summary import summarised
from fieldguide.data.decoding import decode, read_file, thumbnail
from fieldguide.errors import DecodeError
from fieldguide.evaluation import metrics
from fieldguide.records import PARTS, Audit, Evaluation, Explanation, Prediction, Record, Run
from fieldguide.reporting import templating, wording
from fieldguide.reporting.overlays import marked

_MOST_CLASSES = 20  # rows of a table
_MOST_PROBABILITIES = 5
_MOST_CONFUSIONS = 5
_MOST_PATHS = 3  # of a finding
_PICTURE_SIDE = 128  # px
_EXPLAINED_SIDE = 224  # px


def card(record: Record) -> str | None:
    """The HTML that stands for a record in a notebook; None for a record that has no card."""
    if isinstance(record, Audit):
        return _render("audit", _audit(record))
    if isinstance(record, Run):
        return _render("run", _run(record))
    if isinstance(record, Evaluation):
        return _render("evaluation", _evaluation(record))
    if isinstance(record, Prediction):
        return _render("prediction", _prediction(record))
    if isinstance(record, Explanation):
        return _render("explanation", _explanation(record))
    return None


def _audit(audit: Audit) -> dict[str, Any]:
    most = max(audit.images_per_class.values(), default=1) or 1
    classes = [{"name": n, "count": c, "share": c / most} for n, c in audit.images_per_class.items()]
    severities = ("error", "warning", "note")
    findings = sorted(summarised(audit.findings), key=lambda f: severities.index(f.severity) if f.severity in severities else 3)
    return {
        "audit": audit,
        "classes": classes[:_MOST_CLASSES],
        "num_more": len(classes) - _MOST_CLASSES,
        "findings": [{"finding": f, "paths": f.paths[:_MOST_PATHS], "num_more": len(f.paths) - _MOST_PATHS} for f in findings],
    }


def _run(run: Run) -> dict[str, Any]:
    scores = [(wording.PART_NAMES[part], run.scores[part]) for part in PARTS if run.scores.get(part)]
    axis_low = min((score["interval"][0] for _, score in scores), default=0.0)
    axis_low = float(max(0.0, np.floor(20 * axis_low - 0.2) / 20))
    return {
        "run": run,
        "scores": [{"part": part, "score": score, **_bar(score, axis_low)} for part, score in scores],
        "report": Path(run.directory, "report.html").as_posix(),
    }


def _bar(score: Any, axis_low: float) -> dict[str, float]:
    low, dot, high = ((value - axis_low) / (1 - axis_low) for value in _bounds(score))
    return {"low": low, "dot": dot, "high": high}


def _bounds(score: Any) -> tuple[float, float, float]:
    low, high = score["interval"]
    return low, score["accuracy"], high


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    rows = list(metrics.per_class(evaluation))
    if len(rows) > _MOST_CLASSES:
        rows.sort(key=lambda row: row["f1"] if row["f1"] is not None else 2.0)
    return {
        "evaluation": evaluation,
        "sentence": wording.score(evaluation) if len(evaluation.labels) else "There is no picture to score.",
        "method": wording.method(evaluation),
        "rows": rows[:_MOST_CLASSES],
        "num_more": len(rows) - _MOST_CLASSES,
        "confusions": _confusions(evaluation),
    }


def _confusions(evaluation: Evaluation) -> list[tuple[str, str, int]]:
    counts = metrics.confusion_matrix(evaluation)
    np.fill_diagonal(counts, 0)
    order: Sequence[int] = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CONFUSIONS].tolist()
    pairs = [divmod(cell, len(counts)) for cell in order]
    names = evaluation.class_names
    return [(names[row], names[column], int(counts[row, column])) for row, column in pairs if counts[row, column]]


def _prediction(prediction: Prediction) -> dict[str, Any]:
    ranked = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    return {
        "prediction": prediction,
        "ranked": ranked[:_MOST_PROBABILITIES],
        "num_more": len(ranked) - _MOST_PROBABILITIES,
        "picture": _picture(prediction.path),
    }


def _explanation(explained: Explanation) -> dict[str, Any]:
    picture = explained.picture
    if picture is not None and explained.evidence is not None:
        picture = marked(picture, explained.evidence, _EXPLAINED_SIDE)
    return {
        "explained": explained,
        "title": wording.explanation_title(explained).split("\n"),
        "usual": wording.usual_distance(explained),
        "picture": None if picture is None else _data_uri(picture, _EXPLAINED_SIDE),
    }


def _picture(path: str | None) -> str | None:
    """A small copy of the file as a data URI; None where there is no file, or none that can be read."""
    if path is None:
        return None
    try:
        pixels = decode(read_file(path), cover=(_PICTURE_SIDE, _PICTURE_SIDE)).pixels
    except DecodeError:
        return None
    return _data_uri(pixels, _PICTURE_SIDE)


def _data_uri(pixels: NDArray[np.uint8], side: int) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail(pixels, side)).decode("ascii")


def _render(name: str, values: dict[str, Any]) -> str:
    template = _environment().get_template("cards.html.jinja")
    return template.render(card=name, **values)


@cache
def _environment() -> jinja2.Environment:
    return templating.environment(wording.percent, wording.interval, wording.decimals, wording.duration)
