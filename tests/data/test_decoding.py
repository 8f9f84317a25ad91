"""Golden pixels for every trap: expected values are computed from the pixels that were written."""

from __future__ import annotations

import io
import os
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from fieldguide.data.decoding import Decoded, decode, from_image, load, read_file, shrink, thumbnail
from fieldguide.errors import DecodeError
from tests.conftest import as_bytes, noisy_picture

COVER = (64, 64)


def pixels_of(content: bytes, **options: int) -> np.ndarray:
    return decode(content, cover=COVER, **options).pixels


def test_png_comes_back_pixel_for_pixel():
    image = noisy_picture((200, 50, 40), 0)
    assert np.array_equal(pixels_of(as_bytes(image, "PNG")), np.asarray(image))


def test_sixteen_bit_grey_png_is_scaled_not_clipped():
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    expected = [0, 1, 128, 255]  # value / 65535 * 255
    for format_name in ("PNG", "TIFF"):
        decoded = decode(as_bytes(Image.fromarray(values), format_name), cover=COVER)
        assert decoded.pixels[0, :, 0].tolist() == expected
        assert decoded.brightest == 65535


def test_twelve_bits_in_sixteen_are_scaled_by_the_given_white():
    content = as_bytes(Image.fromarray(np.array([[0, 2048, 4095]], np.uint16)), "TIFF")
    assert pixels_of(content)[0, :, 0].tolist() == [0, 8, 16]  # nearly black
    assert pixels_of(content, sixteen_bit_max=4095)[0, :, 0].tolist() == [0, 128, 255]


def test_bmp_palette_gives_colors_not_indices():
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    image.putdata([0, 1])
    assert pixels_of(as_bytes(image, "BMP"))[0].tolist() == [[255, 0, 0], [0, 0, 255]]


def test_one_bit_bmp_is_black_and_white():
    image = Image.new("1", (2, 1))
    image.putdata([0, 255])
    assert pixels_of(as_bytes(image, "BMP"))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize(("color", "expected"), [((255, 0, 0, 0), 255), ((0, 0, 0, 255), 0), ((0, 0, 0, 128), 127)])
def test_alpha_is_composited_over_white(color, expected):
    pixel = pixels_of(as_bytes(Image.new("RGBA", (1, 1), color), "PNG"))[0, 0]
    assert abs(int(pixel[1]) - expected) <= 1


def test_grey_with_alpha_and_transparent_palette_are_composited_too():
    assert pixels_of(as_bytes(Image.new("LA", (1, 1), (0, 0)), "PNG"))[0, 0].tolist() == [255, 255, 255]
    palette = Image.new("P", (1, 1))
    palette.putpalette([255, 0, 0] + [0] * 765)
    assert pixels_of(as_bytes(palette, "PNG", transparency=0))[0, 0].tolist() == [255, 255, 255]


