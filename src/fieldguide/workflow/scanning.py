"""The one pass over the pictures, with what the recipe wants of them and a bar to watch."""

from __future__ import annotations

from pathlib import Path

from fieldguide.data.cache import Cache
from fieldguide.data.scan import Consumer, Scan, keep_pixels, scan
from fieldguide.embedding.engine import Engine
from fieldguide.progress import progress_bar
from fieldguide.records import ImageIndex, Preprocessing
from fieldguide.storage import sha256_file

HALF_PRECISION_FROM = 200_000  # pictures: from there on embeddings are kept as float16


def embedding_consumer(engine: Engine, network_path: Path, preprocessing: Preprocessing, num_images: int) -> Consumer:
    """Embeds the pictures, and names the embeddings in the cache by everything they depend on."""
    pixels_kind = keep_pixels(preprocessing).kind
    network_hash = sha256_file(network_path)[:16] + sha256_file(network_path.with_suffix(".bin"))[:16]
    dtype = "float16" if num_images > HALF_PRECISION_FROM else "float32"
    kind = f"embedding-{network_hash}-{engine.precision}-{dtype}-{pixels_kind}"
    return Consumer(kind, (engine.embedding_size,), dtype, engine.embed_stream)


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
