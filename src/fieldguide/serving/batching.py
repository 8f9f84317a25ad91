"""Pictures of many requests through the engine together: those that came while it worked are its next batches."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fieldguide.classifier import Classifier
from fieldguide.errors import BundleError
from fieldguide.records import Prediction

MAX_BATCH = 16


class Batcher:
    """Threads that classify, one for each stream of the engine: a batch runs on its share of the processor only.

    No picture waits for others to come, only for those before it to be done.
    """

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._engines: ThreadPoolExecutor | None = None
        self._explainer = ThreadPoolExecutor(1, thread_name_prefix="explainer")
        self._blas: threadpool_limits | None = None
        self._waiting: list[tuple[NDArray[np.uint8], asyncio.Future[Prediction]]] = []
        self._work: set[asyncio.Task[None]] = set()
        self._num_streams = 1
        self.batch_sizes: dict[int, int] = {}  # size -> how many of that size there were

    @property
    def num_waiting(self) -> int:
        """Pictures that wait for the engine."""
        return len(self._waiting)

    async def start(self) -> None:
        """Loads and warms the networks, so that the first picture is as fast as the others."""
        # One BLAS thread for as long as there are several of ours: each would set the number, and set it back, for all.
        self._blas = threadpool_limits(limits=1, user_api="blas")
        self._num_streams = await asyncio.to_thread(self._warm)
        self._engines = ThreadPoolExecutor(self._num_streams, thread_name_prefix="engine")

    def _warm(self) -> int:
        blank = np.zeros((1, *self._classifier.image_size, 3), np.uint8)
        for count in (1, MAX_BATCH):
            self._classifier.predict_prepared(np.repeat(blank, count, axis=0))
        return self._classifier.engine().num_streams

    async def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """The answer for one picture, (*image_size, 3) RGB uint8."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prediction] = loop.create_future()
        self._waiting.append((pixels, future))
        if len(self._work) < self._num_streams:
            self._work.add(loop.create_task(self._until_none_waits()))
        return await future

    async def explain(self, pixels: NDArray[np.uint8]) -> tuple[Prediction, NDArray[np.float32] | None]:
        """The answer, and the evidence for the nearest class by place, (rows, columns).

        It is None where the network does not end in maps that can be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._explainer, self._explain, pixels)

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
        await asyncio.gather(*self._work)
        for pool in (self._engines, self._explainer):
            if pool is not None:
                pool.shutdown()
        if self._blas is not None:
            self._blas.restore_original_limits()

    async def _until_none_waits(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            self.batch_sizes[len(batch)] = self.batch_sizes.get(len(batch), 0) + 1
            futures = [future for _, future in batch]
            try:
                pixels = np.stack([picture for picture, _ in batch])
                answers = await loop.run_in_executor(self._engines, self._classifier.predict_prepared, pixels)
            except Exception as error:  # whoever asked shall hear of it; the next batch may do better
                for future in futures:
                    if not future.done():
                        future.set_exception(error)
            else:
                for future, answer in zip(futures, answers, strict=True):
                    if not future.done():  # the one who asked may be gone
                        future.set_result(answer)
        self._work.discard(asyncio.current_task())  # now, not when the task has ended: who comes in between starts another
