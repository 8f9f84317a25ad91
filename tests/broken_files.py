"""Bytes that no library writes willingly: the odd and broken files of `tests.corpus`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageCms

from tests.conftest import as_bytes, noisy_picture

RED = (200, 50, 40)
HEIGHT, WIDTH = 30, 40
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def picture() -> Image.Image:
    return noisy_picture(RED, 0, (HEIGHT, WIDTH))


def saved(format_name: str, **options: object) -> bytes:
    return as_bytes(picture(), format_name, **options)


def flat_tiff(dtype: type, value: float) -> bytes:
    return as_bytes(Image.fromarray(np.full((HEIGHT, WIDTH), value, dtype)), "TIFF")


def with_alpha(alpha: int) -> Image.Image:
    image = picture().convert("RGBA")
    image.putalpha(alpha)
    return image


def clear_palette(format_name: str) -> bytes:
    image = Image.new("P", (WIDTH, HEIGHT))
    image.putpalette([*RED] + [0] * 765)
    return as_bytes(image, format_name, transparency=0)


def cmyk(format_name: str) -> bytes:
    return as_bytes(Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0)), format_name, quality=95)


def icc_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def frames(format_name: str) -> bytes:
    others = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ((0, 0, 255), (0, 255, 0))]
    return saved(format_name, save_all=True, append_images=others)


def with_orientation(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved("JPEG", exif=exif)


def exif_loop() -> bytes:
    """A directory whose next directory is itself, and whose Exif part is itself as well."""
    entry = struct.pack(">HHII", 0x8769, 4, 1, 8)
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 1) + entry + struct.pack(">I", 8)


def cut(content: bytes, share: float) -> bytes:
    return content[: int(len(content) * share)]


def flipped(content: bytes, position: int) -> bytes:
    return patched(content, position, bytes([content[position] ^ 0xA5]))


def patched(content: bytes, position: int, new: bytes) -> bytes:
    return content[:position] + new + content[position + len(new) :]


# --- JPEG


def segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of the segments of a JPEG before its data."""
    position = 2
    while content[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        yield content[position + 1], position, end
        position = end


def without_segment(content: bytes, marker: int) -> bytes:
    start, end = next((start, end) for found, start, end in segments(content) if found == marker)
    return content[:start] + content[end:]


def jpeg_that_declares(height: int, width: int) -> bytes:
    content = saved("JPEG")
    start = next(start for marker, start, _ in segments(content) if marker == 0xC0)
    return patched(content, start + 5, struct.pack(">HH", height, width))


# --- PNG


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(chunks: bytes) -> bytes:
    """A picture with something between its header and its pixels."""
    content = saved("PNG")
    return content[:33] + chunks + content[33:]


def png_header(height: int, width: int, depth: int, color_type: int, is_interlaced: bool = False) -> bytes:
    values = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(is_interlaced))
    return PNG_SIGNATURE + chunk(b"IHDR", values)


def flat_png(depth: int, *color: int, size: tuple[int, int] = (HEIGHT, WIDTH), is_interlaced: bool = False) -> bytes:
    """One color, grey, RGB or RGBA, in any of the depths that PNG has; Pillow writes few of them."""
    height, width = size
    packer = zlib.compressobj(1)
    packed = b""
    for top, left, down, right in ADAM7 if is_interlaced else ((0, 0, 1, 1),):
        num_rows, num_columns = -(-(height - top) // down), -(-(width - left) // right)
        bits = "".join(format(value, f"0{depth}b") for value in color)
        row_bytes = -(-num_columns * len(bits) // 8)
        period = bits * 8  # whole bytes, whatever the depth
        unit = int(period, 2).to_bytes(len(bits), "big")
        row = b"\0" + (unit * (row_bytes // len(unit) + 1))[:row_bytes]
        packed += b"".join(packer.compress(row) for _ in range(num_rows))
    header = png_header(height, width, depth, {1: 0, 3: 2, 4: 6}[len(color)], is_interlaced)
    return header + chunk(b"IDAT", packed + packer.flush()) + chunk(b"IEND", b"")


# --- headers of huge pictures


def gif_that_declares(side: int) -> bytes:
    screen = struct.pack("<HHBBB", side, side, 0x80, 0, 0) + bytes(6)
    return b"GIF89a" + screen + b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\2\2\x4c\1\0;"


def gif_with_large_frame() -> bytes:
    content = saved("GIF")
    return patched(content, content.index(b",\0\0\0\0") + 5, struct.pack("<HH", 65535, 65535))


def bmp_that_declares(side: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 99, 0, 0, 54) + header


def webp_that_declares_the_most() -> bytes:
    return patched(as_bytes(Image.new("RGB", (1, 1)), "WEBP", lossless=True), 21, b"\xff\xff\xff\x0f")


def tiff_that_declares(side: int, num_strips: int = 1) -> bytes:
    entries = ((256, side), (257, side), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, side), (279, num_strips))
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + bytes(4)


def tga_that_declares_the_most() -> bytes:
    return bytes([0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 24, 32]) + b"\xff\0\0\0" * 20


def jpeg2000_that_declares(side: int) -> bytes:
    content = saved("JPEG2000")
    for position in (content.index(b"ihdr") + 4, content.index(b"\xff\x51") + 6):
        content = patched(content, position, struct.pack(">II", side, side))
    return content
