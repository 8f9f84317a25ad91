"""Runs networks, fast: the only module that imports OpenVINO, and only when something is to be run.

Throughput comes from streams: as many pictures at once as there are cores, each on one thread, instead of one picture on
all of them. Each picture's embedding is the same to the last bit whatever the batch, the number of streams or the threads.
"""

from __future__ import annotations

import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fieldguide.embedding.foreign import check_operations, check_start
from fieldguide.errors import BundleError, RecipeError
from fieldguide.storage import saving

PRECISIONS = ("auto", "bf16", "f32")
BATCH_SIZE = 8  # pictures in a request; the speed is level from 1 to 32, the memory is not

T = TypeVar("T")


def openvino_module() -> Any:
    """The module `openvino`, imported so that it cannot call home.

    Its import loads conversion tools that queue an event for Google Analytics and write a client id into the user's home.
    They take a stub of their own when `openvino_telemetry` cannot be imported, which None in `sys.modules` brings about.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def available_precision() -> str:
    """What "auto" means on this processor: "bf16" where OpenVINO would choose it by itself, else "f32".

    It is asked through a network of one operation: the list of what a processor can do also names what it only emulates.
    """
    openvino = openvino_module()
    x = openvino.opset13.parameter([1, 1], np.float32)
    smallest = openvino.Model([openvino.opset13.relu(x)], [x], "smallest")
    return "bf16" if _precision(core().compile_model(smallest, "CPU")) == "bf16" else "f32"


@cache
def core() -> Any:
    """The one `openvino.Core` of this process, which is never taken down.

    Each brings a CPU plugin of its own that gives the thread a stack for signals and, when it goes, puts back the one it
    found. Of two whose lives overlap the second puts back memory that is freed, and the next Ctrl-C ends the process.
    """
    core = openvino_module().Core()
    core.set_property({"ENABLE_MMAP": False})  # Windows can neither replace nor delete a file that is mapped
    return core


def _precision(compiled: Any) -> str:
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())


def save_network(network: Any, path: Path) -> None:
    """Writes an `openvino.Model` as `path` (`*.xml`) and its numbers, in float32, as `*.bin` beside it.

    Raises:
        FieldguideError: if they cannot be written.
    """
    with saving(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            openvino_module().save_model(network, path, compress_to_fp16=False)
        except RuntimeError as error:  # its only word for a full disk is "iostream error"
            raise OSError(f"no space, or no permission ({error})") from error


def read_network(path: Path) -> Any:
    """The `openvino.Model` that `save_network` wrote. Such a file is data: operations by name, and numbers.

    Raises:
        BundleError: if it cannot be read, or does not take pictures and give embeddings.
    """
    check_start(path)
    try:
        network = core().read_model(path)
    except RuntimeError as error:
        raise BundleError(f"{path} cannot be read as a network: {error}.\nhint: it is damaged; train again.") from error
    ends = [f"{end.get_element_type().to_string()}{end.get_partial_shape()}" for end in (*network.inputs, *network.outputs)]
    if len(network.inputs) != 1 or len(network.outputs) != 1 or not _takes_pictures(network):
        raise BundleError(
            f"{path} should take pictures, u8[?,height,width,3], and give embeddings, f32[?,size]; it has {' and '.join(ends)}."
        )
    check_operations(network, str(path))
    return network


def network_of_graph(content: bytes) -> Any:
    """The `openvino.Model` of a frozen TensorFlow graph that takes pictures, `pixels`, and gives one output.

    OpenVINO reads such graphs by itself; its conversion tools, which call home, have no part in it.

    Raises:
        RecipeError: if it has an operation that OpenVINO does not know.
    """
    with tempfile.TemporaryDirectory(prefix="fieldguide-graph-") as directory:
        path = Path(directory, "graph.pb")
        path.write_bytes(content)
        try:
            network = core().read_model(path)
        except RuntimeError as error:
            raise RecipeError(f"The model has an operation that the engine does not know: {error}") from error
    network.set_friendly_name("own")
    for output in (output for node in network.get_ordered_ops() for output in node.outputs()):
        output.get_tensor().set_names(set())  # Keras counts its names up, and the same network is to be the same file
    network.inputs[0].get_tensor().set_names({"pixels"})
    network.outputs[0].get_tensor().set_names({"embedding"})
    name_by_position(network)
    if not _takes_pictures(network):
        raise RecipeError("The model gives no embedding of a fixed size.\nhint: end it in a Dense layer.")
    try:
        check_operations(network, "The model")
    except BundleError as error:
        raise RecipeError(str(error)) from error
    return network


def name_by_position(network: Any) -> None:
    """Names a network's nodes anew: OpenVINO counts them up from the start of the process, and files should be equal."""
    for position, node in enumerate(network.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{position}")


def _takes_pictures(network: Any) -> bool:
    pixels, embedding = network.input(0), network.output(0)
    shape, size = pixels.get_partial_shape(), embedding.get_partial_shape()
    return (
        (pixels.get_element_type().to_string(), embedding.get_element_type().to_string()) == ("u8", "f32")
        and (len(shape), len(size)) == (4, 2)
        and all(axis.is_static for axis in (*list(shape)[1:], size[1]))
        and shape[3].get_length() == 3
    )


class Engine:
    """A network, ready to run.

    Args:
        network: an `openvino.Model`, or the path of one that `save_network` wrote.
        precision: "f32"; "bf16", twice as fast where the processor has it, with one top answer in some hundred changed;
            or "auto", the faster of the two here.
        num_threads: processor threads to use; all by default.
        latency: for one picture at a time, all threads work on the same one.

    Attributes:
        precision: the one in use, "bf16" or "f32".
        image_size: (height, width) that the network takes.
        embedding_size: numbers in an embedding.
        num_streams: batches that run at once, each on its share of the threads; 1 with `latency`.

    Raises:
        RecipeError: if the precision is unknown, or the processor does not have it.
        BundleError: if the network cannot be read or run.
    """

    def __init__(
        self, network: Path | Any, *, precision: str = "auto", num_threads: int | None = None, latency: bool = False
    ) -> None:
        if precision not in PRECISIONS:
            raise RecipeError(f"Unknown precision {precision!r}.\nhint: choose from {', '.join(PRECISIONS)}.")
        wanted = available_precision() if precision == "auto" else precision
        properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY" if latency else "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": wanted,
            # Pinned, two processes with one thread each would share the first core, and pictures are decoded beside us.
            "ENABLE_CPU_PINNING": False,
        }
        if num_threads is not None:
            properties["INFERENCE_NUM_THREADS"] = num_threads
        model = read_network(Path(network)) if isinstance(network, str | Path) else network
        try:
            self._compiled = core().compile_model(model, "CPU", properties)
        except RuntimeError as error:
            raise BundleError(f"The network cannot be run: {error}.") from error
        self.precision = wanted
        if _precision(self._compiled) != wanted:
            raise RecipeError(f"This processor has no {wanted}.\nhint: take --precision auto or f32.")
        _, height, width, _ = self._compiled.input(0).get_partial_shape()
        self.image_size: tuple[int, int] = (height.get_length(), width.get_length())
        self.embedding_size: int = self._compiled.output(0).get_partial_shape()[1].get_length()
        self.num_streams: int = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._num_requests = 2 * self.num_streams  # a stream that ends finds its next batch waiting
        self._idle: deque[Any] = deque()  # requests

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The embeddings of pictures: RGB uint8 (num_images, *image_size, 3) -> (num_images, embedding_size).

        Raises:
            ValueError: if the pictures have another shape or type.
        """
        self._check(pixels)
        batches = ((start, pixels[start : start + BATCH_SIZE]) for start in range(0, len(pixels), BATCH_SIZE))
        embeddings = np.empty((len(pixels), self.embedding_size), dtype=np.float32)
        for start, part in self.embed_stream(batches):
            embeddings[start : start + len(part)] = part
        return embeddings

    def embed_stream(self, batches: Iterable[tuple[T, NDArray[np.uint8]]]) -> Iterator[tuple[T, NDArray[np.float32]]]:
        """The embeddings of batches, in their order, while the next batches are still being made.

        Several requests run at once, so `batches` may spend its time decoding. It is asked for at most twice as many batches
        ahead as run at once; memory grows with the size of a batch (`BATCH_SIZE` is a good one).

        Args:
            batches: pairs of a tag, which comes back with the embeddings, and pictures as `embed` takes them.

        Raises:
            ValueError: if the pictures have another shape or type.
        """
        return ((tag, outputs[0]) for tag, outputs in self.output_stream(batches))

    def output_stream(
        self, batches: Iterable[tuple[T, NDArray[np.uint8]]]
    ) -> Iterator[tuple[T, tuple[NDArray[np.float32], ...]]]:
        """As `embed_stream`, with every output of the network: the embedding is the first."""
        running: deque[tuple[T, Any, int]] = deque()  # tag, request, pictures in it
        try:
            for tag, pixels in batches:
                self._check(pixels)
                if len(running) == self._num_requests:
                    yield self._finish(running)
                request = self._idle_request()
                # A batch whose files are all damaged goes as one black picture: OpenVINO pools no empty one.
                given = np.ascontiguousarray(pixels) if len(pixels) else np.zeros((1, *self.image_size, 3), np.uint8)
                request.start_async([given], share_inputs=True)
                running.append((tag, request, len(pixels)))
            while running:
                yield self._finish(running)
        finally:
            for _, request, _ in running:  # on an error, or when the caller stops: the pictures are still being read
                request.wait()

    def _idle_request(self) -> Any:
        """One that was used before, by whatever thread, or a new one."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def _finish(self, running: deque[tuple[T, Any, int]]) -> tuple[T, tuple[NDArray[np.float32], ...]]:
        tag, request, count = running[0]
        request.wait()
        running.popleft()
        rows = slice(None if count else 0)  # what a picture was made up for is of no picture
        outputs = tuple(np.array(tensor.data[rows], dtype=np.float32) for tensor in request.output_tensors)  # copies
        self._idle.append(request)
        return tag, outputs

    def _check(self, pixels: NDArray[np.uint8]) -> None:
        if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (*self.image_size, 3):
            raise ValueError(
                f"Expected pictures as uint8 (num_images, {self.image_size[0]}, {self.image_size[1]}, 3); "
                f"received {pixels.dtype} {pixels.shape}."
            )
