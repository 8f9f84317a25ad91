"""Which files of a folder are pictures, by their names alone.

A file that is no picture is left out with its reason; hidden files and the litter of operating systems are passed over
without a word.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fieldguide.data.decoding import EXTENSIONS
from fieldguide.errors import DatasetError
from fieldguide.records import Skipped

_OF_A_RUN = frozenset({"recipe.json", "index.json"})  # in every run folder, from before it has its first figure
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini", "ehthumbs.db", "@eadir", "$recycle.bin"})


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over without a word: hidden, or litter of an operating system."""
    return name.startswith(".") or name.lower() in _LITTER


def walk_pictures(folder: Path, skipped: list[Skipped], root: Path, *, only_unicode: bool = True) -> Iterator[str]:
    """The pictures below a folder, as posix paths relative to `root`, in order; other files go to `skipped`.

    Run folders are not entered: one may lie in the folder that it was trained on. Names that are not valid Unicode, which no
    JSON and no page can hold, go there as well, unless `only_unicode` is False.
    Symbolic links are followed; a folder that was reached before, or that holds `folder`, is not entered again.
    """
    seen = {(status.st_dev, status.st_ino) for status in map(os.stat, folder.resolve().parents)}
    stack = [folder]
    while stack:
        current = stack.pop()
        try:
            status = current.stat()
            entries = sorted(os.scandir(current), key=lambda e: e.name)
        except OSError as error:
            message = f"the folder cannot be read: {error.strerror or error}"
            skipped.append(Skipped(relative(current, root), "unreadable", message))
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        if _OF_A_RUN <= {entry.name for entry in entries}:
            skipped.append(Skipped(relative(current, root), "not_a_picture", "a run folder; its figures are no pictures"))
            continue
        subfolders = []
        for entry in entries:
            if is_hidden(entry.name):
                continue
            path = Path(entry.path)
            if only_unicode and not is_unicode(entry.name):
                skipped.append(badly_named(path, root))
                continue
            if _is_folder(entry):
                subfolders.append(path)
            elif path.suffix.lower() in EXTENSIONS:
                yield relative(path, root)
            else:
                message = f"{path.suffix.lower() or 'a file without extension'} is not read as a picture"
                skipped.append(Skipped(relative(path, root), "not_a_picture", message))
        stack.extend(reversed(subfolders))


def is_unicode(name: str) -> bool:
    """Whether a name can stand in JSON and on a page; the names of files on Linux are bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def badly_named(path: Path, root: Path) -> Skipped:
    """The entry for a file whose name `is_unicode` refuses."""
    name = relative(path, root).encode("utf-8", "backslashreplace").decode()
    return Skipped(name, "unreadable", "the name is not valid Unicode; rename it")


def relative(path: Path, root: Path) -> str:
    """The posix path from `root`."""
    return path.relative_to(root).as_posix()


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, in order.

    Raises:
        DatasetError: if it cannot be read.
    """
    try:
        return sorted((p for p in folder.iterdir() if not is_hidden(p.name) and p.is_dir()), key=lambda p: p.name)
    except OSError as error:
        raise DatasetError(
            f"The folder {str(folder)!r} cannot be read: {error.strerror or error}.\nhint: check its permissions."
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere or to itself
        return False
