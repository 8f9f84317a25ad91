"""The cases of `tests.corpus` that are bytes: odd pictures, huge ones in small files, what is no picture, what was one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from tests import broken_files as broken
from tests.broken_files import HEIGHT, RED, WIDTH, flat_png, flat_tiff, picture, saved
from tests.conftest import as_bytes, noisy_picture

WHITE, MIDDLE = (255, 255, 255), (128, 128, 128)
GREY = (round(0.299 * RED[0] + 0.587 * RED[1] + 0.114 * RED[2]),) * 3
ENDINGS = {
    "JPEG": "jpg", "PNG": "png", "GIF": "gif", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif", "TGA": "tga", "PPM": "ppm",
    "JPEG2000": "jp2", "AVIF": "avif", "QOI": "qoi", "MPO": "mpo",
}  # fmt: skip
NOT_AN_IMAGE = frozenset({"not_an_image"})
DAMAGED = frozenset({"truncated", "unreadable", "not_an_image"})  # which of them is the library's choice
TOO_LARGE = frozenset({"too_large"})
UNSUPPORTED = frozenset({"unsupported"})
UNREADABLE = frozenset({"unreadable"})
EMPTY = frozenset({"empty"})
NOT_READ = frozenset({"not_a_picture"})  # by its name: the index leaves it out and nobody opens it


@dataclass(frozen=True)
class Case:
    """One file, and what has to become of it.

    Attributes:
        name: of the file.
        what: is odd about it.
        reasons: codes of `Skipped.reason`, one of which it is left out with; empty for a picture that is used.
        may_be_used: whether it may be used as well: what a damaged byte does depends on the library.
        is_passed_over: whether it is litter, which nobody counts.
        size: (height, width) of a picture that is used, turned as Exif says; None where it is not known.
        color: its mean color; None where it is not known.
        content: of the file; None where `place` makes it.
        place: puts it there, where it is more than bytes under a name; raises OSError where the system does not permit it.
    """

    name: str
    what: str
    reasons: frozenset[str] = frozenset()
    may_be_used: bool = False
    is_passed_over: bool = False
    size: tuple[int, int] | None = None
    color: tuple[int, int, int] | None = None
    content: bytes | None = field(default=None, repr=False)
    place: Callable[[Path], None] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return ascii(self.name)


def used(name: str, what: str, content: bytes, *, color=RED, size=(HEIGHT, WIDTH)) -> Case:
    return Case(name, what, size=size, color=color, content=content)


def left_out(name: str, what: str, reasons: frozenset[str], content: bytes, *, may_be_used: bool = False) -> Case:
    return Case(name, what, reasons, may_be_used, content=content)


def pictures() -> Iterator[Case]:
    """What a decoder has to know."""
    jpegs = {
        "progressive": {"progressive": True}, "444": {"subsampling": 0}, "420": {"subsampling": 2}, "rgb": {"keep_rgb": True},
        "restarts": {"restart_marker_blocks": 1}, "comment": {"comment": b"x" * 60000}, "best": {"quality": 100},
    }  # fmt: skip
    for name, options in jpegs.items():
        yield used(f"{name}.jpg", f"JPEG, {name}", saved("JPEG", **options))
    for format_name, ending in ENDINGS.items():
        yield used(f"plain.{ending}", f"plain {format_name}", saved(format_name))
    for format_name in ("JPEG", "PNG", "TIFF", "PPM", "BMP", "WEBP", "TGA", "AVIF"):
        content = as_bytes(picture().convert("L"), format_name)
        yield used(f"grey.{ENDINGS[format_name]}", f"grey {format_name}", content, color=GREY)
    for format_name in ("PNG", "BMP", "PPM", "TIFF"):
        content = as_bytes(Image.new("1", (WIDTH, HEIGHT), 1), format_name)
        yield used(f"one-bit.{ENDINGS[format_name]}", f"{format_name} of 1 bit", content, color=WHITE)
    yield used("2-bit.png", "PNG of 2 bits", flat_png(2, 3), color=WHITE)
    yield used("4-bit.png", "PNG of 4 bits", flat_png(4, 15), color=WHITE)
    yield used("16-bit.png", "PNG of 16 bits", flat_png(16, 32896), color=MIDDLE)
    yield used("16-bit-rgb.png", "RGB PNG of 16 bits", flat_png(16, 51400, 12850, 10280))
    yield used("16-bit.tif", "TIFF of 16 bits", flat_tiff(np.uint16, 32896), color=MIDDLE)
    yield used("16-bit.pgm", "PGM of 16 bits", b"P5 40 30 65535\n" + b"\x80\x80" * (HEIGHT * WIDTH), color=MIDDLE)
    yield used("32-bit.tif", "TIFF of 32 bits", flat_tiff(np.int32, 32896), color=MIDDLE)
    yield used("float.tif", "TIFF of floats from 0 to 1", flat_tiff(np.float32, 0.5), color=MIDDLE)
    for name, value in (("kelvin", 293.15), ("nan", np.nan), ("infinite", np.inf), ("negative", -1.0)):
        yield left_out(f"float-{name}.tif", f"TIFF of floats: {name}", UNSUPPORTED, flat_tiff(np.float32, value))
    yield left_out("negative.tif", "TIFF of negative numbers", UNSUPPORTED, flat_tiff(np.int32, -5))
    for format_name in ("PNG", "WEBP", "TIFF", "TGA", "AVIF"):
        opaque, clear = (as_bytes(broken.with_alpha(alpha), format_name) for alpha in (255, 0))
        yield used(f"alpha.{ENDINGS[format_name]}", f"{format_name} with alpha, opaque", opaque)
        yield used(f"clear.{ENDINGS[format_name]}", f"{format_name}, transparent: white", clear, color=WHITE)
    yield used("grey-alpha.png", "grey PNG with alpha", as_bytes(broken.with_alpha(255).convert("LA"), "PNG"), color=GREY)
    for format_name in ("PNG", "BMP", "TIFF", "TGA"):
        content = as_bytes(picture().quantize(64), format_name)
        yield used(f"palette.{ENDINGS[format_name]}", f"{format_name} with a palette", content)
    for format_name in ("PNG", "GIF"):
        content = broken.clear_palette(format_name)
        yield used(f"palette-clear.{ENDINGS[format_name]}", "the palette's only color is transparent", content, color=WHITE)
    yield used("interlaced.png", "PNG, Adam7", flat_png(8, *RED, is_interlaced=True))
    yield used("interlaced.gif", "GIF, interlaced", saved("GIF", interlace=1))
    yield used("text.ppm", "PPM as text", b"P3\n# a comment\n40 30 255\n" + b"200 50 40\n" * (HEIGHT * WIDTH))
    for how in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg"):
        yield used(f"{how}.tif", f"TIFF, {how}", saved("TIFF", compression=how))
    yield used("cmyk.tif", "CMYK TIFF", broken.cmyk("TIFF"), color=(255, 0, 0))
    yield used("ycbcr.tif", "YCbCr TIFF", as_bytes(picture().convert("YCbCr"), "TIFF"), color=None)
    cmyk, adobe = broken.cmyk("JPEG"), b"Adobe\0\x64\0\0\0\0"
    yield used("cmyk.jpg", "CMYK JPEG, inverted as Adobe does", cmyk, color=(255, 0, 0))
    yield used("ycck.jpg", "the same marked as YCCK", cmyk.replace(adobe + b"\0", adobe + b"\2"), color=None)
    yield used("cmyk-unmarked.jpg", "CMYK JPEG without Adobe's marker", broken.without_segment(cmyk, 0xEE), color=None)
    yield used("rle.tga", "TGA, run lengths", saved("TGA", compression="tga_rle"))
    yield used("lossless.webp", "WebP, lossless", saved("WEBP", lossless=True))
    for format_name in ("GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"):
        content = broken.frames(format_name)
        yield used(f"frames.{ENDINGS[format_name]}", f"{format_name} of several pictures: the first", content)
    for name, profile in (("icc", broken.icc_profile()), ("icc-garbage", b"no profile" * 50), ("icc-empty", b"\0" * 128)):
        for format_name in ("JPEG", "PNG", "WEBP"):
            content = saved(format_name, icc_profile=profile)
            yield used(f"{name}.{ENDINGS[format_name]}", f"{format_name} with a color profile: {name}", content)
    for format_name, ending in (("JPEG", "png"), ("PNG", "jpg"), ("GIF", "jpeg"), ("WEBP", "tif"), ("BMP", "webp")):
        yield used(f"really-{format_name}.{ending}", f"{format_name} named .{ending}", saved(format_name))
    yield used("UPPER.JPG", "upper-case extension", saved("JPEG"))
    yield used("trailing.jpg", "zeros behind the picture", saved("JPEG") + bytes(999))
    yield used("script.gif", "a GIF that is a script as well", saved("GIF") + b"/*<script>alert(1)</script>*/")
    yield used("zip-behind.jpg", "a JPEG with a zip archive behind it", saved("JPEG") + b"PK\x03\x04" + bytes(400))
    yield used("many-chunks.png", "20,000 chunks of text", broken.png_with(broken.chunk(b"tEXt", b"k\0v") * 20_000))


def turned() -> Iterator[Case]:
    """Exif, right and wrong."""
    for orientation in (*range(1, 9), 0, 9, 65535):
        size = (WIDTH, HEIGHT) if orientation in (5, 6, 7, 8) else (HEIGHT, WIDTH)
        content = broken.with_orientation(orientation)
        yield used(f"exif-{orientation}.jpg", f"Exif orientation {orientation}", content, size=size)
    wrong = {"garbage": b"garbage", "cut": b"MM\0*\0\0", "huge": b"\xff" * 60000}
    for name, exif in {name: b"Exif\0\0" + text for name, text in wrong.items()}.items():
        yield used(f"exif-{name}.jpg", f"Exif that is no Exif: {name}", saved("JPEG", exif=exif))
    yield used("exif-loop.jpg", "Exif that goes round in circles", saved("JPEG", exif=broken.exif_loop()))


def sizes() -> Iterator[Case]:
    """From one pixel to as many as are decoded."""
    for height, width in ((1, 1), (1, 2), (2, 1), (1, 5000), (5000, 1), (7, 13), (1, 65500), (65500, 1), (8, 65500)):
        for format_name in ("JPEG", "PNG"):
            content = as_bytes(Image.new("RGB", (width, height), RED), format_name)
            name = f"{height}x{width}.{ENDINGS[format_name]}"
            yield used(name, f"{format_name} of {height} x {width} px", content, size=(height, width))
    largest = (6300, 6300)  # 39.7 million pixels
    yield used("largest.png", "as many pixels as are decoded", flat_png(1, 1, size=largest), size=largest, color=WHITE)


def bombs() -> Iterator[Case]:
    """Small files that ask for a lot of memory."""
    for side in (6400, 9000, 12000, 20000):
        yield left_out(f"bomb-{side}.png", f"{side} x {side} px in some kB", TOO_LARGE, flat_png(1, 0, size=(side, side)))
    huge = {
        "png": broken.png_header(0x7FFFFFFF, 0x7FFFFFFF, 8, 2) + broken.chunk(b"IDAT", b"x"),
        "gif": broken.gif_that_declares(65535),
        "bmp": broken.bmp_that_declares(60000),
        "jpg": broken.jpeg_that_declares(65500, 65500),
        "webp": broken.webp_that_declares_the_most(),
        "tif": broken.tiff_that_declares(1_000_000),
        "ppm": b"P6 1000000 1000000 255\n" + bytes(99),
        "pgm": b"P5 99999999999999999999 9 255\n" + bytes(99),
        "tga": broken.tga_that_declares_the_most(),
        "qoi": b"qoif\xff\xff\xff\xff\xff\xff\xff\xff\3\0" + b"\xfd" * 99,
        "jp2": broken.jpeg2000_that_declares(4_000_000_000),
    }
    for ending, content in huge.items():
        yield left_out(f"declared.{ending}", "declares far more pixels than it holds", TOO_LARGE | DAMAGED, content)
    frame = broken.gif_with_large_frame()
    yield left_out("frame.gif", "a frame far larger than the picture", TOO_LARGE | DAMAGED, frame, may_be_used=True)
    many_strips = broken.tiff_that_declares(5000, num_strips=0xFFFFFFFF)
    yield left_out("strips.tif", "strips of more bytes than there are", DAMAGED, many_strips)
    for name, kind in (("text", b"zTXt"), ("profile", b"iCCP")):
        content = broken.png_with(broken.chunk(kind, b"name\0\0" + zlib.compress(bytes(20_000_000), 1)))
        yield left_out(f"bomb-{name}.png", f"20 MB of packed {name}", DAMAGED | TOO_LARGE, content, may_be_used=True)


def no_pictures() -> Iterator[Case]:
    """What bears the name of a picture, or not even that."""
    yield left_out("zero.jpg", "no byte", EMPTY, b"")
    contents = {
        "zeros.jpg": bytes(4096),
        "page.jpg": b"<!DOCTYPE html><html><body>404</body></html>",
        "text.png": b"this is a text\n" * 40,
        "json.webp": b'{"error": "not found"}',
        "document.jpg": b"%PDF-1.7\n%...",
        "archive.jpg": b"PK\x03\x04" + bytes(200),
        "program.jpg": b"MZ\x90\0" + bytes(500),
        "elf.png": b"\x7fELF" + bytes(500),
        "drawing.png": b'<svg xmlns="http://www.w3.org/2000/svg"><rect/></svg>',
        "entities.png": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><svg>&b;</svg>',
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n",
        "photoshop.png": b"8BPS\0\1" + bytes(200),
        "video.jpg": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(200),
        "icon.png": b"\0\0\1\0\1\0" + bytes(80),
    }
    for name, content in contents.items():
        yield left_out(name, "something else by the name of a picture", NOT_AN_IMAGE, content)
    yield left_out("one-byte.jpg", "one byte", DAMAGED, b"\xff")
    noise = np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes()
    yield left_out("noise.jpg", "bytes by chance", DAMAGED, noise)
    magics = {
        "jpg": b"\xff\xd8\xff\xe0",
        "png": broken.PNG_SIGNATURE,
        "gif": b"GIF89a",
        "bmp": b"BM",
        "webp": b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
        "tif": b"II*\0\x08\0\0\0",
        "jp2": b"\0\0\0\x0cjP  \r\n\x87\n",
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0",
        "qoi": b"qoif",
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    }
    for ending, content in magics.items():
        reasons = DAMAGED | ({"needs_heic"} if ending == "heic" else set())
        yield left_out(f"only-magic.{ending}", f"the first bytes of {ending} and no more", reasons, content)
    for name in ("notes.txt", "movie.mp4", "paper.pdf", "no-extension", "vector.svg", "raw.cr2", "model.pkl", "run.exe"):
        yield left_out(name, "not read as a picture", NOT_READ, b"whatever")
    for name in (".hidden.jpg", "Thumbs.db", "desktop.ini", ".DS_Store", "._resource.jpg"):
        yield Case(name, "litter", is_passed_over=True, content=b"whatever")


def damaged() -> Iterator[Case]:
    """What was a picture once."""
    whole = {"JPEG": as_bytes(noisy_picture(RED, 1, (200, 260)), "JPEG", quality=90)}
    for format_name in ("PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "JPEG2000", "QOI", "PPM", "TGA"):
        whole[format_name] = as_bytes(noisy_picture(RED, 1, (60, 80)), format_name)
    for format_name, content in whole.items():
        ending = ENDINGS[format_name]
        is_usual = format_name in ("JPEG", "PNG")
        for share in (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97) if is_usual else (0.1, 0.5, 0.9):
            short = broken.cut(content, share)
            may_be_used = format_name in ("GIF", "JPEG2000", "QOI")
            yield left_out(f"cut-{share:g}.{ending}", f"{share:.0%} of it", DAMAGED, short, may_be_used=may_be_used)
        for share in (0.3, 0.6):
            changed = broken.flipped(content, int(len(content) * share))
            yield left_out(f"flip-{share:g}.{ending}", f"one byte changed at {share:.0%}", DAMAGED, changed, may_be_used=True)
    for position in (0, 2, 4):  # the marker of the start, of the first segment, its length
        changed = broken.flipped(whole["JPEG"], position)
        yield left_out(f"flip-byte-{position}.jpg", f"byte {position} changed", DAMAGED, changed, may_be_used=position == 4)
    for position in (0, 12, 16, 24, 29):  # signature, chunk name, width, bits, checksum
        changed = broken.flipped(whole["PNG"], position)
        yield left_out(f"flip-byte-{position}.png", f"byte {position} changed", DAMAGED | TOO_LARGE, changed)
    yield used("no-end.png", "the last 12 bytes are missing, no pixel is", saved("PNG")[:-12])
    zeroed = broken.patched(whole["JPEG"], 2000, bytes(4096))
    yield left_out("zeroed-page.jpg", "a page lost to a power cut", DAMAGED, zeroed, may_be_used=True)
    joined = whole["JPEG"][:3000] + whole["PNG"][3000:]
    yield left_out("two-halves.jpg", "half of one file, half of another", DAMAGED, joined, may_be_used=True)
