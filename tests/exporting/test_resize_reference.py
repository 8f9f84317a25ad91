"""The resize that is shipped as source, in each language, is Pillow's."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.data import decoding
from fieldguide.exporting import resize_reference
from fieldguide.page import read

SHAPES = [(48, 64), (1, 1), (300, 451), (64, 96), (31, 200), (20, 17), (127, 33), (300, 40), (49, 300)]
Resize = Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]]


def in_javascript(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    rgba = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    source = base64.b64encode(read("resize.js")).decode()
    code = f"""
import {{ readFileSync }} from "node:fs";
const {{ resize }} = await import("data:text/javascript;base64,{source}");
const given = JSON.parse(readFileSync(0));
console.log(JSON.stringify(Array.from(resize(given, {picture.shape[1]}, {picture.shape[0]}, {width}, {height}))));
"""
    done = subprocess.run(
        ["node", "--input-type=module", "-e", code],
        input=json.dumps(rgba.ravel().tolist()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout), np.uint8).reshape(height, width, 3)


MAIN = """
fun main() {
    val given = System.`in`.bufferedReader().readText().trim().split(" ").map { it.toInt() }
    val (width, height, newWidth, newHeight) = given
    val resized = resize(given.drop(4).toIntArray(), width, height, newWidth, newHeight)
    println(resized.joinToString(" ") { "${it.toInt() and 255}" })
}
"""


@pytest.fixture(scope="module")
def kotlin_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """resize.kt and a `main` around it, compiled."""
    folder = tmp_path_factory.mktemp("kotlin")
    source = Path(resize_reference.__file__).with_name("resize.kt")
    (folder / "main.kt").write_text(MAIN)
    program = folder / "resize.jar"
    command = ["kotlinc", str(source), str(folder / "main.kt"), "-include-runtime", "-d", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert program.is_file(), done.stderr
    return program


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("resize", [resize_reference.resize, pytest.param(in_javascript, marks=needs_node)])
def test_it_is_the_resize_of_pillow(resize: Resize, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = decoding.shrink(picture, (48, 64))
    assert np.array_equal(resize(picture, 48, 64), expected)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("kotlinc") is None, reason="Kotlin is not installed")
@pytest.mark.parametrize("shape", SHAPES)
def test_that_in_kotlin_is_the_resize_of_pillow(kotlin_program: Path, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    red, green, blue = picture.reshape(-1, 3).astype(np.int64).T
    argb = red * 2**16 + green * 2**8 + blue - 2**24  # opaque: the highest byte is 255, of a number with a sign
    given = " ".join(map(str, [shape[1], shape[0], 64, 48, *argb.tolist()]))
    done = subprocess.run(["java", "-jar", str(kotlin_program)], input=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.array(done.stdout.split(), np.uint8).reshape(48, 64, 3), decoding.shrink(picture, (48, 64)))
