"""Embeddings for the benchmarks, through the product's own index, scan, engine and cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fieldguide.data.cache import Cache
from fieldguide.data.decoding import shrink
from fieldguide.data.index import index_folder
from fieldguide.data.split import split_images
from fieldguide.embedding.engine import Engine
from fieldguide.recipes.transfer import Transfer
from fieldguide.records import Split
from fieldguide.workflow.scanning import Embedder


@dataclass(frozen=True, eq=False)
class Embedded:
    """A folder of pictures, split as `train` splits it, with an embedding for each."""

    split: Split
    embeddings: NDArray[Any]  # (num_images, embedding_size)

    def part(self, *names: str) -> NDArray[np.int64]:
        """Positions of the pictures of those parts."""
        return np.sort(np.concatenate([getattr(self.split, name) for name in names]))


def engine_of(settings: Transfer) -> Engine:
    return Engine(settings.frozen_network())


def embed_folder(dataset: str | Path, settings: Transfer | None = None) -> Embedded:
    """Embeds a folder; what the cache holds, under the name that `train` uses, is not computed again."""
    settings = settings or Transfer()
    index = index_folder(dataset)
    with Cache() as cache:
        embedder = Embedder.of(settings, sixteen_bit_max=None, precision="auto")
        scanned = embedder.scan(index, cache, progress=False)
    hashes = [facts.pixel_hash for facts in scanned.facts]
    split = split_images(scanned.images, index.class_names, pixel_hashes=hashes, seed=0, root=index.root)
    return Embedded(split, scanned.values)


def embed_pictures(pictures: Sequence[Image.Image], engine: Engine) -> NDArray[np.float32]:
    """Embeds pictures that were made in memory."""
    return engine.embed(np.stack([shrink(np.asarray(picture.convert("RGB")), engine.image_size) for picture in pictures]))
