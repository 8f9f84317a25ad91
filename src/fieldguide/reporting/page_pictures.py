"""The pictures that the report holds: which ones, and what is known of each. Written beside the evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bundle import read_tensors, write_tensors
from fieldguide.errors import BundleError
from fieldguide.evaluation.metrics import losses
from fieldguide.records import Audit, Evaluation, Finding
from fieldguide.reporting.findings import ordered_findings
from fieldguide.storage import read_json, write_json

MOST_SCORED = 2500  # pictures of the scored part on the page
MOST_MAPS = 64  # pictures whose evidence is on the page; of others `fieldguide explain` tells
MOST_THUMBNAIL_BYTES = 9_500_000  # a third more as text: the page stays below 15 MB
_MOST_PER_FINDING = 48
_MOST_OF_FINDINGS = 600
_NAME = "page"


@dataclass(frozen=True, eq=False)
class PagePictures:
    """What the page shows behind its numbers.

    Attributes:
        scored: (num_scored,) ascending; positions, in the evaluation, of those of its pictures that the page holds.
        paths: of all pictures on the page: first the scored ones, then others (of findings, and training pictures).
        labels: (len(paths),); positions in class_names.
        sizes: (num_evaluated, 2), height and width of every picture of the evaluation, on the page or not.
        brightness: (num_evaluated,), mean luma in [0, 1].
        nearest: (num_scored, k); positions in `paths` of the nearest training pictures; -1 where there is none.
        distances: (num_scored, k).
        usual_distance: see `Explanation.usual_distance`.
        maps: (num_maps, rows, columns) int8; the evidence for the answered class, from -127 to 127.
        mapped: (num_maps,); positions in `paths`.
    """

    scored: NDArray[np.int64]
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    sizes: NDArray[np.int64]
    brightness: NDArray[np.float32]
    nearest: NDArray[np.int64]
    distances: NDArray[np.float32]
    usual_distance: float
    maps: NDArray[np.int8]
    mapped: NDArray[np.int64]


def choose_scored(evaluation: Evaluation, *, seed: int, most: int = MOST_SCORED) -> NDArray[np.int64]:
    """Positions of the pictures that the page holds, ascending: all; of many the errors, the worst first, then by chance.

    A fifth of them are right answers even where there are more errors than fit.
    """
    count = len(evaluation.labels)
    if count <= most:
        return np.arange(count)
    order = np.argsort(-losses(evaluation), kind="stable")
    errors = order[~evaluation.correct[order]][: most - min(most // 5, int(evaluation.correct.sum()))]
    rest = np.random.default_rng(seed).permutation(np.flatnonzero(evaluation.correct))[: most - len(errors)]
    return np.sort(np.concatenate([errors, rest]))


def choose_mapped(evaluation: Evaluation, scored: NDArray[np.int64], most: int = MOST_MAPS) -> NDArray[np.int64]:
    """Positions in `scored` of the pictures whose evidence is worth a look: errors first, then the closest calls."""
    order = np.argsort(-losses(evaluation)[scored], kind="stable")
    is_error = ~evaluation.correct[scored][order]
    return np.concatenate([order[is_error], order[~is_error]])[:most]


def paths_of_findings(audit: Audit) -> tuple[str, ...]:
    """The pictures that findings point at, as many as the page can hold; each once."""
    paths = (path for finding in ordered_findings(audit) for path in shown_of_finding(finding))
    return tuple(dict.fromkeys(paths))[:_MOST_OF_FINDINGS]


def shown_of_finding(finding: Finding) -> tuple[str, ...]:
    """The first paths of a finding."""
    return finding.paths[:_MOST_PER_FINDING]


def within_budget(thumbnails: Iterable[tuple[str, bytes]], most_bytes: int = MOST_THUMBNAIL_BYTES) -> dict[str, bytes]:
    """The first thumbnails that fit into the page together."""
    kept, total = {}, 0
    for path, content in thumbnails:
        total += len(content)
        if total > most_bytes:
            break
        kept[path] = content
    return kept


def write_page(directory: Path, page: PagePictures | None) -> PagePictures | None:
    """Writes `page.json` and `page.safetensors` into a folder, where there is something to write; gives it back."""
    if page is None:
        return None
    arrays = {name: value for name, value in vars(page).items() if isinstance(value, np.ndarray)}
    write_tensors(directory / f"{_NAME}.safetensors", arrays)
    write_json(directory / f"{_NAME}.json", {"paths": page.paths, "usual_distance": page.usual_distance})
    return page


def read_page(directory: Path) -> PagePictures | None:
    """What `write_page` wrote; None where there is nothing, as in runs of older versions.

    Raises:
        BundleError: if a file is damaged.
    """
    if not (directory / f"{_NAME}.json").is_file():
        return None
    values: dict[str, Any] = read_json(directory / f"{_NAME}.json")
    try:
        arrays = read_tensors(directory / f"{_NAME}.safetensors")
        return PagePictures(paths=tuple(values["paths"]), usual_distance=float(values["usual_distance"]), **arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{directory / _NAME}.json is damaged: {error!r}.\nhint: train again.") from error
