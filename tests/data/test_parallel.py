"""How many decoders there is room for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fieldguide.data import parallel
from fieldguide.data.cache import Cache
from fieldguide.data.index import index_folder
from fieldguide.data.parallel import BYTES_PER_WORKER, free_bytes, num_workers_that_fit
from fieldguide.data.scan import scan
from fieldguide.records import Preprocessing


@pytest.mark.parametrize(
    ("free", "expected"),
    [(None, 64), (0, 1), (BYTES_PER_WORKER // 2, 1), (3 * BYTES_PER_WORKER, 3), (1000 * BYTES_PER_WORKER, 64)],
)
def test_decoders_are_as_many_as_there_is_memory_for(monkeypatch: pytest.MonkeyPatch, free: int | None, expected: int):
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(parallel, "free_bytes", lambda: free)
    assert num_workers_that_fit() == expected


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch):
    files = {"/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    4000000 kB\n"}
    original = Path.read_text

    def read_text(self: Path, *args: str, **options: str) -> str:
        name = self.as_posix()
        if name in files:
            return files[name]
        if name.startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(name)
        return original(self, *args, **options)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert free_bytes() == 4_096_000_000
    files |= {"/sys/fs/cgroup/memory.max": "max\n", "/sys/fs/cgroup/memory.current": "1000\n"}
    assert free_bytes() == 4_096_000_000
    files["/sys/fs/cgroup/memory.max"] = "2000001000\n"
    assert free_bytes() == 2_000_000_000
    files.clear()
    assert free_bytes() is None


def test_large_files_are_not_held_sixteen_at_a_time(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    index = index_folder(tiny_folder)
    with Cache(tmp_path / "a") as cache:
        expected = scan(index, Preprocessing((16, 16)), cache=cache)
    monkeypatch.setattr("fieldguide.data.scan._BYTES_AT_ONCE", 1)
    with Cache(tmp_path / "b") as cache:
        found = scan(index, Preprocessing((16, 16)), cache=cache)
    assert found.facts == expected.facts and found.digests == expected.digests and found.images == expected.images
