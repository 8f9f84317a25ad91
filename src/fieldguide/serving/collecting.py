"""Corrections: pictures that people gave another class, kept where `train DIR --also FOLDER` reads them.

FOLDER/CLASS/0123456789abcdef.jpg       named by the picture's own content, the file as it came
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from fieldguide.data.decoding import FORMATS, HEIC_EXTENSIONS
from fieldguide.errors import DatasetError
from fieldguide.storage import sha256, write_bytes

_EXTENSION = {name: extensions[0] for name, extensions in FORMATS.items()} | {"MPO": ".jpg", "HEIF": HEIC_EXTENSIONS[0]}
# What Windows takes for a device, whatever the extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class FolderFull(Exception):
    """The folder of corrections holds as many pictures as it may."""


class Collector:
    """A folder of corrections.

    Args:
        directory: made when the first picture comes.
        class_names: the classes that it may have folders of.
        max_pictures: when there are as many, no more are taken.

    Raises:
        DatasetError: if a class name is no safe name of a folder; class names come with a bundle, which may be a stranger's.
    """

    def __init__(self, directory: Path, class_names: Sequence[str], *, max_pictures: int) -> None:
        for name in class_names:
            if not is_safe_name(name):
                raise DatasetError(
                    f"Corrections cannot be kept: {name!r} is no safe name of a folder.\nhint: rename the class."
                )
        self._directory, self._class_names, self._max_pictures = directory, tuple(class_names), max_pictures
        self._num_pictures = sum(1 for _ in directory.glob("*/*")) if directory.is_dir() else 0

    def add(self, content: bytes, class_name: str, format_name: str) -> str:
        """Keeps a picture that was decoded before; returns its name in the class folder.

        A picture that is there already, in whatever class, goes to the class that is named now.

        Raises:
            FolderFull: if there are too many.
            FieldguideError: if it cannot be written.
        """
        name = f"{sha256(content)[:16]}{_EXTENSION[format_name]}"
        target = self._directory / class_name / name
        earlier = [path for other in self._class_names if (path := self._directory / other / name).is_file()]
        if target in earlier:
            return name
        if earlier:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(earlier[0], target)
            return name
        if self._num_pictures >= self._max_pictures:
            raise FolderFull
        write_bytes(target, content)
        self._num_pictures += 1
        return name


def is_safe_name(name: str) -> bool:
    """Whether a folder can have that name, on whatever system, without lying elsewhere."""
    return (
        0 < len(name.encode("utf-8", "surrogatepass")) <= 200
        and name == name.strip().rstrip(".")
        and not name.startswith(".")
        and not any(character in '<>:"/\\|?*' or ord(character) < 32 for character in name)
        and not _DEVICES.fullmatch(name)
    )
