"""Scored pictures by what they are like: brightness, size, shape, folder. Where accuracy differs is something to learn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluation.metrics import wilson_interval
from fieldguide.records import Evaluation

_FEWEST = 40  # pictures, below which quarters of them say nothing
_NUM_PARTS = 4
_MOST_FOLDERS = 12


@dataclass(frozen=True, eq=False)
class Slices:
    """One way to divide the pictures of an evaluation."""

    name: str  # brightness, size, shape or folder
    titles: tuple[str, ...]  # of the parts
    members: NDArray[np.int64]  # (num_images,); the part that each picture is in

    def rows(self, evaluation: Evaluation) -> tuple[dict[str, Any], ...]:
        """One dict per part: title, num_images, num_wrong, accuracy, interval ([low, high], 95 %)."""
        rows = []
        for number, title in enumerate(self.titles):
            correct = evaluation.correct[self.members == number]
            num_correct = int(correct.sum())
            rows.append(
                {
                    "title": title,
                    "num_images": len(correct),
                    "num_wrong": len(correct) - num_correct,
                    "accuracy": num_correct / len(correct),
                    "interval": list(wilson_interval(num_correct, len(correct))),
                }
            )
        return tuple(rows)


def slices_of(evaluation: Evaluation, sizes: NDArray[np.int64], brightness: NDArray[np.float32]) -> tuple[Slices, ...]:
    """The ways to divide an evaluation that tell its pictures apart; numbers are cut into quarters of the pictures.

    Args:
        evaluation: its paths give the folders.
        sizes: (num_images, 2), height and width in pixels.
        brightness: (num_images,), mean luma in [0, 1].

    Returns:
        at most four; a way that puts nearly all pictures into one part, or that repeats the classes, is left out.
    """
    found = (
        _quarters("brightness", np.asarray(brightness, np.float64), lambda v: f"{100 * v:.0f}\xa0%"),
        _quarters("size", sizes.max(axis=1).astype(np.float64), lambda v: f"{v:.0f}\xa0px"),
        _shapes(sizes),
        _folders(evaluation),
    )
    return tuple(one for one in found if one is not None)


def _quarters(name: str, values: NDArray[np.float64], said: Any) -> Slices | None:
    if len(values) < _FEWEST:
        return None
    edges = np.unique(np.quantile(values, np.arange(1, _NUM_PARTS) / _NUM_PARTS))
    members = np.searchsorted(edges, values, side="left")
    numbers, members = np.unique(members, return_inverse=True)
    if len(numbers) < 2:
        return None
    bounds = [(float(values[members == n].min()), float(values[members == n].max())) for n in range(len(numbers))]
    titles = tuple(said(low) if said(low) == said(high) else f"{said(low)} to {said(high)}" for low, high in bounds)
    return Slices(name, titles, members.astype(np.int64)) if len(set(titles)) == len(titles) else None


def _shapes(sizes: NDArray[np.int64]) -> Slices | None:
    ratio = sizes[:, 1] / sizes[:, 0]
    members = np.digitize(ratio, [0.8, 1.25])
    return _present("shape", ("tall (narrower than 4:5)", "nearly square", "wide (wider than 5:4)"), members)


def _folders(evaluation: Evaluation) -> Slices | None:
    folders = [str(PurePosixPath(path).parent) for path in evaluation.paths]
    pairs = set(zip(folders, evaluation.labels.tolist(), strict=True))
    if len({folder for folder, _ in pairs}) == len(pairs) == len({label for _, label in pairs}):
        return None  # a folder a class: the table of the classes says it
    common = [folder for folder, _ in Counter(folders).most_common(_MOST_FOLDERS)]
    titles = (*sorted(common), "other folders")
    number = {folder: i for i, folder in enumerate(titles)}
    return _present("folder", titles, np.array([number.get(folder, len(titles) - 1) for folder in folders]))


def _present(name: str, titles: Sequence[str], members: NDArray[Any]) -> Slices | None:
    numbers, members = np.unique(members, return_inverse=True)
    if len(numbers) < 2:
        return None
    return Slices(name, tuple(titles[i] for i in numbers), members.astype(np.int64))
