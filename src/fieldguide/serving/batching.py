"""Pictures of many requests through the engine together: those that came while it worked are the next batch."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier
from fieldguide.errors import BundleError
from fieldguide.records import Prediction

MAX_BATCH = 16


class Batcher:
    """One thread that classifies; no picture waits for others to come, only for those before it to be done."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._waiting: list[tuple[NDArray[np.uint8], asyncio.Future[Prediction]]] = []
        self._work: asyncio.Task[None] | None = None
        self.batch_sizes: dict[int, int] = {}  # size -> how many of that size there were

    @property
    def num_waiting(self) -> int:
        """Pictures that wait for the engine."""
        return len(self._waiting)

    async def start(self) -> None:
        """Loads and warms the network, so that the first picture is as fast as the others."""
        blank = np.zeros((*self._classifier.image_size, 3), np.uint8)
        await asyncio.gather(*(self.predict(blank) for _ in range(MAX_BATCH)))
        self.batch_sizes.clear()

    async def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """The answer for one picture, (*image_size, 3) RGB uint8."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((pixels, future))
        if self._work is None:
            self._work = loop.create_task(self._until_none_waits())
        return await future

    async def explain(self, pixels: NDArray[np.uint8]) -> tuple[Prediction, NDArray[np.float32] | None]:
        """The answer, and the evidence for the nearest class by place, (rows, columns).

        It is None where the network does not end in maps that can be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._explain, pixels)

    def _explain(self, pixels: NDArray[np.uint8]) -> tuple[Prediction, NDArray[np.float32] | None]:
        try:
            embeddings, evidence = self._classifier.evidence(pixels[None])
        except BundleError:
            return self._classifier.predict_prepared(pixels[None])[0], None
        (prediction,) = self._classifier.of_embeddings(embeddings, [None])
        names = self._classifier.class_names
        return prediction, evidence[0, names.index(prediction.nearest_class or names[0])]

    async def close(self) -> None:
        """Waits for the pictures that are under way."""
        if self._work is not None:
            await self._work
        self._thread.shutdown()

    async def _until_none_waits(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            self.batch_sizes[len(batch)] = self.batch_sizes.get(len(batch), 0) + 1
            futures = [future for _, future in batch]
            try:
                pixels = np.stack([picture for picture, _ in batch])
                answers = await loop.run_in_executor(self._thread, self._classifier.predict_prepared, pixels)
            except Exception as error:  # whoever asked shall hear of it; the next batch may do better
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future, answer in zip(futures, answers, strict=True):
                    if not future.done():  # the one who asked may be gone
                        future.set_result(answer)
        self._work = None
