"""One pass over the pictures: read, hash, decode, shrink, and hand to whoever wants the pixels.

Each file is decoded at most once in a run, and not at all where the cache knows it. Decoding runs on all cores while the
consumer (the engine, say) works on the batch before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.cache import Cache
from fieldguide.data.decoding import DECODER_VERSION, FORMATS, decode, read_file, shrink, thumbnail
from fieldguide.data.looks import LOOKS_VERSION, Looks, grey_copies, measure
from fieldguide.data.parallel import in_order, num_workers_that_fit
from fieldguide.errors import DatasetError, DecodeError
from fieldguide.records import ImageIndex, LabeledImage, Preprocessing, Skipped
from fieldguide.storage import saving

_FILES_PER_TASK = 16
_BYTES_AT_ONCE = 100_000_000  # of files held by one worker, but for the last
_FACTS_PER_TRANSACTION = 1024
_TINY_BYTES, _NUM_SIZED = 4096, 32
_TINY_PIXELS = 64 * 64  # up to here a thumbnail is kept as plain pixels: encoding would cost more than decoding did
_ROWS_PER_COPY = 4096
_PASSING_REASONS = frozenset({"needs_heic", "no_memory"})  # true of this machine today, not of the file: never remembered
_MEMORY_LIMIT_BYTES = 1_000_000_000  # a larger array lies in a temporary file instead


@dataclass(frozen=True)
class Facts:
    """What decoding told of a picture, or why there is none."""

    format: str = ""
    size: tuple[int, int] = (0, 0)  # (height, width), orientation applied
    pixel_hash: str = ""  # SHA-256 of size and decoded pixels, in hexadecimal
    brightest: int | None = None  # of a 16-bit picture
    is_animated: bool = False
    num_bytes: int = 0  # of the file
    camera: str = ""  # maker and model
    looks: Looks | None = None  # None where there are no pixels
    sketch: bytes = b""  # a grey copy of 32 x 32 pixels
    reason: str | None = None  # code of the DecodeError; None for a usable picture
    message: str = ""

    def pack(self) -> bytes:
        """What the cache holds: the fields as a line of JSON, then the sketch."""
        values = {**vars(self), "looks": list(vars(self.looks).values()) if self.looks else None}
        del values["sketch"]
        return json.dumps(list(values.values())).encode() + b"\n" + self.sketch

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` packed."""
        line, _, sketch = packed.partition(b"\n")
        values = json.loads(line)
        names = [f.name for f in dataclasses.fields(cls) if f.name != "sketch"]
        facts = dict(zip(names, values, strict=True))
        facts["size"] = tuple(facts["size"])
        facts["looks"] = Looks(*facts["looks"]) if facts["looks"] else None
        return cls(**facts, sketch=sketch)


@dataclass(frozen=True, eq=False)
class Scan:
    """The usable pictures, what is known of each, and what was left out."""

    images: tuple[LabeledImage, ...]
    facts: tuple[Facts, ...]  # one per image
    digests: tuple[bytes, ...]  # SHA-256 of each file
    skipped: tuple[Skipped, ...]  # of the index and of the scan
    values: NDArray[Any]  # (num_images, ...): what the consumer made of each picture; (num_images, 0) without one
    num_decoded: int  # the others came from the cache


