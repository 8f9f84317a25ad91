"""A checkpoint is there whole or not at all, and what is damaged is noticed."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldguide.errors import RecipeError
from fieldguide.training.checkpoint import Checkpoint, Checkpoints, WorkCounter, differences

IDENTITY = {"recipe": "classic", "seed": 0, "settings": {"epochs": 3, "image_size": (32, 32)}}


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(
        step, {"model/0": np.full((100, 30), step, np.float32), "seed": np.array(step, np.uint32)}, {"epoch": step}
    )


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def checkpoints(tmp_path: Path, said: list[str]) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints", identity=IDENTITY, say=said.append)


def names(checkpoints: Checkpoints) -> list[str]:
    return sorted(path.name for path in checkpoints.directory.iterdir())


def test_what_is_loaded_is_what_was_saved_last_and_two_are_kept(checkpoints: Checkpoints, said: list[str]) -> None:
    assert checkpoints.load() is None
    for step in (1, 20, 300):
        assert checkpoints.save(checkpoint(step))
    assert names(checkpoints) == ["000000020", "000000300"]
    found = checkpoints.load()
    assert found is not None
    assert (found.step, found.state) == (300, {"epoch": 300})
    for name, value in checkpoint(300).tensors.items():
        np.testing.assert_array_equal(found.tensors[name], value)
        assert (found.tensors[name].dtype, found.tensors[name].shape) == (value.dtype, value.shape)
    assert said == []


def zero_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:8192] = bytes(4096)
    path.write_bytes(content)


DAMAGES: dict[str, Any] = {
    "tensors cut": lambda folder: os.truncate(folder / "tensors.safetensors", 200),
    "a page of zeros": lambda folder: zero_a_page(folder / "tensors.safetensors"),
    "tensors gone": lambda folder: (folder / "tensors.safetensors").unlink(),
    "state cut": lambda folder: os.truncate(folder / "state.json", 10),
    "state empty": lambda folder: os.truncate(folder / "state.json", 0),
    "another epoch in the state": lambda folder: (folder / "state.json").write_text(
        (folder / "state.json").read_text().replace('"epoch": 2', '"epoch": 1')
    ),
    "manifest cut": lambda folder: os.truncate(folder / "manifest.json", 30),
    "manifest without hashes": lambda folder: (folder / "manifest.json").write_text('{"format_version": 1}'),
    "manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "everything gone": lambda folder: [path.unlink() for path in folder.iterdir()],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_after_any_damage_the_one_before_is_taken_and_it_is_said(
    checkpoints: Checkpoints, said: list[str], damage: str
) -> None:
    checkpoints.save(checkpoint(1))
    checkpoints.save(checkpoint(2))
    DAMAGES[damage](checkpoints.directory / "000000002")
    found = checkpoints.load()
    assert found is not None and found.step == 1
    assert len(said) == 1 and "000000002 is damaged" in said[0]
    checkpoints.save(checkpoint(2))  # again, where the damaged one was
    found = checkpoints.load()
    assert found is not None and found.step == 2 and len(said) == 1


def test_with_none_left_there_is_nothing_to_load(checkpoints: Checkpoints, said: list[str]) -> None:
    for step in (1, 2):
        checkpoints.save(checkpoint(step))
    for folder in checkpoints.directory.iterdir():
        DAMAGES["tensors cut"](folder)
    assert checkpoints.load() is None
    assert len(said) == 2


def test_a_half_written_one_is_no_checkpoint_and_is_cleared_away(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(1))
    shutil.copytree(checkpoints.directory / "000000001", checkpoints.directory / ".000000002.abc.part")
    found = checkpoints.load()
    assert found is not None and found.step == 1
    assert names(checkpoints) == ["000000001"]


@pytest.mark.parametrize("fail_at", [1, 2, 3])
def test_a_full_disk_is_said_and_costs_nothing_that_was_saved(
    checkpoints: Checkpoints, said: list[str], monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    checkpoints.save(checkpoint(1))
    synced: list[int] = []

    def full(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 2 * fail_at - 1:  # each file is followed by its folder
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert not checkpoints.save(checkpoint(2))
    assert "No space left on device" in said[0] and "step 2" in said[0]
    assert names(checkpoints) == ["000000001"]
    found = checkpoints.load()
    assert found is not None and found.step == 1
    assert checkpoints.save(checkpoint(3))


def test_the_checkpoints_of_another_training_are_refused_with_what_differs(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(1))
    other = {**IDENTITY, "settings": {"epochs": 4, "image_size": [32, 32]}}
    with pytest.raises(RecipeError, match=r"settings\.epochs was 3 and is 4 now\.\nhint: .*--out"):
        Checkpoints(checkpoints.directory, identity=other).load()


def test_differences_name_what_is_new_gone_and_changed() -> None:
    assert differences({"a": 1, "b": {"c": [1, 2]}}, {"a": 1, "b": {"c": (1, 2)}}) == []
    assert differences({"a": 1, "b": {"c": 2, "d": "x"}}, {"b": {"c": 3, "d": "x"}, "e": None}) == [
        "a was 1 and is null now",
        "b.c was 2 and is 3 now",
    ]


def test_the_state_is_json_and_nothing_else_is_pickled(checkpoints: Checkpoints) -> None:
    checkpoints.save(checkpoint(1))
    folder = checkpoints.directory / "000000001"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]
    values = json.loads((folder / "state.json").read_text())
    assert values["identity"]["settings"]["image_size"] == [32, 32]


def test_the_counter_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "work.txt"
    first = WorkCounter(path)
    for _ in range(5):
        first.count_step()
    second = WorkCounter(path)  # the first was never closed
    second.count_step()
    assert (second.steps, second.starts) == (6, 2)
    path.write_text("nonsense")
    assert (WorkCounter(path).steps, WorkCounter(path).starts) == (0, 2)
    first.close()
    second.close()
