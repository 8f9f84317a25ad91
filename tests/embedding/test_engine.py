"""The engine: order, any batch size, equal bits, and what its import must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.embedding.engine import Engine, available_precision, openvino_module, read_network, save_network
from fieldguide.embedding.graph import build_network
from fieldguide.errors import BundleError, RecipeError
from fieldguide.models.operations import Network
from fieldguide.models.weights import pretrained_weights


@pytest.fixture(scope="module")
def network_path(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    path = tmp_path_factory.mktemp("network") / "network.xml"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDGUIDE_CACHE", str(shared_cache))
        save_network(build_network(Network("efficientnet_lite0", (64, 64)), pretrained_weights("efficientnet_lite0")), path)
    return path


@pytest.fixture(scope="module")
def engine(network_path: Path) -> Engine:
    return Engine(network_path, precision="f32")


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (37, 64, 64, 3), dtype=np.uint8)


def in_a_new_process(code: str, **environment: str) -> str:
    values = {**os.environ, **environment}
    values.pop("CI", None)  # OpenVINO sends nothing where it is set
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=values, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_network_says_what_it_takes_and_gives(engine: Engine) -> None:
    assert (engine.image_size, engine.embedding_size, engine.precision) == ((64, 64), 1280, "f32")


@pytest.mark.parametrize("num_images", [0, 1, 7, 8, 9, 37])
def test_any_number_of_pictures_gives_the_same_bits(engine: Engine, pixels: NDArray[np.uint8], num_images: int) -> None:
    together = engine.embed(pixels)
    part = engine.embed(pixels[:num_images])
    assert part.shape == (num_images, 1280)
    assert part.dtype == np.float32
    assert np.array_equal(part, together[:num_images])


@pytest.mark.parametrize("settings", [{"latency": True}, {"num_threads": 1}, {"num_threads": 2}])
def test_threads_and_streams_give_the_same_bits(
    engine: Engine, network_path: Path, pixels: NDArray[np.uint8], settings: dict[str, int]
) -> None:
    other = Engine(network_path, precision="f32", **settings)  # type: ignore[arg-type]
    assert np.array_equal(other.embed(pixels), engine.embed(pixels))


def test_a_stream_keeps_its_order_whatever_the_sizes_of_its_batches(engine: Engine, pixels: NDArray[np.uint8]) -> None:
    ends = [1, 14, 15, 17, 30, 37]
    starts = [0, *ends[:-1]]
    stream = engine.embed_stream((f"from {a}", pixels[a:b]) for a, b in zip(starts, ends, strict=True))
    tags, parts = zip(*stream, strict=True)
    assert tags == tuple(f"from {a}" for a in starts)
    assert np.array_equal(np.concatenate(parts), engine.embed(pixels))


def test_a_stream_reads_ahead_but_not_far(engine: Engine, pixels: NDArray[np.uint8]) -> None:
    read = []

    def batches() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number in range(1000):
            read.append(number)
            yield number, pixels[:1]

    stream = engine.embed_stream(batches())
    next(stream)
    assert 2 <= len(read) < 500
    stream.close()  # type: ignore[attr-defined]


def test_an_error_of_the_producer_comes_through(engine: Engine, pixels: NDArray[np.uint8]) -> None:
    def batches() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        yield 0, pixels[:3]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(engine.embed_stream(batches()))


def test_pictures_that_do_not_fit_are_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(num_images, 64, 64, 3\); received float32 \(1, 64, 64, 3\)"):
        engine.embed(np.zeros((1, 64, 64, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"received uint8 \(64, 64, 3\)"):
        engine.embed(np.zeros((64, 64, 3), np.uint8))


def test_an_unknown_precision_is_refused_with_the_choices(network_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"'f16'(.|\n)*auto, bf16, f32"):
        Engine(network_path, precision="f16")


def test_auto_is_the_precision_that_openvino_would_choose(network_path: Path) -> None:
    assert available_precision() in ("bf16", "f32")
    assert Engine(network_path).precision == available_precision()


def test_bf16_is_refused_where_the_processor_lacks_it(network_path: Path) -> None:
    if "BF16" in openvino_module().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has bf16, or emulates it")
    with pytest.raises(RecipeError, match="has no bf16"):
        Engine(network_path, precision="bf16")


def test_a_damaged_network_is_refused(network_path: Path, tmp_path: Path) -> None:
    xml, numbers = tmp_path / "network.xml", tmp_path / "network.bin"
    xml.write_text(network_path.read_text("utf-8")[:5000], "utf-8")
    numbers.write_bytes(network_path.with_suffix(".bin").read_bytes())
    with pytest.raises(BundleError, match="cannot be read as a network"):
        read_network(xml)
    xml.write_bytes(network_path.read_bytes())
    numbers.write_bytes(numbers.read_bytes()[:1000])
    with pytest.raises(BundleError, match="cannot be read as a network"):
        read_network(xml)
    with pytest.raises(BundleError, match=r"missing\.xml cannot be read: No such file"):
        read_network(tmp_path / "missing.xml")


def test_a_network_that_takes_something_else_is_refused(tmp_path: Path) -> None:
    openvino = openvino_module()
    x = openvino.opset13.parameter([-1, 5], np.float32)
    save_network(openvino.Model([openvino.opset13.relu(x)], [x], "other"), tmp_path / "other.xml")
    with pytest.raises(BundleError, match=r"should take pictures.*it has f32\[\?,5\] and f32\[\?,5\]"):
        read_network(tmp_path / "other.xml")


def test_importing_the_engine_imports_neither_openvino_nor_tensorflow() -> None:
    code = "import sys, fieldguide.embedding.engine, fieldguide.embedding.graph; print(sorted(sys.modules))"
    modules = in_a_new_process(code)
    assert "'fieldguide.embedding.engine'" in modules
    assert not any(f"'{name}'" in modules for name in ("openvino", "tensorflow", "keras", "torch"))


def test_the_engine_runs_without_the_telemetry_of_openvino_and_without_tensorflow(network_path: Path, tmp_path: Path) -> None:
    code = f"""
import socket, sys
from pathlib import Path
def refuse(*args, **kwargs): raise SystemExit("a socket was opened")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
from fieldguide.embedding.engine import Engine
Engine(Path({str(network_path)!r})).embed(np.zeros((1, 64, 64, 3), np.uint8))
assert sys.modules["openvino_telemetry"] is None
print([name for name in sys.modules if name.startswith(("openvino_telemetry.", "tensorflow", "keras"))])
"""
    home = tmp_path / "home"
    home.mkdir()
    assert in_a_new_process(code, HOME=str(home), USERPROFILE=str(home)) == "[]"
    assert list(home.iterdir()) == []


OVERLAPPING_ENGINES = """
import gc, signal, sys
import numpy as np
from fieldguide.embedding.engine import Engine, openvino_module
opset = openvino_module().opset13
def network():
    pixels = opset.parameter([-1, 8, 8, 3], np.uint8)
    mean = opset.reduce_mean(opset.convert(pixels, np.float32), np.array([1, 2]), keep_dims=False)
    return openvino_module().Model([mean], [pixels], "mean")
first = Engine(network(), precision="f32")
second = Engine(network(), precision="f32")
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGINT, lambda *_: print("heard"))
signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals have stacks there only")
def test_a_signal_is_heard_after_two_engines_whose_lives_overlapped():
    done = subprocess.run([sys.executable, "-c", OVERLAPPING_ENGINES], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "heard")
