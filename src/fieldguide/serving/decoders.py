"""Decoding in worker processes: a picture can crash, hang or bloat a worker, never the server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import DecodeError
from fieldguide.records import Preprocessing
from fieldguide.serving.limits import Limits
from fieldguide.serving.worker import REPLY, REQUEST

_START_SECONDS = 30.0
_RETRY_SECONDS = 1.0


class NoDecoderFree(Exception):
    """No worker became free in time: the server has more to do than it can."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as the network takes it."""

    pixels: NDArray[np.uint8]  # (*image_size, 3), RGB
    format: str  # Pillow's name: JPEG, PNG, ...


class Decoders:
    """A few worker processes, of which each decodes one picture at a time.

    Attributes:
        num_alive: workers that can take pictures.
        num_replaced: workers that crashed or had to be ended.
    """

    def __init__(self, preprocessing: Preprocessing, limits: Limits, *, num_workers: int) -> None:
        self._preprocessing, self._limits, self._num_workers = preprocessing, limits, num_workers
        self._free: asyncio.LifoQueue[Process] = asyncio.LifoQueue()  # the one that worked last has warm caches
        self._all: set[Process] = set()
        self._chores: set[asyncio.Task[None]] = set()  # starting and ending of workers, beside the requests
        self._watches: set[asyncio.Task[None]] = set()  # one for each worker, which ends with it
        self._is_closing = False
        self.num_replaced = 0

    @property
    def num_alive(self) -> int:
        """Workers that can take pictures, now or when their picture is done."""
        return len(self._all)

    async def start(self) -> None:
        """Starts the workers and waits until they are ready."""
        await asyncio.gather(*(self._start_one() for _ in range(self._num_workers)))

    async def close(self) -> None:
        """Ends the workers."""
        self._is_closing = True
        await asyncio.gather(*self._chores)
        await asyncio.gather(*(_end(process) for process in self._all))
        await asyncio.gather(*self._watches)
        self._all.clear()

    async def decode(self, content: bytes) -> Prepared:
        """Decodes and shrinks one picture.

        Raises:
            DecodeError: as `data.decoding.decode`; also `timeout` and `crashed`.
            NoDecoderFree: if none is free within `Limits.wait_seconds`.
        """
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                process = await self._free.get()
                while process not in self._all or process.returncode is not None:  # it died while it waited for a picture
                    process = await self._free.get()
        except TimeoutError:
            raise NoDecoderFree from None
        try:
            async with asyncio.timeout(self._limits.decode_seconds):
                about, pixels = await _ask(process, content)
        except TimeoutError:
            self._replace(process)
            seconds = f"{self._limits.decode_seconds:g}"
            raise DecodeError("timeout", f"it takes more than {seconds} seconds to decode") from None
        except (OSError, asyncio.IncompleteReadError):
            self._replace(process)
            raise DecodeError("crashed", "the decoder could not cope with it") from None
        except BaseException:  # cancelled in the middle of an answer, which nobody will read
            self._replace(process)
            raise
        self._free.put_nowait(process)
        if "reason" in about:
            raise DecodeError(about["reason"], about["message"])
        shape = (*self._preprocessing.image_size, 3)
        return Prepared(np.frombuffer(pixels, np.uint8).reshape(shape), about["format"])

    async def _start_one(self) -> None:
        (height, width), white = self._preprocessing.image_size, self._preprocessing.sixteen_bit_max or 0
        numbers = (height, width, white, self._limits.decode_memory_bytes)
        # -P: the folder the server was started in is no place to import from. -W: Pillow warns of what is odd in a stranger's
        # picture, which would be a line in the log for each.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-W", "ignore", "-m", "fieldguide.serving.worker", *map(str, numbers)),
            stdin=PIPE,
            stdout=PIPE,
            limit=4 * height * width * 3,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # its threads would only take address space
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for; tells the type checker
        try:
            async with asyncio.timeout(_START_SECONDS):
                await process.stdout.readexactly(1)
        except BaseException:
            await _end(process)
            raise
        self._all.add(process)
        self._free.put_nowait(process)
        _remember(asyncio.create_task(self._watch(process)), self._watches)

    async def _watch(self, process: Process) -> None:
        """Replaces a worker that has died, also where no picture was under way to notice it."""
        await process.wait()
        if not self._is_closing:
            self._replace(process)

    def _replace(self, process: Process) -> None:
        if process not in self._all:
            return  # it is being replaced
        self._all.discard(process)
        self.num_replaced += 1

        async def start_until_it_works() -> None:
            await _end(process)
            while not self._is_closing:
                try:
                    return await self._start_one()
                except (OSError, TimeoutError, asyncio.IncompleteReadError):  # the system is short of something
                    await asyncio.sleep(_RETRY_SECONDS)

        _remember(asyncio.create_task(start_until_it_works()), self._chores)


def _remember(task: asyncio.Task[None], tasks: set[asyncio.Task[None]]) -> None:
    """Keeps a task from being collected before it has ended."""
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _end(process: Process) -> None:
    """Kills a worker, whatever it does, and waits until nothing of it is left."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.communicate()


async def _ask(process: Process, content: bytes) -> tuple[dict[str, str], bytes]:
    source, target = process.stdout, process.stdin
    assert source is not None and target is not None  # noqa: S101 - pipes were asked for; tells the type checker
    target.write(REQUEST.pack(len(content)))
    target.write(content)
    await target.drain()
    text_bytes, pixel_bytes = REPLY.unpack(await source.readexactly(REPLY.size))
    return json.loads(await source.readexactly(text_bytes)), await source.readexactly(pixel_bytes)
