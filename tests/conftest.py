"""Pictures made on the spot: three hues with noise, learnable in seconds."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the session, so that weights are converted once; never the user's."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(shared_cache))
    yield


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """make_folder({"train/red": 5, "test/red": 2}) writes that many JPEGs per folder."""

    def make(counts: dict[str, int], *, root: Path | None = None, first_seed: int = 0) -> Path:
        folder = root or tmp_path / "dataset"
        seed = first_seed
        for name, count in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            color = HUES.get(Path(name).name, (128, 128, 128))
            for number in range(count):
                noisy_picture(color, seed).save(folder / name / f"{number:03d}.jpg")
                seed += 1
        return folder

    return make


@pytest.fixture
def tiny_folder(make_folder: Callable[..., Path]) -> Path:
    """Three colors, 20 training and 6 test pictures each."""
    counts = {f"training_set/{hue}": 20 for hue in HUES} | {f"test_set/{hue}": 6 for hue in HUES}
    return make_folder(counts)
