"""Work on threads, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

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
