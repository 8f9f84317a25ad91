"""The passes over the pictures, with what is wanted of them and a bar to watch."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from fieldguide.data.cache import Cache
from fieldguide.data.pixels import read_pixels
from fieldguide.data.scan import Consumer, Scan, pixels_kind, scan
from fieldguide.embedding.engine import Engine
from fieldguide.progress import progress_bar
from fieldguide.recipes.recipe import Recipe
from fieldguide.recipes.registry import DEFAULT_RECIPE, recipe_of
from fieldguide.records import ImageIndex, Preprocessing
from fieldguide.storage import sha256_file

HALF_PRECISION_FROM = 200_000  # pictures: from there on embeddings are kept as float16


@dataclass(frozen=True, eq=False)
class Embedder:
    """The frozen network that sees every picture first; copies, doubtful labels and strangers are found by its embeddings."""

    network: Path  # its `network.xml`
    engine: Engine
    preprocessing: Preprocessing

    @classmethod
    def of(cls, recipe: Recipe, *, sixteen_bit_max: int | None, precision: str) -> Embedder:
        """The recipe's own frozen network; that of the default recipe where the recipe learns from pixels."""
        network = recipe.frozen_network()
        if network is None:
            recipe = recipe_of(DEFAULT_RECIPE)
            network = recipe.frozen_network()
        assert network is not None  # noqa: S101 - the default recipe has one; tells the type checker
        return cls(
            network, Engine(network, precision=precision), Preprocessing(recipe.image_size, sixteen_bit_max=sixteen_bit_max)
        )

    def scan(self, index: ImageIndex, cache: Cache, *, progress: bool) -> Scan:
        """Reads and embeds every picture: `values` is (num_images, embedding_size)."""
        consumer = self._consumer(len(index.images))
        return scan_with_progress(index, self.preprocessing, cache, consumer=consumer, title="scan + embed", progress=progress)

    def _consumer(self, num_images: int) -> Consumer:
        """Names the embeddings in the cache by everything they depend on."""
        size_and_decoder = pixels_kind(self.preprocessing)
        network_hash = sha256_file(self.network)[:16] + sha256_file(self.network.with_suffix(".bin"))[:16]
        dtype = "float16" if num_images > HALF_PRECISION_FROM else "float32"
        kind = f"embedding-{network_hash}-{self.engine.precision}-{dtype}-{size_and_decoder}"
        return Consumer(kind, (self.engine.embedding_size,), dtype, self.engine.embed_stream)


def scan_with_progress(
    index: ImageIndex,
    preprocessing: Preprocessing,
    cache: Cache,
    *,
    consumer: Consumer | None,
    title: str,
    progress: bool,
) -> Scan:
    """`data.scan.scan` with a bar to watch."""
    with progress_bar(len(index.images), title=title, unit="pictures", shown=progress) as bar:
        return scan(index, preprocessing, cache=cache, consumer=consumer, progress=bar.update)


def scan_pixels(index: ImageIndex, scanned: Scan, preprocessing: Preprocessing, cache: Cache, *, progress: bool) -> Scan:
    """The same pictures, with their pixels as `values`: what a recipe learns from that trains more than a head.

    Raises:
        DatasetError: as `read_pixels`.
    """
    with progress_bar(len(scanned.images), title="scan again", unit="pictures", shown=progress) as bar:
        pixels = read_pixels(scanned, index.root, preprocessing, cache=cache, progress=bar.update)
    return dataclasses.replace(scanned, values=pixels)