@dataclass(frozen=True)
class Consumer:
    """Who wants the pixels, and how the cache calls what it makes of them.

    Attributes:
        kind: names the values in the cache; must change whenever they could.
        shape: of the value of one picture.
        dtype: of the values.
        consume: takes (tag, pixels (n, height, width, 3) uint8) pairs, yields (tag, values (n, *shape)) pairs in order.
            None keeps the pixels themselves.
        batch_size: pictures handed over at once.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    consume: Callable[[Iterable[tuple[Any, NDArray[np.uint8]]]], Iterator[tuple[Any, NDArray[Any]]]] | None = None
    batch_size: int = 8


def keep_pixels(preprocessing: Preprocessing) -> Consumer:
    """A consumer that keeps the resized pixels: (num_images, height, width, 3) uint8."""
    return Consumer(pixels_kind(preprocessing), (*preprocessing.image_size, 3), "uint8")


def pixels_kind(preprocessing: Preprocessing) -> str:
    """What the cache calls resized pixels."""
    return f"pixels-{_decoding_kind(preprocessing)}"


def scan(
    index: ImageIndex,
    preprocessing: Preprocessing,
    *,
    cache: Cache,
    consumer: Consumer | None = None,
    num_workers: int | None = None,
    progress: Callable[[int], None] = lambda count: None,
) -> Scan:
    """Reads every picture of the index once.

    Args:
        index: what to read.
        preprocessing: image size and 16-bit range.
        cache: where facts and values of known pictures come from and those of new ones go.
        consumer: who gets the pixels; None scans without shrinking.
        num_workers: decoding threads; when None as many as there are cores and memory for, or one where most files are tiny.
        progress: called with the number of pictures just finished.

    Raises:
        DatasetError: if no picture can be used.
    """
    pass_ = _Pass(index, preprocessing, cache, consumer, progress)
    pass_.run(num_workers or useful_workers(index.root, index.images))
    usable = [i for i, facts in enumerate(pass_.facts) if facts is not None and facts.reason is None]
    skipped = [
        Skipped(index.images[i].path, facts.reason, facts.message)
        for i, facts in enumerate(pass_.facts)
        if facts is not None and facts.reason is not None
    ]
    if not usable:
        first = skipped[0] if skipped else None
        raise DatasetError(
            f"None of the {len(index.images)} files in {index.root} can be read as a picture"
            + (f"; the first, {first.path!r}: {first.message}." if first else ".")
        )
    values = pass_.values
    if len(usable) < len(index.images):
        for new, old in enumerate(usable):  # in place: `values` may be larger than the memory
            values[new] = values[old]
        values = values[: len(usable)]
    return Scan(
        images=tuple(index.images[i] for i in usable),
        facts=tuple(f for f in pass_.facts if f is not None and f.reason is None),
        digests=tuple(pass_.digests[i] for i in usable),
        skipped=(*index.skipped, *skipped),
        values=values,
        num_decoded=pass_.num_decoded,
    )


def useful_workers(root: str, images: Sequence[LabeledImage]) -> int:
    """How many decoding threads are quickest: files below 4 kB take less time than threads take to pass on Python's lock."""
    sizes = []
    for image in images[:: max(len(images) // _NUM_SIZED, 1)]:
        with contextlib.suppress(OSError):
            sizes.append(os.stat(f"{root}/{image.path}").st_size)
    return 1 if sizes and float(np.median(sizes)) < _TINY_BYTES else num_workers_that_fit()


def thumbnails(
    root: Path, scanned: Scan, positions: Sequence[int], preprocessing: Preprocessing, cache: Cache
) -> dict[str, bytes]:
    """Small JPEGs of some pictures by path, from the cache; decoded again only if the cache has lost them.

    There is none of a picture that has changed or vanished since.
    """
    kind = f"thumbnail-{_decoding_kind(preprocessing)}"
    wanted = {scanned.images[i].path: scanned.digests[i] for i in positions}
    cached = cache.get(kind, list(wanted.values()))
    result = {}
    for path, digest in wanted.items():
        if digest in cached:
            kept = cached[digest]
            result[path] = thumbnail(_from_ppm(kept)) if kept.startswith(b"P6") else kept
            continue
        with contextlib.suppress(DecodeError):
            content = read_file(root / path)
            if hashlib.sha256(content).digest() == digest:
                white = preprocessing.sixteen_bit_max
                result[path] = thumbnail(decode(content, cover=preprocessing.image_size, sixteen_bit_max=white).pixels)
    return result


def _small_copy(pixels: NDArray[np.uint8]) -> bytes:
    height, width = pixels.shape[:2]
    return b"P6 %d %d 255\n" % (width, height) + pixels.tobytes() if height * width <= _TINY_PIXELS else thumbnail(pixels)


def _from_ppm(content: bytes) -> NDArray[np.uint8]:
    header, _, pixels = content.partition(b"\n")
    width, height = (int(number) for number in header.split()[1:3])
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3)


def allocate(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """An array in memory, or, above 1 GB, in a temporary file that vanishes with it.

    Raises:
        FieldguideError: if the disk has no room for that file.
    """
    size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size_bytes <= _MEMORY_LIMIT_BYTES:
        return np.empty(shape, dtype)
    with saving(Path(tempfile.gettempdir())), tempfile.TemporaryFile(prefix="fieldguide-") as file:
        if hasattr(os, "posix_fallocate"):  # without it a full disk kills the process at the first write that finds no room
            os.posix_fallocate(file.fileno(), 0, size_bytes)
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def take(values: NDArray[Any], positions: NDArray[np.int64]) -> NDArray[Any]:
    """The rows at ascending positions: `values` itself where that is all of them, else a copy, on disk if it is large."""
    if len(positions) == len(values):
        return values
    result = allocate((len(positions), *values.shape[1:]), str(values.dtype))
    for start in range(0, len(positions), _ROWS_PER_COPY):
        result[start : start + _ROWS_PER_COPY] = values[positions[start : start + _ROWS_PER_COPY]]
    return result


def _decoding_kind(preprocessing: Preprocessing) -> str:
    height, width = preprocessing.image_size
    return f"{DECODER_VERSION}-{height}x{width}-{preprocessing.sixteen_bit_max or 65535}"


@dataclass
class _Read:
    """One file after a worker has seen it."""

    position: int
    digest: bytes
    facts: Facts
    value: bytes | None = None  # from the cache
    pixels: NDArray[np.uint8] | None = None  # decoded now and shrunk, where a consumer wants them
    thumbnail: bytes | None = None
    grey: NDArray[np.uint8] | None = None  # until its looks are measured
    is_decoded: bool = False  # now, or tried to


class _Pass:
    """The state of one pass: what is known of each file so far, and what still has to go to the cache."""

    def __init__(
        self,
        index: ImageIndex,
        preprocessing: Preprocessing,
        cache: Cache,
        consumer: Consumer | None,
        progress: Callable[[int], None],
    ) -> None:
        self.index, self.preprocessing, self.cache, self.consumer = index, preprocessing, cache, consumer
        self.progress = progress
        count = len(index.images)
        self.facts: list[Facts | None] = [None] * count
        self.digests: list[bytes] = [b""] * count
        shape, dtype = (consumer.shape, consumer.dtype) if consumer else ((0,), "uint8")
        self.values = allocate((count, *shape), dtype)
        self.num_decoded = 0
        self.facts_kind = f"facts-{LOOKS_VERSION}-{_decoding_kind(preprocessing)}"
        self.thumbnail_kind = f"thumbnail-{_decoding_kind(preprocessing)}"

    def run(self, num_workers: int) -> None:
        positions = range(len(self.facts))
        reads = in_order(self._read, positions, num_workers=num_workers, items_per_task=_FILES_PER_TASK)
        batches = self._batches(reads)
        consume = self.consumer.consume if self.consumer else None
        for read, values in consume(batches) if consume else batches:
            self._keep(read, values)

    def _read(self, positions: Sequence[int]) -> list[_Read]:
        """Runs in a worker: reads and hashes some files, and decodes those the cache does not know."""
        contents: dict[int, bytes] = {}
        results: dict[int, _Read] = {}
        for position in positions:
            try:
                contents[position] = read_file(f"{self.index.root}/{self.index.images[position].path}")
            except DecodeError as error:
                results[position] = _Read(position, b"", Facts(reason=error.reason, message=str(error)))
            if sum(map(len, contents.values())) > _BYTES_AT_ONCE:  # few large files, not sixteen
                results |= self._look(contents)
                contents = {}
        results |= self._look(contents)
        return [results[position] for position in positions]

    def _look(self, contents: Mapping[int, bytes]) -> dict[int, _Read]:
        results: dict[int, _Read] = {}
        digests = {position: hashlib.sha256(content).digest() for position, content in contents.items()}
        known = self.cache.get(self.facts_kind, list(digests.values()))
        values = self.cache.get(self.consumer.kind, list(digests.values())) if self.consumer else {}
        for position, content in contents.items():
            digest = digests[position]
            facts = Facts.unpack(known[digest]) if digest in known else None
            if facts is not None and (facts.reason or self.consumer is None or digest in values):
                results[position] = _Read(position, digest, facts, values.get(digest))
            else:
                results[position] = self._decode(position, digest, content, values.get(digest))
        fresh = [read for read in results.values() if read.grey is not None]
        for read, looks in zip(fresh, measure([read.grey for read in fresh if read.grey is not None]), strict=True):
            read.facts, read.grey = dataclasses.replace(read.facts, looks=looks), None
        return results

    def _decode(self, position: int, digest: bytes, content: bytes, value: bytes | None) -> _Read:
        size = self.preprocessing.image_size
        try:
            decoded = decode(content, cover=size, sixteen_bit_max=self.preprocessing.sixteen_bit_max)
        except DecodeError as error:
            return _Read(position, digest, Facts(reason=error.reason, message=str(error)), is_decoded=True)
        hasher = hashlib.sha256(b"%d %d" % decoded.pixels.shape[:2])
        hasher.update(decoded.pixels.data)
        grey, sketch = grey_copies(decoded.pixels)
        facts = Facts(
            decoded.format,
            decoded.size,
            hasher.hexdigest(),
            decoded.brightest,
            decoded.is_animated,
            num_bytes=len(content),
            camera=decoded.camera,
            sketch=sketch,
        )
        # Where the facts are of an older kind the value may be there all the same: then nobody needs the pixels.
        pixels = shrink(decoded.pixels, size) if self.consumer and value is None else None
        # A thumbnail of the shrunk picture would be squeezed to a square; it costs no more from the decoded one.
        return _Read(position, digest, facts, value, pixels, _small_copy(decoded.pixels), grey, is_decoded=True)

    def _batches(self, reads: Iterable[_Read]) -> Iterator[tuple[list[_Read], NDArray[np.uint8]]]:
        """Books every read; yields those whose pixels the consumer still has to see, in batches of equal size."""
        waiting: list[_Read] = []
        fresh: list[_Read] = []
        for read in reads:
            self.digests[read.position], self.facts[read.position] = read.digest, read.facts
            if read.is_decoded and read.facts.reason not in _PASSING_REASONS:
                fresh.append(read)
            if read.pixels is None:
                if read.value is not None and self.consumer is not None:
                    self.values[read.position] = np.frombuffer(read.value, self.consumer.dtype).reshape(self.consumer.shape)
                self.progress(1)
            else:
                waiting.append(read)
            if len(fresh) >= _FACTS_PER_TRANSACTION:
                self._store_facts(fresh)
                fresh = []
            if self.consumer is not None and len(waiting) == self.consumer.batch_size:
                yield waiting, np.stack([r.pixels for r in waiting if r.pixels is not None])
                waiting = []
        self._store_facts(fresh)
        if waiting:
            yield waiting, np.stack([r.pixels for r in waiting if r.pixels is not None])

    def _store_facts(self, reads: list[_Read]) -> None:
        self.num_decoded += sum(read.thumbnail is not None for read in reads)
        self.cache.put(self.facts_kind, {r.digest: r.facts.pack() for r in reads if r.digest})
        self.cache.put(self.thumbnail_kind, {r.digest: r.thumbnail for r in reads if r.thumbnail is not None})

    def _keep(self, reads: list[_Read], values: NDArray[Any]) -> None:
        if self.consumer is None:
            return
        values = np.ascontiguousarray(values, dtype=self.consumer.dtype)
        for read, value in zip(reads, values, strict=True):
            self.values[read.position] = value
            read.pixels = None
        self.cache.put(self.consumer.kind, [(r.digest, v.tobytes()) for r, v in zip(reads, values, strict=True)])
        self.progress(len(reads))


def is_misnamed(path: str, format_name: str) -> bool:
    """Whether a picture's extension is of another format than its content."""
    usual = FORMATS.get("JPEG" if format_name == "MPO" else format_name)
    return usual is not None and not path.lower().endswith(tuple(usual))
