"""A disk that fills up or becomes read-only in the middle of a run: a clear error, and nothing saved before is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fieldguide
from fieldguide.data.scan import allocate
from fieldguide.errors import FieldguideError
from fieldguide.recipes.transfer import Transfer
from fieldguide.workflow import claiming
from fieldguide.workflow.provenance import Stages
from tests.conftest import cli

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs mount, chmod or setrlimit to make a disk fail")

STAGES = ("index", "audit + split", "bundle", "evaluate", "report")


@dataclass
class Disk:
    """A folder that can be made to refuse every write."""

    folder: Path
    fail: Callable[[], None]
    saved: dict[str, bytes] | None = None

    def break_now(self) -> None:
        """From here on nothing can be written; what is there is remembered."""
        self.saved = self.content()
        self.fail()

    def content(self) -> dict[str, bytes]:
        """Every file by its path, but for what fills the disk, and the lock of a run at work."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and path.name not in ("filler", ".lock"))
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


def fill(folder: Path) -> None:
    block = 1 << 20
    with (folder / "filler").open("wb", buffering=0) as file:
        while block:
            try:
                file.write(bytes(block))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                block //= 2


@contextlib.contextmanager
def failing_disk(folder: Path, how: str) -> Iterator[Disk]:
    """A small file system of its own where we may mount one; else a limit on file sizes, or withdrawn permissions."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(folder)]
    is_mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    if is_mounted:
        remount = ["mount", "-o", "remount,ro", str(folder)]
        try:
            yield Disk(folder, lambda: fill(folder) if how == "full" else subprocess.run(remount, check=True) and None)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)  # lazily: a test that failed may hold a file
    elif how == "full":
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        try:
            yield Disk(folder, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1])))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    elif os.geteuid() == 0:
        pytest.skip("root may write everywhere and cannot mount here")
    else:
        folders: list[Path] = []

        def withdraw() -> None:
            folders.extend([folder, *(path for path in folder.rglob("*") if path.is_dir())])
            for path in folders:
                path.chmod(0o555)

        try:
            yield Disk(folder, withdraw)
        finally:
            for path in folders:
                path.chmod(0o755)


@pytest.fixture(params=["full", "read-only"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    with failing_disk(tmp_path / "disk", request.param) as made:
        yield made


class NoLock:
    """Stands for a `filelock.FileLock`, and opens no file."""

    def __init__(self, path: Path) -> None:
        pass

    def acquire(self, *, blocking: bool) -> None:
        """Always."""

    def release(self) -> None:
        """Nothing was held."""


@pytest.mark.parametrize("stage", STAGES)
def test_a_disk_that_fails_at_any_stage_gives_a_clear_error_and_loses_nothing(
    disk: Disk, stage: str, photos: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    original = Stages.time

    def time(self: Stages, name: str) -> contextlib.AbstractContextManager[None]:
        if name == stage:
            disk.break_now()
        return original(self, name)

    if request.node.callspec.params["disk"] == "read-only":  # no disk becomes so that has a file open for writing: the lock
        monkeypatch.setattr(claiming, "FileLock", NoLock)
    monkeypatch.setattr(Stages, "time", time)
    with pytest.raises(FieldguideError, match=r"(Cannot write|cannot be made).*\nhint: ") as caught:
        fieldguide.train(photos, out=disk.folder / "run", progress=False)
    assert str(disk.folder / "run") in str(caught.value)
    assert disk.content() == disk.saved
    assert not (disk.folder / "run" / "run.json").exists()


def test_a_report_that_cannot_be_written_again_leaves_the_old_one(disk: Disk, run_folder: Path) -> None:
    run = shutil.copytree(run_folder, disk.folder / "run")
    disk.break_now()
    with pytest.raises(FieldguideError, match="Cannot write"):
        fieldguide.report(run)
    assert disk.content() == disk.saved
    assert fieldguide.load(run).verify() < 1e-3


def test_a_cache_that_cannot_be_written_costs_time_and_no_run(
    disk: Disk, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if not disk.folder.is_mount():
        pytest.skip("without a file system of its own the run folder would fail with the cache")
    monkeypatch.setenv("FIELDGUIDE_CACHE", str(disk.folder / "cache"))
    disk.break_now()
    assert Transfer().frozen_network().is_file()
    run = fieldguide.train(photos, out=tmp_path / "run", progress=False)
    assert run.scores["test"]["accuracy"] == 1.0
    assert "cache" in caplog.text


def test_an_array_that_no_disk_has_room_for_is_refused_before_it_is_written(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(os, "posix_fallocate"):
        pytest.skip("this system cannot reserve room")
    monkeypatch.setattr("tempfile.tempdir", str(disk.folder))
    monkeypatch.setattr("fieldguide.data.scan._MEMORY_LIMIT_BYTES", 1000)
    disk.break_now()
    with pytest.raises(FieldguideError, match=r"Cannot write.*\nhint:"):
        allocate((1000, 1000), "float32")


def test_pictures_are_not_sorted_into_a_disk_that_is_full(disk: Disk, photos: Path, run_folder: Path) -> None:
    disk.break_now()
    picture = photos / "test_set" / "red" / "000.jpg"
    assert cli("predict", str(run_folder), str(picture), "--sort-into", str(disk.folder / "sorted")) == 1
    assert picture.is_file() and disk.content() == {}