def test_cmyk_jpeg_and_grey_jpeg_become_rgb():
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    pixel = pixels_of(as_bytes(cmyk, "JPEG", quality=95))[8, 8].astype(int)
    assert np.abs(pixel - (255, 0, 0)).max() <= 4
    grey = pixels_of(as_bytes(Image.new("L", (16, 16), 90), "JPEG", quality=95))
    assert grey.shape == (16, 16, 3) and np.abs(grey.astype(int) - 90).max() <= 2


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 2)), (6, (0, 1)), (8, (2, 0))])
def test_exif_orientation_is_applied(orientation, corner):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0] = 255  # the marked corner of the stored picture
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode(as_bytes(image, "PNG", exif=exif), cover=COVER)
    assert decoded.pixels.shape[:2] == ((3, 2) if orientation in (6, 8) else (2, 3)) == decoded.size
    assert decoded.pixels[corner].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_first_frame(format_name):
    frames = [Image.new("RGB", (8, 8), color) for color in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if format_name == "WEBP" else {}
    content = as_bytes(frames[0], format_name, save_all=True, append_images=frames[1:], **options)
    decoded = decode(content, cover=COVER)
    assert decoded.pixels[0, 0].tolist() == [255, 0, 0] and decoded.is_animated


@pytest.mark.parametrize("format_name", ["TIFF", "PPM", "TGA", "JPEG2000", "QOI"])
def test_lossless_formats_come_back_pixel_for_pixel(format_name):
    image = noisy_picture((40, 180, 60), 1)
    assert np.array_equal(pixels_of(as_bytes(image, format_name)), np.asarray(image))


def test_webp_and_avif_are_read():
    for format_name in ("WEBP", "AVIF"):
        content = as_bytes(Image.new("RGB", (32, 32), (200, 50, 40)), format_name, quality=90)
        assert np.abs(pixels_of(content)[16, 16].astype(int) - (200, 50, 40)).max() <= 6


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "not_an_image"),
        (b"%PDF-1.7", "not_an_image"),
        (b"\xff\xd8\xff\xe0 nothing", "truncated"),  # starts as a JPEG does
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
    ],
)
def test_what_is_no_picture_has_a_reason(content, reason):
    with pytest.raises(DecodeError) as caught:
        decode(content, cover=COVER)
    assert caught.value.reason == reason


