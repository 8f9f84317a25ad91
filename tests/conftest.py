"""Pictures made on the spot: three hues with noise, learnable in seconds."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fieldguide
from fieldguide.cli import main


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: a test waits for disks, browsers and processes of its own a third of its time."""
    return (os.cpu_count() or 1) + 1


# A shell that starts a command with `&` lets it ignore Ctrl-C, which the tests of interrupts and their children need.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for the tests that run ONNX Runtime themselves

HUES = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def noisy_picture(color: tuple[int, int, int], seed: int, size: tuple[int, int] = (40, 48)) -> Image.Image:
    """A picture of one color with noise; size is (height, width)."""
    rng = np.random.default_rng(seed)
    pixels = np.array(color) + rng.normal(0, 12, (*size, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def as_bytes(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


TINY = {f"training_set/{hue}": 20 for hue in HUES} | {f"test_set/{hue}": 6 for hue in HUES}


def write_folder(root: Path, counts: dict[str, int], *, first_seed: int = 0) -> Path:
    """Writes that many JPEGs into each folder under `root`: {"train/red": 5, "test/red": 2}."""
    seed = first_seed
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        color = HUES.get(Path(name).name, (128, 128, 128))
        for number in range(count):
            noisy_picture(color, seed).save(root / name / f"{number:03d}.jpg")
            seed += 1
    return root


def cli(*arguments: str) -> int:
    """Runs the command line in this process; returns its exit status."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all processes of the session, so that weights are converted once; never the user's."""
    folder = tmp_path_factory.getbasetemp()  # with pytest-xdist a folder of the process's own, next to those of the others
    cache = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(autouse=True)
def _own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(shared_cache))
    yield


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """`write_folder`, into a folder of the test's own."""

    def make(counts: dict[str, int], *, root: Path | None = None, first_seed: int = 0) -> Path:
        return write_folder(root or tmp_path / "dataset", counts, first_seed=first_seed)

    return make


@pytest.fixture
def tiny_folder(tmp_path: Path) -> Path:
    """Three colors, 20 training and 6 test pictures each."""
    return write_folder(tmp_path / "dataset", TINY)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three colors; a damaged file, a copy and a leak planted. Shared: never written to by a test."""
    root = tmp_path_factory.mktemp("photos") / "colors"
    seed = 0
    for part, count in (("training_set", 20), ("test_set", 8)):
        for hue, color in HUES.items():
            (root / part / hue).mkdir(parents=True)
            for number in range(count):
                noisy_picture(color, seed).save(root / part / hue / f"{number:03d}.jpg")
                seed += 1
    red = root / "training_set" / "red"
    shutil.copyfile(red / "000.jpg", red / "copy of 000.jpg")
    shutil.copyfile(red / "001.jpg", root / "test_set" / "red" / "leaked.jpg")
    (red / "damaged.jpg").write_bytes((red / "002.jpg").read_bytes()[:300])
    return root


@pytest.fixture(scope="session")
def run_folder(photos: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished `transfer` run on `photos`. Shared: never written to by a test."""
    out = tmp_path_factory.mktemp("runs") / "colors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIELDGUIDE_CACHE", str(shared_cache))
        run = fieldguide.train(photos, out=out, progress=False)
    assert run.scores["test"]["accuracy"] == 1.0
    return out


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a notebook is given to show, one after the other in one place."""
    bundles: list[dict[str, Any]] = []

    class Handle:
        def update(self, bundle: dict[str, Any], raw: bool) -> None:
            assert raw
            bundles.append(bundle)

    def display(bundle: dict[str, Any], raw: bool, display_id: bool) -> Handle:
        assert not bundles, "displayed once, updated from then on"
        bundles.append(bundle)
        return Handle()

    kernel = types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel="here"), version_info=(9, 0))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    return bundles
