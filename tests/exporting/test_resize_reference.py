"""The resize that is shipped as source, in each language, is Pillow's."""

from __future__ import annotations

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

SHAPES = [(48, 64), (1, 1), (300, 451), (64, 96), (31, 200), (20, 17), (127, 33), (300, 40), (49, 300)]
JAVASCRIPT = Path(resize_reference.__file__).with_suffix(".js")
Resize = Callable[[NDArray[np.uint8], int, int], NDArray[np.uint8]]


def in_javascript(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    code = f"""
const {{ resize }} = require({json.dumps(str(JAVASCRIPT))});
const given = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(Array.from(resize(given, {picture.shape[0]}, {picture.shape[1]}, {height}, {width}))));
"""
    done = subprocess.run(
        ["node", "-e", code], input=json.dumps(picture.ravel().tolist()), capture_output=True, text=True, check=False
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
