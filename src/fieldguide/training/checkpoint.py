"""Checkpoints: what a training that was killed needs, to go on as if nothing had happened.

A checkpoint is a folder named by the number of steps it holds, with `tensors.safetensors`, `state.json` and
`manifest.json`, which has the SHA-256 of the other two. It is written under another name, synced and renamed, so that it
is there whole or not at all; the one before it is kept. What is read is checked: with the slightest doubt the one before
it is taken, for a disk that was full or lost its power leaves files of the right name and the wrong content.

Nothing here needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.errors import FieldguideError, RecipeError
from fieldguide.storage import atomic_directory, read_json, sha256, write_bytes, write_json

NUM_KEPT = 2
INTERVAL_SECONDS = 30.0  # of work between two checkpoints, and the step during which they have passed
_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training at one moment."""

    step: int  # steps of all epochs so far
    tensors: Mapping[str, NDArray[Any]]
    state: Mapping[str, Any]  # plain values, as JSON has them


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: of the checkpoints and nothing else; made when the first is saved.
        identity: what a checkpoint belongs to (recipe, settings, seed, data), as plain values; another is refused.
        say: called with a line where a checkpoint is damaged or cannot be written.
    """

    def __init__(self, directory: Path, *, identity: Mapping[str, Any], say: Callable[[str], None] = lambda line: None) -> None:
        self.directory = directory
        self._identity = json.loads(json.dumps(identity))
        self._say = say

    def add_to_identity(self, name: str, value: Any) -> None:
        """Adds what is known only when training is about to begin."""
        self._identity[name] = value

    def save(self, checkpoint: Checkpoint) -> bool:
        """Writes a checkpoint and removes all but the two newest; returns whether it could be written.

        A full disk is said and is no reason to stop: the checkpoint before is whole, and there may be room the next time.
        """
        from safetensors.numpy import save

        tensors = save({name: np.asarray(value, order="C") for name, value in checkpoint.tensors.items()})
        values = {"step": checkpoint.step, "identity": self._identity, "state": checkpoint.state}
        state = json.dumps(values, allow_nan=False).encode()
        try:
            with atomic_directory(self.directory / f"{checkpoint.step:09d}") as folder:
                write_bytes(folder / _TENSORS, tensors)
                write_bytes(folder / _STATE, state)
                write_json(folder / _MANIFEST, {"hashes": {_TENSORS: sha256(tensors), _STATE: sha256(state)}})
        except FieldguideError as error:
            self._say(f"warning: no checkpoint of step {checkpoint.step}; training goes on. {error}")
            return False
        for old in self._folders()[:-NUM_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return True

    def load(self) -> Checkpoint | None:
        """The newest checkpoint that is whole, or None; damaged ones are removed, and said.

        Raises:
            RecipeError: if it belongs to other settings or other data; the message says what differs.
        """
        for folder in reversed(self._folders()):
            try:
                values, checkpoint = _read(folder)
            except Exception as error:  # whatever is wrong with it, the one before it will do
                self._say(f"warning: the checkpoint {folder} is damaged and is left out: {error}.")
                shutil.rmtree(folder, ignore_errors=True)
                continue
            differing = differences(values["identity"], self._identity)
            if differing:
                raise RecipeError(
                    f"{self.directory} holds the checkpoints of another training: {'; '.join(differing)}.\n"
                    "hint: repeat the command that began it, or choose another folder with --out."
                )
            return checkpoint
        return None

    def remove(self) -> None:
        """Deletes them all, when a run is finished."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _folders(self) -> list[Path]:
        """The checkpoints, oldest first; what a killed process left half written is removed."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.directory.glob(".*.part"):
                shutil.rmtree(path, ignore_errors=True)
        return sorted(path for path in self.directory.glob("[0-9]*") if path.is_dir())


def _read(folder: Path) -> tuple[dict[str, Any], Checkpoint]:
    from safetensors.numpy import load

    hashes = read_json(folder / _MANIFEST)["hashes"]
    contents = {name: (folder / name).read_bytes() for name in (_TENSORS, _STATE)}
    for name, content in contents.items():
        if sha256(content) != hashes[name]:
            raise FieldguideError(f"the SHA-256 of {name} differs")
    values = json.loads(contents[_STATE])
    return values, Checkpoint(values["step"], load(contents[_TENSORS]), values["state"])


def differences(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What two nested mappings of plain values disagree in, as phrases: `settings.epochs was 30 and is 40 now`."""
    found = []
    for name in sorted({*before, *now}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{name}.")
        elif (old_text := json.dumps(old)) != (new_text := json.dumps(new)):
            found.append(f"{prefix}{name} was {old_text} and is {new_text} now")
    return found


class WorkCounter:
    """Steps that the processes of a run have worked through, repeated ones too; it outlives a process that is killed.

    Each step writes its number into a small file, without waiting for the disk: what it costs is a microsecond. Only the
    report reads it, so that a number lost in a power cut does no harm.

    Args:
        path: of the file.

    Attributes:
        steps: worked through so far.
        starts: how often a process has begun or taken up the work, this one included.
    """

    def __init__(self, path: Path) -> None:
        self.steps = self.starts = 0
        with contextlib.suppress(OSError, ValueError):
            self.steps, self.starts = (int(word) for word in path.read_text(encoding="ascii").split())
        self.starts += 1
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._write()

    def count_step(self) -> None:
        """Counts one more."""
        self.steps += 1
        self._write()

    def close(self) -> None:
        """Closes the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # a full disk
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, f"{self.steps:12d} {self.starts:6d}\n".encode("ascii"))
