from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("fastapi")

from fieldguide.serving.batching import MAX_BATCH, Batcher

SIZE = (2, 2)
STREAMS = 2


class Slow:
    """Classifies a picture as its first pixel, on `streams`, all of which have to be at work before a batch is done."""

    image_size = SIZE

    def __init__(self, streams: int = 1) -> None:
        self.sizes: list[int] = []
        self._streams, self._barrier = streams, threading.Barrier(streams, timeout=20)
        self.is_warm = False

    def engine(self, *, latency: bool = False) -> Any:
        return SimpleNamespace(num_streams=self._streams)

    def predict_prepared(self, pixels: NDArray[np.uint8]) -> list[int]:
        if self.is_warm:
            self.sizes.append(len(pixels))
            self._barrier.wait()
        if pixels[0, 0, 0, 0] == 255:
            raise ValueError("this one cannot be classified")
        return pixels[:, 0, 0, 0].tolist()


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((*SIZE, 3), value, np.uint8)


def run(classifier: Slow, ask: Any) -> Any:
    async def whole() -> Any:
        batcher = Batcher(classifier)  # type: ignore[arg-type]
        await batcher.start()
        classifier.is_warm = True
        try:
            return await asyncio.wait_for(ask(batcher), 30)
        finally:
            await batcher.close()

    return asyncio.run(whole())


def test_every_picture_gets_its_own_answer_and_as_many_batches_run_at_once_as_the_engine_has_streams() -> None:
    async def ask(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(batcher.predict(picture(value)) for value in range(2 * MAX_BATCH)))

    classifier = Slow(streams=STREAMS)
    assert run(classifier, ask) == list(range(2 * MAX_BATCH))
    assert max(classifier.sizes) <= MAX_BATCH
    assert len(classifier.sizes) % STREAMS == 0


def test_pictures_that_come_as_a_batch_ends_are_answered_too() -> None:
    """Each client asks again in the very step of the loop in which it is answered."""

    async def client(batcher: Batcher, value: int) -> list[Any]:
        return [await batcher.predict(picture((value + step) % 200)) for step in range(50)]

    async def ask(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(client(batcher, value) for value in range(5)))

    assert run(Slow(), ask) == [[(value + step) % 200 for step in range(50)] for value in range(5)]


def test_a_batch_that_fails_says_so_to_those_who_asked_and_the_next_is_answered() -> None:
    async def ask(batcher: Batcher) -> Any:
        with pytest.raises(ValueError, match="cannot be classified"):
            await batcher.predict(picture(255))
        return await batcher.predict(picture(7))

    assert run(Slow(), ask) == 7
