from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fieldguide.data.decoding import decode
from fieldguide.data.looks import look, measure
from fieldguide.data.scan import Facts


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[:, :, None], 3, axis=2).astype(np.uint8)


def checkerboard(side: int = 64, square: int = 4) -> np.ndarray:
    places = np.arange(side) // square
    return grey(255 * ((places[:, None] + places[None]) % 2))


def test_half_black_half_white_has_the_numbers_one_works_out_by_hand():
    looks, sketch = look(checkerboard())
    assert (looks.brightness, looks.contrast, looks.entropy) == (0.5, 0.5, 1.0)
    assert (looks.darkest, looks.brightest, looks.border) == (0.0, 1.0, 0.0)
    assert len(sketch) == 32 * 32


def test_one_color_has_no_contrast_and_is_all_border():
    looks, sketch = look(grey(np.full((40, 50), 51)))
    assert (looks.brightness, looks.contrast, looks.sharpness, looks.entropy, looks.border) == (0.2, 0.0, 0.0, 0.0, 1.0)
    assert set(sketch) == {51}


def test_two_corners_that_differ_from_the_first_leave_no_frame_and_one_that_does_may():
    pixels = np.full((40, 80), 100)
    pixels[0, -1] = pixels[-1, 0] = 200
    assert look(grey(pixels))[0].border == 0.0
    pixels[0, -1] = 100  # the box of what differs is now the one pixel below left
    assert look(grey(pixels))[0].border == pytest.approx(1 - 1 / (40 * 80), abs=1e-4)


def test_a_frame_is_measured_by_its_area():
    pixels = np.full((40, 80), 0)
    pixels[:, 20:60] = np.random.default_rng(0).integers(60, 255, (40, 40))
    assert look(grey(pixels))[0].border == 0.5


def test_blur_lowers_sharpness_whatever_the_size():
    small = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))
    for side in (1, 4):
        sharp = small.resize((200 * side, 150 * side), Image.Resampling.NEAREST)
        blurred = sharp.filter(ImageFilter.GaussianBlur(4 * side))
        assert look(np.asarray(blurred))[0].sharpness < 0.3 * look(np.asarray(sharp))[0].sharpness


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (2, 2), (3, 1000)])
def test_pictures_of_any_shape_have_looks(size):
    looks, sketch = look(np.zeros((*size, 3), np.uint8))
    assert looks.brightness == 0.0 and len(sketch) == 1024


def test_facts_come_back_from_the_cache_as_they_were():
    looks, sketch = look(checkerboard())
    facts = Facts("JPEG", (64, 64), "ab", None, True, num_bytes=12, camera="Maker Model", looks=looks, sketch=sketch)
    assert Facts.unpack(facts.pack()) == facts
    left_out = Facts(reason="empty", message="line one\nline two")
    assert Facts.unpack(left_out.pack()) == left_out


def test_the_camera_is_read_from_exif():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "Maker\0", "Model 1"
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "JPEG", exif=exif)
    assert decode(buffer.getvalue(), cover=(16, 16)).camera == "Maker Model 1"
    buffer = io.BytesIO()
    Image.new("RGB", (20, 20)).save(buffer, "PNG")
    assert decode(buffer.getvalue(), cover=(16, 16)).camera == ""


def test_pictures_measured_together_have_the_numbers_they_have_alone():
    rng = np.random.default_rng(0)
    shapes = [(40, 50), (32, 32), (40, 50), (2, 9), (32, 32), (1, 1)]
    greys = [rng.integers(low, 256, shape, dtype=np.uint8) for low, shape in zip((0, 200, 100, 0, 50, 7), shapes, strict=True)]
    assert measure(greys) == [measure([each])[0] for each in greys]
    assert measure([]) == []
