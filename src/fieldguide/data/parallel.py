"""Work on threads, results in order; as many threads as there are cores, and memory for."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from fieldguide.data.decoding import MAX_DECODED_PIXELS

BYTES_PER_WORKER = 24 * MAX_DECODED_PIXELS  # above what the largest picture takes while it is decoded, as WebP

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Sequence[Item]], list[Result]], items: Iterable[Item], *, num_workers: int, items_per_task: int
) -> Iterator[Result]:
    """Applies `work` to slices of the items on threads, a few tasks ahead, and yields the results in order.

    Args:
        work: takes some items, returns one result for each.
        items: consumed as the work proceeds.
        num_workers: threads.
        items_per_task: larger for small work, since each task costs some 50 microseconds.
    """
    source = iter(items)
    tasks: deque[Future[list[Result]]] = deque()
    with ThreadPoolExecutor(num_workers, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(tasks) < 4 * num_workers:
                    chunk = list(islice(source, items_per_task))
                    if not chunk:
                        break
                    tasks.append(pool.submit(work, chunk))
                if not tasks:
                    return
                yield from tasks.popleft().result()
        finally:
            for task in tasks:
                task.cancel()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keeps BLAS to one thread: several wait for each other spinning, and for long when another program needs a core."""
    with _blas().limit(limits=1, user_api="blas"):
        yield


@contextlib.contextmanager
def own_threads() -> Iterator[ThreadPoolExecutor]:
    """Threads for matrix products, one BLAS thread in each."""
    with one_blas_thread(), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield pool


@cache
def _blas() -> ThreadpoolController:
    """Finds the BLAS libraries once, which takes milliseconds; SciPy brings one of its own, so it has to be there by then."""
    importlib.import_module("scipy.linalg")
    return ThreadpoolController()


def slices(stop: int, size: int, start: int = 0) -> Iterator[slice]:
    """Consecutive slices of start .. stop - 1, `size` in each but the last.

    >>> list(slices(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))


def num_workers_that_fit() -> int:
    """As many decoders as there are cores, or fewer where each might meet the largest picture at once."""
    cores, free = os.cpu_count() or 1, free_bytes()
    return cores if free is None else max(1, min(cores, free // BYTES_PER_WORKER))


def free_bytes() -> int | None:
    """The memory that can be had without swapping, within the limit of a container; None where the system does not say."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (
            int(Path("/sys/fs/cgroup", name).read_text(encoding="ascii")) for name in ("memory.max", "memory.current")
        )
        found.append(max(limit - used, 0))
    return min(found, default=None)
