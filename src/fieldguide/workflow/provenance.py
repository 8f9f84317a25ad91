"""What a run says of itself: the command that repeats it, the machine, the data, and where the time went."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shlex
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fieldguide import __version__
from fieldguide.data.scan import Scan


@dataclass
class Stages:
    """Seconds per stage, in order."""

    started: float = field(default_factory=time.perf_counter)
    spent: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Times the block under this name."""
        start = time.perf_counter()
        yield
        self.spent[name] = time.perf_counter() - start

    def seconds(self) -> dict[str, float]:
        """The total since the start, then each stage that has ended."""
        return {"total": time.perf_counter() - self.started, **self.spent}


def fingerprint(scanned: Scan) -> str:
    """SHA-256 over path, label, part and content of every usable picture."""
    hasher = hashlib.sha256()
    for image, digest in zip(scanned.images, scanned.digests, strict=True):
        hasher.update(f"{image.path}\0{image.label}\0{image.part}\0{image.group}\0".encode())
        hasher.update(digest)
    return hasher.hexdigest()


def train_command(source: str | os.PathLike[str], **options: object) -> str:
    """The command line that trains like this.

    Args:
        source: the pictures.
        **options: by their name in Python; one that is None, False or empty is left out, a tuple is given word by word.
    """
    words = ["fieldguide", "train", os.fspath(source)]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            for item in value if isinstance(value, tuple) else (value,):
                words += [flag, str(item)]
    return shell_command(*words)


def shell_command(*words: str) -> str:
    """Words as a command line that can be copied, quoted as this system's shell wants it."""
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def environment(precision: str, dataset: str, command: str) -> dict[str, Any]:
    """The machine and the versions that a result depends on."""
    from importlib.metadata import version

    names = ("numpy", "pillow", "openvino", "scipy", "keras", "tensorflow")
    return {
        "dataset": dataset,
        "date": datetime.now().astimezone().isoformat(timespec="minutes"),
        "command": command,
        "fieldguide": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "precision": precision,
        **{name: version(name) for name in names},
    }
