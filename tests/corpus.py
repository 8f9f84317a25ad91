"""What folders and uploads hold in the wild: some 280 broken, odd and hostile files, made on the spot.

    cases()                 every case, with what has to become of it
    uploads()               those that are bytes, for whoever sends them over HTTP or decodes them one by one
    write_corpus(folder)    writes those that this system can hold; returns their cases

The same files come out on every machine with the same Pillow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from tests.broken_files import HEIGHT, RED, WIDTH, saved
from tests.corpus_files import (
    NOT_READ,
    TOO_LARGE,
    UNREADABLE,
    Case,
    bombs,
    damaged,
    no_pictures,
    pictures,
    sizes,
    turned,
    used,
)


@cache
def cases() -> tuple[Case, ...]:
    """All of them, each name once."""
    found = (*pictures(), *turned(), *sizes(), *bombs(), *no_pictures(), *damaged(), *named(), *placed())
    assert len({case.name for case in found}) == len(found)
    return found


def uploads() -> tuple[Case, ...]:
    """Those whose content is a picture or claims to be one, whatever their name."""
    return tuple(c for c in cases() if c.content is not None and c.reasons != NOT_READ and not c.is_passed_over)


def write_corpus(folder: Path, chosen: Sequence[Case] | None = None) -> list[Case]:
    """Writes cases, or all, into a folder; those that the system does not permit are neither there nor in the answer."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for case in cases() if chosen is None else chosen:
        with contextlib.suppress(OSError):
            if case.content is not None:
                (folder / case.name).write_bytes(case.content)
            elif case.place is not None:
                case.place(folder / case.name)
            written.append(case)
    return written


def named() -> Iterator[Case]:
    """Good pictures under bad names."""
    names = {
        "new\nline.png": "a line break",
        "tab\there.png": "a tab",
        " space .png": "spaces around it",
        "<script>alert(1)<.png": "a tag",
        "quote\"'.png": "quotes",
        "=cmd|'calc'!A1.png": "a formula",
        "-rf.png": "an option",
        "100%d%s%n.png": "a format string",
        "b\\slash.png": "a backslash",
        "*?[x].png": "a pattern",
        "e\u0301.png": "a combining accent",
        "\U0001f431.png": "an emoji",
        "\u202egnp.exe.png": "written right to left",
        "a" * 251 + ".png": "255 bytes",
        "\u00e4" * 125 + "a.png": "255 bytes in 130 letters",
        "con.png": "a device of Windows",
        "double.jpg.png": "two extensions",
        "semi;colon,comma.png": "separators of CSV",
        "train.png": "the name of a part",
    }
    for name, what in names.items():
        yield used(name, f"a name: {what}", saved("PNG"))


def placed() -> Iterator[Case]:
    """Links, devices and other things that are no plain files."""
    yield Case(os.fsdecode(b"\xe9t\xe9.png"), "a name that is no UTF-8", UNREADABLE, place=_write_under_that_name)
    yield Case("folder.jpg", "an empty folder by the name of a picture", is_passed_over=True, place=Path.mkdir)
    yield Case("pipe.jpg", "a pipe that nobody writes to", UNREADABLE, place=_make_pipe)
    yield Case("nowhere.jpg", "a link to nothing", UNREADABLE, place=lambda path: path.symlink_to("gone.jpg"))
    yield Case("loop.jpg", "a link to itself", UNREADABLE, place=lambda path: path.symlink_to("loop.jpg"))
    yield Case("endless.jpg", "a link to a device without end", UNREADABLE, place=_link_to_device)
    yield Case("up.jpg", "a link to the folder above", is_passed_over=True, place=lambda path: path.symlink_to(".."))
    yield Case(
        "linked.png", "a link to a picture", size=(HEIGHT, WIDTH), color=RED, place=lambda path: path.symlink_to("plain.png")
    )
    yield Case("sparse.png", "600 MB of nothing", TOO_LARGE, place=_make_sparse)
    yield Case("secret.png", "nobody may read it", UNREADABLE, place=_make_secret)


def _write_under_that_name(path: Path) -> None:
    path.write_bytes(saved("PNG"))
    if path.name not in os.listdir(path.parent):  # some file systems write another one
        raise OSError("the file system changed the name")


def _make_pipe(path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        raise OSError("no pipes here")
    os.mkfifo(path)


def _link_to_device(path: Path) -> None:
    if not os.path.exists("/dev/zero"):
        raise OSError("no such device here")
    path.symlink_to("/dev/zero")


def _make_sparse(path: Path) -> None:
    if os.name != "posix":
        raise OSError("it would take the room")
    with path.open("wb") as file:
        file.truncate(600_000_000)


def _make_secret(path: Path) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        raise OSError("whoever runs this may read everything")
    path.write_bytes(saved("PNG"))
    path.chmod(0)
