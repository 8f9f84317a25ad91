"""Nothing calls home: commands in new processes with sockets forbidden, `CI` unset and an empty home."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fieldguide.errors import MissingExtraError
from fieldguide.exporting.formats import FORMATS
from fieldguide.page import runtime_files
from tests.conftest import HUES
from tests.fuzz_targets import BUNDLE

UNSET = ("CI", "PYTEST_CURRENT_TEST", "ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
# Python runs it at its start, in child processes as well.
SITECUSTOMIZE = """
import socket
def refuse(*args, **options):
    with open({log!r}, "a") as file:
        file.write(f"{{args}}\\n")
    raise AssertionError("a socket was used")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refuse
"""


def run_offline(tmp_path: Path, *arguments: str) -> None:
    """Runs the command line; fails where it uses a socket, or writes into the home or the current folder."""
    folders = {name: tmp_path / name for name in ("home", "current", "site", "temporary", "matplotlib")}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    log = tmp_path / "sockets.txt"
    (folders["site"] / "sitecustomize.py").write_text(SITECUSTOMIZE.format(log=str(log)), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment |= {
        "HOME": str(folders["home"]),
        "USERPROFILE": str(folders["home"]),
        "FIELDGUIDE_CACHE": str(tmp_path / "cache"),
        "TMPDIR": str(folders["temporary"]),
        "MPLCONFIGDIR": str(folders["matplotlib"]),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folders["site"]), os.environ.get("PYTHONPATH")))),
    }
    command = [sys.executable, "-m", "fieldguide", "--debug", *arguments]
    done = subprocess.run(command, cwd=folders["current"], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert not log.exists(), log.read_text(encoding="utf-8")
    assert list(folders["home"].iterdir()) == [] and list(folders["current"].iterdir()) == []
    assert [path.name for path in folders["temporary"].iterdir() if path.name.startswith("fieldguide")] == []


def test_a_prediction_is_made_offline(tmp_path: Path, make_folder: Callable[..., Path]):
    picture = make_folder({"red": 1}) / "red" / "000.jpg"
    run_offline(tmp_path, "predict", str(BUNDLE), str(picture))


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n == "onnx" else pytest.mark.slow) for n in FORMATS])
def test_an_export_is_made_offline(tmp_path: Path, make_folder: Callable[..., Path], name: str):
    data = make_folder(dict.fromkeys(HUES, 12))
    if name == "web":
        try:
            runtime_files()
        except MissingExtraError as error:
            pytest.skip(str(error))
    if FORMATS[name].is_quantized:
        pytest.skip("it calibrates on the training pictures of a run, which a kept bundle has not")
    run_offline(tmp_path, "export", str(BUNDLE), "--format", name, "--out", str(tmp_path / "export"), "--data", str(data))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["transfer", "classic"])
def test_a_training_is_done_offline(tmp_path: Path, make_folder: Callable[..., Path], recipe: str):
    data = make_folder({f"{part}/{hue}": count for part, count in (("train", 12), ("test", 4)) for hue in HUES})
    settings = ["image_size=32,32", "filters=4", "units=8", "epochs=2", "min_steps=0"] if recipe == "classic" else []
    options = [word for setting in settings for word in ("--set", setting)]
    run_offline(tmp_path, "train", str(data), "--out", str(tmp_path / "run"), "--recipe", recipe, *options)
