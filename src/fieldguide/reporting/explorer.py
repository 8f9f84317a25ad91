"""The pictures behind the report's numbers, as the data that the page's script reads."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from fieldguide.evaluation.metrics import NUM_BINS, confidence_bins
from fieldguide.evaluation.slices import Slices
from fieldguide.records import Audit, Evaluation, Finding
from fieldguide.reporting import wording
from fieldguide.reporting.findings import ordered_findings
from fieldguide.reporting.overlays import STRONGEST
from fieldguide.reporting.page_pictures import PagePictures, shown_of_finding

_MOST_PROBABILITIES = 5  # classes of a picture
_SMALLEST = 0.0005  # a probability that is worth its place


def explorer_data(
    page: PagePictures,
    *,
    evaluations: Mapping[str, Evaluation | None],
    shown: Evaluation,
    audit: Audit,
    slices: Sequence[Slices],
    thumbnails: Mapping[str, bytes],
    directory: str,
) -> Markup:
    """The data as JSON that may stand inside a `<script>` element.

    Args:
        page: which pictures.
        evaluations: by part; of a picture that is not scored on the page the held-out answer is shown, where there is one.
        shown: the one that the report tells of.
        audit: whose findings can be opened.
        slices: of `shown`.
        thumbnails: small JPEG files by the path of their picture.
        directory: the run folder, for the command that explains a picture.
    """
    answers = _Answers(page, shown, evaluations.get("val"))
    place = {path: i for i, path in enumerate(page.paths)}
    bins = confidence_bins(shown.probabilities, shown.labels, NUM_BINS)[0][page.scored]
    values = {
        "classes": shown.class_names,
        "part": wording.PART_NAMES.get(shown.part, shown.part),
        "directory": directory,
        "reject": shown.reject,
        "numScored": len(page.scored),
        "numEvaluated": len(shown.labels),
        "numWrong": int((~shown.correct).sum()),
        "path": page.paths,
        "label": page.labels.tolist(),
        "probabilities": answers.rows,
        "novelty": answers.novelties,
        "away": answers.away,
        "leaked": sorted(np.flatnonzero(np.isin(page.scored, shown.leaked)).tolist()),
        "bin": bins.tolist(),
        "numBins": NUM_BINS,
        "size": page.sizes[page.scored][:, ::-1].tolist(),  # width, height
        "brightness": _rounded(page.brightness[page.scored], 3),
        "slices": [{"name": s.name, "titles": s.titles, "members": s.members[page.scored].tolist()} for s in slices],
        "findings": [_finding(finding, place) for finding in ordered_findings(audit)],
        "findingSizes": [len(finding.paths) for finding in ordered_findings(audit)],
        "nearest": page.nearest.tolist(),
        "distance": [_rounded(row, 2) for row in page.distances],
        "usualDistance": round(page.usual_distance, 2),
        "maps": {str(i): base64.b64encode(m.tobytes()).decode("ascii") for i, m in zip(page.mapped, page.maps, strict=True)},
        "mapSize": list(page.maps.shape[1:]),
        "strongest": STRONGEST,
        "thumbnails": [_encoded(thumbnails.get(path)) for path in page.paths],
    }
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Inside a script element only these could end it.
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"))


@cache
def script() -> tuple[Markup, str]:
    """The page's script, and the hash by which the page's policy lets it, and no other, run."""
    source = files("fieldguide.reporting").joinpath("templates/explorer.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")
    return Markup(source), f"sha256-{digest}"


class _Answers:
    """What was answered of each picture on the page: [class, share in ten-thousandths, ...], the most probable first."""

    def __init__(self, page: PagePictures, shown: Evaluation, val: Evaluation | None) -> None:
        of_val = {path: i for i, path in enumerate(val.paths)} if val is not None and val is not shown else {}
        self.rows: list[list[int] | None] = []
        self.novelties: list[float | None] = []
        self.away: list[int] = []
        away = shown.turned_away
        for number, path in enumerate(page.paths):
            if number < len(page.scored):
                position, evaluation, is_away = int(page.scored[number]), shown, bool(away[page.scored[number]])
            elif val is not None and path in of_val:
                position, evaluation = of_val[path], val
                is_away = bool(val.turned_away[position])
            else:
                self.rows.append(None)
                self.novelties.append(None)
                self.away.append(0)
                continue
            self.rows.append(_row(evaluation.probabilities[position], int(page.labels[number])))
            novelty = None if evaluation.novelties is None else float(evaluation.novelties[position])
            self.novelties.append(None if novelty is None or not np.isfinite(novelty) else round(novelty, 2))
            self.away.append(int(is_away))


def _row(probabilities: NDArray[np.float32], label: int) -> list[int]:
    top = np.argsort(-probabilities, kind="stable")[:_MOST_PROBABILITIES].tolist()
    kept = [c for i, c in enumerate(top) if i == 0 or probabilities[c] >= _SMALLEST or c == label]
    if label not in kept:
        kept.append(label)
    return [number for c in kept for number in (c, _ten_thousandths(float(probabilities[c])))]


def _ten_thousandths(share: float) -> int:
    """What is neither 0 nor 1 is not rounded to them."""
    return round(10_000 * share) if share in (0.0, 1.0) else min(max(round(10_000 * share), 1), 9_999)


def _finding(finding: Finding, place: Mapping[str, int]) -> list[int]:
    return [place[path] for path in shown_of_finding(finding) if path in place]


def _rounded(values: NDArray[np.float32], digits: int) -> list[float | None]:
    return [round(v, digits) if np.isfinite(v) else None for v in values.tolist()]


def _encoded(content: bytes | None) -> str:
    return base64.b64encode(content).decode("ascii") if content else ""
