"""The resize that is shipped as source, in each language, is Pillow's."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable

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


needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("resize", [resize_reference.resize, pytest.param(in_javascript, marks=needs_node)])
def test_it_is_the_resize_of_pillow(resize: Resize, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = decoding.shrink(picture, (48, 64))
    assert np.array_equal(resize(picture, 48, 64), expected)
