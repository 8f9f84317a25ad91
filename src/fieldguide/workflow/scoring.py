"""How good it is: the bundle's answers on each part, from embeddings."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bundle import Bundle
from fieldguide.data.cache import Cache
from fieldguide.data.copies import Copies
from fieldguide.data.scan import Scan, take
from fieldguide.evaluation.evaluate import evaluate_embeddings
from fieldguide.records import Evaluation, Split
from fieldguide.workflow.certainty import HeldOut


def evaluate_parts(
    bundle: Bundle,
    scanned: Scan,
    copies: Copies,
    split: Split,
    held_out: HeldOut,
    embeddings: NDArray[Any],
    cache: Cache,
) -> dict[str, Evaluation | None]:
    """An evaluation for train, val and test; None for a part without pictures, and where nothing was held out.

    Args:
        bundle: as it was read back from disk.
        scanned: the pictures.
        copies: among them; test pictures with one in the training part are marked.
        split: its `train` is what the recipe was fitted on, its `val` what was held out of that.
        held_out: its answers are the validation, unless the user gave a validation part.
        embeddings: (num_images, embedding_size), by the bundle's own network.
        cache: counts how often a test part is scored on this machine.
    """
    labels, paths = split.labels, split.paths

    def answers(part: str, positions: NDArray[np.int64], method: str, **more: Any) -> Evaluation | None:
        names, digests = [paths[i] for i in positions], [scanned.digests[i].hex()[:16] for i in positions]
        rows = take(embeddings, positions)
        return evaluate_embeddings(bundle, rows, labels[positions], names, part=part, method=method, digests=digests, **more)

    result = {"train": answers("train", split.train, "fitted on"), "val": answers("val", split.val, "held out")}
    if not len(split.val) and len(held_out.positions):
        positions = held_out.positions
        result["val"] = Evaluation(
            part="val",
            class_names=bundle.class_names,
            labels=labels[positions],
            probabilities=held_out.probabilities,
            paths=tuple(paths[i] for i in positions),
            method="out-of-fold",
            novelties=held_out.novelties,
            reject=held_out.facts["reject"],
            digests=tuple(scanned.digests[i].hex()[:16] for i in positions),
        )
    times_scored = None
    if len(split.test):
        digests = sorted(scanned.digests[i] + bytes(paths[i], "utf-8") for i in split.test)
        times_scored = cache.count("scored-" + hashlib.sha256(b"".join(digests)).hexdigest())
    seen = dict(copies.leaks(scanned.images))
    leaked = [k for k, i in enumerate(split.test.tolist()) if i in seen]
    result["test"] = answers("test", split.test, "held out", leaked=leaked, times_scored=times_scored)
    return result


def doubt_whether_it_learned(evaluations: Mapping[str, Evaluation | None], scores: Mapping[str, Any]) -> tuple[str, ...]:
    """A note where the network cannot be told from one that names the same class for every picture, on no part held out.

    Args:
        evaluations: of the parts, by name.
        scores: of each, as `summarize` gives them.
    """
    notes = []
    for part in [name for name in ("test", "val") if evaluations[name] is not None] or ["train"]:
        evaluation, score = evaluations[part], scores[part]
        if evaluation is None:
            return ()
        counts = np.bincount(evaluation.labels)
        share, (low, high) = float(counts.max() / counts.sum()), score["interval"]
        if low > share:
            return ()
        notes.append(
            f"It is not shown that anything was learned: of {score['num_images']:,} {part} pictures {score['accuracy']:.1%} "
            f"are named rightly (95 % interval {low:.1%} to {high:.1%}), and {share:.1%} would be by always saying "
            f"{evaluation.class_names[int(counts.argmax())]!r}. A longer training, another recipe or more pictures may help."
        )
    return tuple(notes[:1])
