"""Runs a network with OpenVINO: uint8 pixels in, float32 embeddings out. The only module that imports OpenVINO.

`import openvino` imports its conversion tools, which queue an analytics event and write a client id into the user's home
folder. With `openvino_telemetry` marked as missing beforehand, OpenVINO takes a stub of its own and nothing is sent.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import BundleError, RecipeError

PRECISIONS = ("auto", "f32", "bf16")
Tag = TypeVar("Tag")


def openvino_module() -> Any:
    """The module `openvino`, imported without its telemetry."""
    if "openvino" not in sys.modules:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def available_precision() -> str:
    """`bf16` where the processor computes in it, else `f32`."""
    core = openvino_module().Core()
    return "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def save_network(model: Any, path: Path) -> None:
    """Writes a network as `path` (.xml) with its weights beside it (.bin), in full precision."""
    openvino_module().save_model(model, str(path), compress_to_fp16=False)


class Engine:
    """A network, compiled for this processor.

    Args:
        network: the path of a `network.xml`, or an `openvino.Model`.
        precision: `f32`, `bf16`, or `auto`: bf16 where the processor has it.
        num_threads: all cores when None.
        latency: tuned for one picture at a time and a quick start, instead of for throughput.

    Attributes:
        precision: `f32` or `bf16`, what was chosen.
        image_size: (height, width) of the input.
        embedding_size: length of one embedding.

    Raises:
        RecipeError: if the precision is unknown.
        BundleError: if the network cannot be read.
    """

    def __init__(
        self, network: Path | Any, *, precision: str = "auto", num_threads: int | None = None, latency: bool = False
    ) -> None:
        if precision not in PRECISIONS:
            raise RecipeError(f"precision must be one of {', '.join(PRECISIONS)}; received {precision!r}.")
        ov = openvino_module()
        core = ov.Core()
        self.precision = available_precision() if precision == "auto" else precision
        try:
            model = core.read_model(network) if isinstance(network, Path) else network
        except RuntimeError as error:
            raise BundleError(f"{network} is no network OpenVINO can read.\nhint: train again.") from error
        shape = model.input(0).partial_shape
        self.image_size = (shape[1].get_length(), shape[2].get_length())
        self.embedding_size = int(model.output(0).partial_shape[1].get_length())
        # One stream over all cores: two streams of one thread each are no faster here, and would give results in
        # another order of summation than a single picture gets.
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(num_threads or os.cpu_count() or 1),
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        self._compiled = core.compile_model(model, "CPU", options)
        self._num_requests = 1 if latency else 2
        self._requests = [self._compiled.create_infer_request() for _ in range(self._num_requests)]

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(num_images, *image_size, 3) RGB uint8 -> (num_images, embedding_size) float32, for any num_images."""
        batches = ((None, pixels[start : start + 32]) for start in range(0, len(pixels), 32))
        results = [embeddings for _, embeddings in self.embed_stream(batches)]
        return np.concatenate(results) if results else np.empty((0, self.embedding_size), np.float32)

    def embed_stream(
        self, batches: Iterable[tuple[Tag, NDArray[np.uint8]]]
    ) -> Iterator[tuple[Tag, NDArray[np.float32]]]:
        """Embeds a stream of (tag, pixels); yields (tag, embeddings) in order. The next batch is fetched meanwhile."""
        idle = deque(self._requests)
        running: deque[tuple[Tag, Any, NDArray[np.uint8]]] = deque()
        for tag, pixels in batches:
            if not len(pixels):
                while running:
                    yield self._finish(running, idle)
                yield tag, np.empty((0, self.embedding_size), np.float32)
                continue
            if not idle:
                yield self._finish(running, idle)
            request = idle.popleft()
            pixels = np.ascontiguousarray(pixels)
            request.start_async({0: pixels}, share_inputs=True)
            running.append((tag, request, pixels))
        while running:
            yield self._finish(running, idle)

    def _finish(
        self, running: deque[tuple[Tag, Any, NDArray[np.uint8]]], idle: deque[Any]
    ) -> tuple[Tag, NDArray[np.float32]]:
        tag, request, _ = running.popleft()
        request.wait()
        embeddings = np.array(request.get_output_tensor(0).data, np.float32)
        idle.append(request)
        return tag, embeddings
