"""The run folder: a new one, or one whose run was cut off and goes on; never one that is finished or in use."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fieldguide.errors import DatasetError, RecipeError
from fieldguide.records import ImageIndex
from fieldguide.storage import named, read_json, write_json
from fieldguide.training.checkpoint import differences

Say = Callable[[str], None]
_LOCK = ".lock"


@contextlib.contextmanager
def claimed(wanted: Path, plan: Mapping[str, Any], say: Say) -> Iterator[Path]:
    """Gives a run folder that belongs to this process while the block runs, with the plan in `recipe.json`.

    A folder whose run is finished, or that holds something else, is left alone: `NAME-2` is taken, and said. One whose
    run was cut off is given again, for the same plan. The lock is the system's, so that it ends with its process.

    Args:
        wanted: the folder's name.
        plan: recipe, settings, seed: what a run that goes on must have in common with its beginning.
        say: called with a line where the folder is another one, or not new.

    Raises:
        DatasetError: if the folder cannot be made, or another process is at work in it.
        RecipeError: if its run was begun with another plan; the message says what differs.
    """
    wanted = named(wanted)
    with _making(wanted):
        is_file = wanted.exists() and not wanted.is_dir()
    if is_file:
        raise DatasetError(f"{str(wanted)!r} is a file; the run needs a folder.\nhint: give another name with --out.")
    candidate, number = wanted, 1
    while True:
        if _is_free(candidate):
            with _locked(candidate):
                if _is_free(candidate):  # still, now that nobody else can change it
                    if candidate != wanted:
                        say(f"{wanted} holds a run already; this one goes to {candidate}")
                    _begin_or_go_on(candidate, plan, say)
                    try:
                        yield candidate
                    except KeyboardInterrupt:
                        say(f"{candidate} keeps what was done; the same command goes on from there")
                        raise
                    return
        number += 1
        candidate = wanted.with_name(f"{wanted.name}-{number}")


def check_same_pictures(directory: Path, index: ImageIndex, fingerprint: str) -> None:
    """Writes what is learned from into `index.json`, or compares it with what a run that goes on began with.

    Raises:
        DatasetError: if the pictures are not the same; the message says what differs.
    """
    path = directory / "index.json"
    if path.is_file():
        values = read_json(path)
        if values.get("data_fingerprint") != fingerprint:
            raise DatasetError(
                f"The run in {str(directory)!r} was cut off, and the pictures are not those it began with: "
                f"{_changes(ImageIndex.from_json(values), index)}.\nhint: begin another run with --out, or delete that folder."
            )
    write_json(path, {**index.to_json(), "data_fingerprint": fingerprint})


def _is_free(directory: Path) -> bool:
    """Whether a run can begin or go on there."""
    with _making(directory):
        if not directory.is_dir():
            return not directory.exists()
        if (directory / "run.json").is_file():
            return bool(read_json(directory / "run.json").get("interrupted"))
        return (directory / "recipe.json").is_file() or all(path.name == _LOCK for path in directory.iterdir())


@contextlib.contextmanager
def _making(directory: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:  # an OSError, but of another kind
        raise
    except OSError as error:
        raise DatasetError(
            f"The run folder {str(directory)!r} cannot be made: {error.strerror or error}.\nhint: choose another with --out."
        ) from error


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    lock = FileLock(directory / _LOCK)
    try:
        with _making(directory):
            directory.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
    except Timeout as error:
        raise DatasetError(
            f"Another process is at work in the run folder {str(directory)!r}.\n"
            "hint: wait until it has ended, or choose another folder with --out."
        ) from error
    try:
        yield
    finally:
        if os.name == "posix":  # while it is ours: whoever waits for it notices, and makes a new one
            _unlink(directory / _LOCK)
        lock.release()
        if os.name != "posix":  # no file is deleted there that is open
            _unlink(directory / _LOCK)


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):  # what cannot be deleted stays, and hinders nobody
        path.unlink(missing_ok=True)


def _begin_or_go_on(directory: Path, plan: Mapping[str, Any], say: Say) -> None:
    path = directory / "recipe.json"
    if not path.is_file():
        write_json(path, plan)
        return
    before = {name: value for name, value in read_json(path).items() if name != "format_version"}
    differing = differences(before, plan)
    if differing:
        raise RecipeError(
            f"The run in {str(directory)!r} was cut off, and it was another one: {'; '.join(differing)}.\n"
            "hint: give the command that began it and it goes on; or begin another run with --out, or delete that folder."
        )
    for left in (*directory.glob(".*.part"), directory / ".network"):  # by a process that was killed while it wrote
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)
    say(f"{directory} holds a run that was cut off; it goes on")


def _changes(before: ImageIndex, now: ImageIndex) -> str:
    old, new = ({image.path: image for image in index.images} for index in (before, now))
    changes = {
        "new": [path for path in new if path not in old],
        "gone": [path for path in old if path not in new],
        "otherwise labelled or grouped": [
            path for path in old if path in new and _place(old[path], before) != _place(new[path], now)
        ],
    }
    said = [
        f"{len(paths):,} {what} ({paths[0]}{', ...' if len(paths) > 1 else ''})" for what, paths in changes.items() if paths
    ]
    return "; ".join(said) or "the content of some files has changed"


def _place(image: Any, index: ImageIndex) -> tuple[Any, ...]:
    return index.class_names[image.label], image.part, image.group
