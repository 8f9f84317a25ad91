"""Evidence of many pictures in few bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.data.decoding import shrink
from fieldguide.errors import BundleError, DecodeError


def small_maps(classifier: Classifier, files: Sequence[Path]) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """The evidence for the answered class of each picture, each map scaled so that its strongest place is 127 or -127.

    Args:
        classifier: at work.
        files: of the pictures.

    Returns:
        positions in `files` (num_maps,), without those that cannot be read; maps (num_maps, rows, columns). Both are empty
        where the network's evidence is not known.
    """
    positions, pixels = [], []
    for position, file in enumerate(files):
        try:
            pixels.append(shrink(classifier.decode(file)[1], classifier.image_size))
            positions.append(position)
        except DecodeError:
            continue
    nothing = np.empty(0, np.int64), np.empty((0, 1, 1), np.int8)
    if not pixels:
        return nothing
    try:
        embeddings, evidence = classifier.evidence(np.stack(pixels))
    except BundleError:
        return nothing
    answered = classifier.bundle.logits(embeddings).argmax(axis=1)
    maps = evidence[np.arange(len(evidence)), answered]
    largest = np.maximum(np.abs(maps).max(axis=(1, 2), keepdims=True), 1e-9)
    return np.array(positions, np.int64), np.rint(127 * maps / largest).astype(np.int8)
