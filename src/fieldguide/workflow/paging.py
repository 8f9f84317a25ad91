"""What the report needs to show the pictures behind its numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.data.cache import Cache
from fieldguide.data.neighbours import Space, principal_axes
from fieldguide.data.scan import Scan, take, thumbnails
from fieldguide.explanation.maps import small_maps
from fieldguide.explanation.resemblance import Memory
from fieldguide.records import Audit, Evaluation, Preprocessing, Split
from fieldguide.reporting.page_pictures import (
    PagePictures,
    choose_mapped,
    choose_scored,
    paths_of_findings,
    within_budget,
)

_NUM_NEAREST = 3


def gather(
    evaluation: Evaluation,
    audit: Audit,
    scanned: Scan,
    split: Split,
    embeddings: NDArray[Any],
    memory: Memory,
    *,
    seed: int,
) -> PagePictures:
    """Chooses the pictures of the page and finds the training pictures nearest to them; maps are added by `with_maps`.

    Args:
        evaluation: the one that the report tells of.
        audit: its findings name further pictures.
        scanned: the pictures, with their sizes and looks.
        split: gives them their classes.
        embeddings: (num_images, embedding_size), by the network that ships.
        memory: the training pictures.
        seed: of the choice, where there are many.
    """
    position = {path: i for i, path in enumerate(split.paths)}
    evaluated = np.array([position[path] for path in evaluation.paths], np.int64)
    scored = choose_scored(evaluation, seed=seed)
    nearest, distances = _nearest(memory, embeddings[evaluated[scored]], [evaluation.paths[i] for i in scored])
    of_scored = [evaluation.paths[i] for i in scored]
    others = (*paths_of_findings(audit), *(memory.paths[i] for i in nearest.T.ravel() if i >= 0))
    paths = tuple(dict.fromkeys([*of_scored, *(path for path in others if path in position)]))
    place = {path: i for i, path in enumerate(paths)}
    facts = [scanned.facts[i] for i in evaluated]
    return PagePictures(
        scored=scored,
        paths=paths,
        labels=split.labels[[position[path] for path in paths]],
        sizes=np.array([one.size for one in facts], np.int64).reshape(-1, 2),
        brightness=np.array([one.looks.brightness if one.looks else np.nan for one in facts], np.float32),
        nearest=np.array([[place[memory.paths[i]] if i >= 0 else -1 for i in row] for row in nearest], np.int64),
        distances=distances,
        usual_distance=memory.usual_distance,
        maps=np.empty((0, 1, 1), np.int8),
        mapped=np.empty(0, np.int64),
    )


def page_thumbnails(
    paths: Sequence[str], root: Path, scanned: Scan, preprocessing: Preprocessing, cache: Cache
) -> dict[str, bytes]:
    """Small copies of pictures, the first so many that the page can hold."""
    position = {image.path: i for i, image in enumerate(scanned.images)}
    found = thumbnails(root, scanned, [position[path] for path in dict.fromkeys(paths)], preprocessing, cache)
    return within_budget(found.items())


def maps_meanwhile(
    pool: ThreadPoolExecutor, classifier: Classifier, root: Path, evaluation: Evaluation, page: PagePictures
) -> Callable[[], PagePictures]:
    """Begins to look where the network looks in the pictures that matter most; the result waits for it."""
    chosen = choose_mapped(evaluation, page.scored)
    future: Future[Any] = pool.submit(small_maps, classifier, [root / page.paths[i] for i in chosen])

    def result() -> PagePictures:
        found, maps = future.result()
        return dataclasses.replace(page, maps=maps, mapped=chosen[found])

    return result


def remember(embeddings: NDArray[Any], used: Split, space: Space | None) -> Memory:
    """The pictures that were learned from or chosen by, as the network sees them.

    Args:
        embeddings: (num_images, embedding_size), by the network that ships.
        used: the split.
        space: of these embeddings, where the audit has found it already.
    """
    learned_from = np.union1d(used.train, used.val)
    paths = used.paths
    if space is not None:
        axes, vectors = space.axes, space.vectors[learned_from]
    else:
        mine = take(embeddings, learned_from)
        axes = principal_axes(mine)
        vectors = axes.vectors(mine)
    return Memory.of(axes, vectors, used.labels[learned_from], tuple(paths[i] for i in learned_from), used.class_names)


def _nearest(memory: Memory, embeddings: NDArray[Any], paths: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Positions in the memory and distances, (num_images, 3); a picture is not its own neighbour; -1 where there is none."""
    found, far = memory.find(embeddings, _NUM_NEAREST + 1)
    own = {path: i for i, path in enumerate(memory.paths)}
    nearest = np.full((len(paths), _NUM_NEAREST), -1, np.int64)
    distances = np.zeros((len(paths), _NUM_NEAREST), np.float32)
    for row, path in enumerate(paths):
        others = np.flatnonzero(found[row] != own.get(path, -1))[:_NUM_NEAREST]
        nearest[row, : len(others)], distances[row, : len(others)] = found[row, others], far[row, others]
    return nearest, distances