def test_a_truncated_jpeg_is_found_also_at_a_dct_scale():
    content = as_bytes(noisy_picture((200, 50, 40), 0, (600, 800)), "JPEG", quality=90)
    for cover in ((600, 800), (32, 32)):
        with pytest.raises(DecodeError) as caught:
            decode(content[: len(content) // 2], cover=cover)
        assert caught.value.reason == "truncated"


def test_a_large_jpeg_is_decoded_at_a_scale_that_covers_twice_the_size():
    content = as_bytes(Image.new("RGB", (1600, 1200), (10, 20, 30)), "JPEG")
    decoded = decode(content, cover=(64, 64))
    assert decoded.size == (1200, 1600)
    assert decoded.pixels.shape[:2] == (150, 200)  # 1/8 is the smallest scale there is, and covers 128 x 128
    assert decode(content, cover=(200, 200)).pixels.shape[:2] == (600, 800)  # 1/2 covers 400 x 400; 1/4 would not


def bomb(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("size", [(9000, 9000), (12000, 12000), (20000, 20000)])
def test_a_small_file_with_a_huge_picture_is_refused(size):
    with pytest.raises(DecodeError) as caught:
        decode(bomb(*size), cover=COVER)
    assert caught.value.reason == "too_large"


def test_float_tiff_is_read_from_0_to_1_and_refused_otherwise():
    inside = as_bytes(Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)), "TIFF")
    assert pixels_of(inside)[0, :, 0].tolist() == [0, 128, 255]
    outside = as_bytes(Image.fromarray(np.array([[0.0, 700.0]], np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="floating-point"):
        decode(outside, cover=COVER)


def test_a_jpeg_named_png_decodes_by_its_content(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(as_bytes(noisy_picture((1, 2, 3), 0), "JPEG"))
    assert decode(read_file(path), cover=COVER).format == "JPEG"


def test_heic_is_read_where_the_optional_part_is_installed():
    pytest.importorskip("pillow_heif").register_heif_opener()
    content = as_bytes(Image.new("RGB", (64, 64), (200, 50, 40)), "HEIF", quality=95)
    assert np.abs(pixels_of(content)[32, 32].astype(int) - (200, 50, 40)).max() <= 8


def test_a_damaged_heic_is_not_called_a_video():
    pytest.importorskip("pillow_heif")
    with pytest.raises(DecodeError, match=r"damaged.*HEIC") as caught:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", cover=COVER)
    assert caught.value.reason == "unreadable"


def test_heic_without_the_optional_part_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(DecodeError, match=r"pip install fieldguide\[heic\]") as caught:
        decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", cover=COVER)
    assert caught.value.reason == "needs_heic"


def test_read_file_says_what_is_wrong(tmp_path):
    (tmp_path / "empty.jpg").touch()
    for name, reason in (("empty.jpg", "empty"), ("gone.jpg", "unreadable")):
        with pytest.raises(DecodeError) as caught:
            read_file(tmp_path / name)
        assert caught.value.reason == reason
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(DecodeError, match="not a regular file"):
            read_file(tmp_path / "pipe.jpg")


def test_shrink_is_pillows_antialiased_bilinear():
    pixels = np.asarray(noisy_picture((120, 130, 140), 3, (90, 70)))
    expected = np.asarray(Image.fromarray(pixels).resize((20, 30), Image.Resampling.BILINEAR))
    assert np.array_equal(shrink(pixels, (30, 20)), expected)
    assert shrink(pixels, (90, 70)) is pixels


def test_load_gives_the_size_of_the_network(tmp_path):
    assert load(as_bytes(noisy_picture((1, 2, 3), 0), "PNG"), (24, 32)).shape == (24, 32, 3)


def test_a_thumbnail_is_a_small_jpeg_that_keeps_the_aspect():
    image = Image.open(io.BytesIO(thumbnail(np.zeros((100, 400, 3), np.uint8))))
    assert image.format == "JPEG" and image.size == (96, 24)


def test_decoded_pixels_are_writable_and_contiguous():
    decoded = decode(as_bytes(noisy_picture((1, 2, 3), 0), "PNG"), cover=COVER)
    assert isinstance(decoded, Decoded) and decoded.pixels.flags.c_contiguous and decoded.pixels.dtype == np.uint8


def with_exif(content: bytes, exif: bytes) -> bytes:
    """A PNG with that as its Exif, malformed or not."""
    body = b"eXIf" + exif
    chunk = len(exif).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return content[:33] + chunk + content[33:]  # after the signature and IHDR


@pytest.mark.parametrize(
    "exif", [b"nothing of the kind", b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03" * 9, b"MM\0*\0\0\0\x08\0"]
)
def test_malformed_exif_is_no_damage_to_the_pixels(exif):
    image = noisy_picture((200, 50, 40), 0)
    content = as_bytes(image, "PNG")
    assert np.array_equal(pixels_of(with_exif(content, exif)), np.asarray(image))
    with pytest.raises(DecodeError, match="damaged"):
        decode(with_exif(content, exif)[:-200], cover=COVER)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_orientation_is_turned_as_pillow_does_and_has_its_size(format_name, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = as_bytes(noisy_picture((200, 50, 40), 0, (40, 60)), format_name, exif=exif)
    decoded = decode(content, cover=COVER)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert np.array_equal(decoded.pixels, expected)
    assert decoded.size == expected.shape[:2] == ((60, 40) if orientation > 4 else (40, 60))


@pytest.mark.parametrize("kind", ["path", "stream", "draft", "loaded", "closed file"])
def test_a_picture_that_is_open_in_pillow_is_left_as_it_is(kind, tmp_path):
    path = tmp_path / "photo.jpg"
    noisy_picture((200, 50, 40), 0, (600, 800)).save(path, quality=90)
    image = Image.open(io.BytesIO(path.read_bytes()) if kind == "stream" else path)
    if kind == "loaded":
        image.load()
    if kind == "draft":
        image.draft("L", (400, 300))
    if kind == "closed file":
        image.close()
        with pytest.raises(DecodeError):
            from_image(image, cover=COVER)
    size, mode = image.size, image.mode
    if kind != "closed file":
        decoded = from_image(image, cover=COVER)
        if kind in ("path", "stream"):
            assert np.array_equal(decoded.pixels, decode(path.read_bytes(), cover=COVER).pixels)
            assert decoded.size == (600, 800)
        image.load()
    assert (image.size, image.mode) == (size, mode) == (((400, 300), "L") if kind == "draft" else ((800, 600), "RGB"))
    if kind in ("path", "stream"):
        assert np.array_equal(np.asarray(image), np.asarray(Image.open(path)))
