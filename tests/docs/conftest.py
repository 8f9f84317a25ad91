"""A folder as the pages describe it, for their snippets to run in: pictures, a list of them, and a finished run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

import fieldguide
from tests.conftest import noisy_picture

COLORS = {"cats": (40, 60, 200), "dogs": (40, 180, 60), "foxes": (200, 50, 40)}


@pytest.fixture(scope="session")
def reader_folder(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Path:
    """What a reader has after the first guide; tests work on copies of it."""
    root = tmp_path_factory.mktemp("reader")
    seed = 0
    for part, num_animals in (("training_set", 6), ("test_set", 3)):
        for name in COLORS:
            for _animal in range(num_animals):
                for number in (1, 2):
                    # Numbered on from part to part: an animal is either learned from or scored on.
                    file = f"{part}/{name}/animal-{seed // 2:03d}_{number}.jpg"
                    _draw(root / "dataset" / file, name, seed)
                    seed += 1
    for name in COLORS:
        for number in range(2):
            _draw(root / "elsewhere" / name / f"{number}.jpg", name, seed)
            _draw(root / "photos" / f"{name}-{number}.jpg", name, seed + 100)
            seed += 1
        for view in ("front", "back"):
            for number in range(3):
                _draw(root / "by-camera" / name / view / f"{number}.jpg", name, seed)
                seed += 1
    shutil.copyfile(root / "photos" / "foxes-0.jpg", root / "photo.jpg")
    rows = [f"{p.relative_to(root).as_posix()},{p.parent.name},{p.stem[:10]}" for p in sorted(root.glob("dataset/*/*/*.jpg"))]
    (root / "labels.csv").write_text("path,label,group\n" + "\n".join(rows) + "\n", encoding="utf-8")
    before = os.environ.get("FIELDGUIDE_CACHE")
    os.environ["FIELDGUIDE_CACHE"] = str(shared_cache)
    try:
        fieldguide.train(root / "dataset", out=root / "runs" / "dataset", progress=False)
    finally:
        os.environ.pop("FIELDGUIDE_CACHE")
        if before is not None:
            os.environ["FIELDGUIDE_CACHE"] = before
    return root


@pytest.fixture
def workplace(reader_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the reader's folder, and the current folder."""
    copy = tmp_path / "reader"
    shutil.copytree(reader_folder, copy)
    monkeypatch.chdir(copy)
    return copy


def _draw(path: Path, name: str, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noisy_picture(COLORS[name], seed).save(path)
