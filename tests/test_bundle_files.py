"""What a bundle's files hold comes back as it was, also out of the zip of a run that was interrupted."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from fieldguide.bundle import read_bundle, read_tensors, write_tensors
from fieldguide.errors import BundleError
from fieldguide.training.checkpoint import Checkpoint, Checkpoints
from tests.fuzz_targets import BUNDLE


def test_tensors_keep_their_shape(tmp_path: Path) -> None:
    tensors = {"scalar": np.float32(3.0), "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    write_tensors(tmp_path / "t.safetensors", tensors)
    found = read_tensors(tmp_path / "t.safetensors")
    assert found["scalar"].shape == () and found["scalar"] == 3.0
    assert np.array_equal(found["turned"], tensors["turned"])


def test_checkpoints_in_the_zip_of_an_interrupted_run_are_no_bundles(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "run" / "checkpoints", identity={})
    for step in (1, 2):
        checkpoints.save(Checkpoint(step, {"x": np.zeros(2)}, {}))
    written = {f"run/bundle/{path.name}": path for path in BUNDLE.iterdir()}
    kept = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert sum(name.endswith("manifest.json") for name in {**written, **kept}) == 3

    def zipped(name: str, members: dict[str, Path]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for inside, path in members.items():
                archive.write(path, inside)
        return tmp_path / name

    assert read_bundle(zipped("run.zip", {**kept, **written})).class_names == read_bundle(BUNDLE).class_names
    with pytest.raises(BundleError, match="holds 0 bundles"):
        read_bundle(zipped("unfinished.zip", kept))
    twice = {**written, **{name.replace("bundle", "other"): path for name, path in written.items()}}
    with pytest.raises(BundleError, match="holds 2 bundles"):
        read_bundle(zipped("two.zip", twice))
    with pytest.raises(BundleError, match=r"lacks network\.xml"):
        read_bundle(zipped("without.zip", {name: path for name, path in written.items() if "network.xml" not in name}))
