"""A further look at pictures that a scan has found: their pixels at the size that a network wants, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.cache import Cache
from fieldguide.data.decoding import load, read_file
from fieldguide.data.parallel import in_order
from fieldguide.data.scan import Scan, allocate, pixels_kind, useful_workers
from fieldguide.errors import DatasetError, DecodeError
from fieldguide.records import Preprocessing

_FILES_PER_TASK = 16
_PICTURES_PER_TRANSACTION = 256


def read_pixels(
    scanned: Scan,
    root: str,
    preprocessing: Preprocessing,
    *,
    cache: Cache,
    progress: Callable[[int], None] = lambda count: None,
) -> NDArray[np.uint8]:
    """The pixels of every picture of a scan, (num_images, *preprocessing.image_size, 3), where its files are what they were.

    Half the work of a scan: what is known of a picture besides is not found out again.

    Args:
        scanned: says which pictures, and what their files held.
        root: the folder that their paths are relative to.
        preprocessing: image size and 16-bit range.
        cache: where the pixels of known pictures come from and those of new ones go.
        progress: called with the number of pictures just read.

    Raises:
        DatasetError: if a file has changed or vanished since, or can no longer be decoded.
    """
    kind = pixels_kind(preprocessing)
    pixels = allocate((len(scanned.images), *preprocessing.image_size, 3), "uint8")
    work = partial(_read, scanned, root, preprocessing, cache)
    reads = in_order(
        work,
        range(len(scanned.images)),
        num_workers=useful_workers(root, scanned.images),
        items_per_task=_FILES_PER_TASK,
    )
    fresh: list[int] = []

    def store() -> None:
        cache.put(kind, [(scanned.digests[position], pixels[position].tobytes()) for position in fresh])
        fresh.clear()

    for position, (value, is_new) in enumerate(reads):
        pixels[position] = value
        if is_new:
            fresh.append(position)
        if len(fresh) == _PICTURES_PER_TRANSACTION:
            store()
        progress(1)
    store()
    return pixels


def _read(
    scanned: Scan, root: str, preprocessing: Preprocessing, cache: Cache, positions: Sequence[int]
) -> list[tuple[NDArray[np.uint8], bool]]:
    """Runs in a worker: the pixels of some pictures, and whether the cache did not know them."""
    known = cache.get(pixels_kind(preprocessing), [scanned.digests[position] for position in positions])
    results = []
    for position in positions:
        path, digest = scanned.images[position].path, scanned.digests[position]
        try:
            content = read_file(f"{root}/{path}")
            if hashlib.sha256(content).digest() != digest:
                raise DatasetError(f"{path!r} has changed while it was learned from.\nhint: train again.")
            if digest in known:
                value = np.frombuffer(known[digest], np.uint8).reshape(*preprocessing.image_size, 3)
            else:
                value = load(content, preprocessing.image_size, sixteen_bit_max=preprocessing.sixteen_bit_max)
        except DecodeError as error:
            raise DatasetError(f"{path!r} could be read when this run began, and no longer: {error}.") from error
        results.append((value, digest not in known))
    return results
