"""The one decoder: every picture in audit, training, evaluation, prediction and serving comes through `decode`.

What is decided here, once:

- the content decides what a file is, not its name; only the formats in `FORMATS` are tried;
- at most 100 million declared and 40 million decoded pixels; the first frame of animations;
- a JPEG is decoded at the smallest of its DCT scales that still covers twice the size wanted, which is several times
  faster for camera pictures and finds truncation as well;
- Exif orientation is applied; 16 bits are scaled to 8; transparency is composited over white; grey, palettes and CMYK
  become RGB; colour profiles are ignored.

`shrink` is the one resize: Pillow's antialiased bilinear, to exactly the size wanted.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from fieldguide.errors import DecodeError

DECODER_VERSION = 2  # part of every cache key: raise it when any pixel can come out differently

# Pillow's own name of each format -> the extensions it usually has. Formats that run other programs (EPS), that few
# people have and many have attacked (FLI, PSD, FPX, ...) or that are no still pictures are left out.
FORMATS: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    "JPEG2000": (".jp2", ".j2k", ".jpx", ".jpf"),
    "AVIF": (".avif",),
    "QOI": (".qoi",),
}
HEIC_EXTENSIONS = (".heic", ".heif", ".hif")
EXTENSIONS = frozenset(ext for group in FORMATS.values() for ext in group) | frozenset(HEIC_EXTENSIONS)

MAX_DECLARED_PIXELS = 100_000_000
MAX_DECODED_PIXELS = 40_000_000
MAX_FILE_BYTES = 500_000_000
_STRIP_PIXELS = 1_000_000
_TURNS = {  # what undoes each Exif orientation; Pillow's exif_transpose writes Exif anew, and fails where a tag is malformed
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Pillow warns from 89 million pixels on; the limits above take the place of that warning.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture as the decoder gives it."""

    pixels: NDArray[np.uint8]  # (height, width, 3), RGB; for a large JPEG at a DCT scale
    format: str  # Pillow's name: JPEG, PNG, ...
    size: tuple[int, int]  # (height, width) as stored in the file, orientation applied
    brightest: int | None  # of a 16-bit picture: its largest value; None for others
    is_animated: bool
    camera: str = ""  # maker and model, as Exif names them; empty where it does not


def read_file(path: str | os.PathLike[str]) -> bytes:
    """A picture file's content.

    Raises:
        DecodeError: `empty`, `too_large` (more than 500 MB) or `unreadable`.
    """
    try:
        status = os.stat(path)  # before opening: to open a pipe would wait for ever
        if stat.S_ISDIR(status.st_mode):
            os.scandir(path).close()  # where it cannot be read, that is what is wrong
            raise DecodeError("unreadable", "it is a folder, not a picture")
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError("unreadable", "it is not a regular file")
        if status.st_size == 0:
            raise DecodeError("empty", "the file is empty (0 bytes)")
        if status.st_size > MAX_FILE_BYTES:
            raise DecodeError("too_large", f"the file has {status.st_size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise DecodeError("unreadable", f"the file cannot be read: {error.strerror or error}") from error


def decode(content: bytes, *, cover: tuple[int, int], sixteen_bit_max: int | None = None) -> Decoded:
    """Decodes the bytes of one picture to RGB.

    Args:
        content: the whole file.
        cover: (height, width) of the network's input; a JPEG is decoded at a scale that covers twice this.
        sixteen_bit_max: the value of white in 16-bit grey pictures; 65535 when None. A 12-bit camera needs 4095.

    Raises:
        DecodeError: with a reason code, if the bytes are no picture of a format in `FORMATS`, are damaged or too large.
    """
    if not content:
        raise DecodeError("empty", "the file is empty (0 bytes)")
    try:
        with _open(content) as image:
            return _decode(image, cover, sixteen_bit_max)
    except DecodeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DecodeError("too_large", str(error)) from error
    except MemoryError as error:
        raise DecodeError("no_memory", "there is not enough memory to decode it") from error
    except Exception as error:  # Pillow has no base class for what a damaged file can make its parsers raise
        raise _damaged(error) from error


def shrink(pixels: NDArray[np.uint8], image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes (height, width, 3) to (*image_size, 3), antialiased and without keeping the aspect ratio."""
    height, width = image_size
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image)


def load(content: bytes, image_size: tuple[int, int], *, sixteen_bit_max: int | None = None) -> NDArray[np.uint8]:
    """Decodes and resizes: bytes -> (*image_size, 3) RGB uint8. Errors as `decode`."""
    return shrink(decode(content, cover=image_size, sixteen_bit_max=sixteen_bit_max).pixels, image_size)


def from_image(image: Image.Image, *, cover: tuple[int, int], sixteen_bit_max: int | None = None) -> Decoded:
    """The same for a picture that is open in Pillow already; it keeps its size and its mode.

    Raises:
        DecodeError: as `decode`.
    """
    try:
        content = _untouched_content(image)
        if content is not None:
            with _open(content) as copy:
                return _decode(copy, cover, sixteen_bit_max)
        return _decode(image, cover, sixteen_bit_max, is_ours=False)
    except DecodeError:
        raise
    except Exception as error:
        raise _damaged(error) from error


def thumbnail(pixels: NDArray[np.uint8], side: int = 96) -> bytes:
    """A small JPEG (about 2 KB) whose longer side is at most `side`, for reports."""
    image = Image.fromarray(pixels)
    # Two steps, the first of them a plain mean over blocks: three times faster, and nobody learns from thumbnails.
    image.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=1.5)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=70)
    return buffer.getvalue()


def _open(content: bytes) -> Image.Image:
    formats = list(FORMATS)
    is_heic = _looks_like_heic(content)
    if is_heic:
        _register_heif()
        formats = ["HEIF"]
    try:
        return Image.open(io.BytesIO(content), formats=formats)
    except UnidentifiedImageError as error:
        if is_heic:
            raise DecodeError("unreadable", "damaged: it begins as HEIC and goes on otherwise") from error
        raise DecodeError("not_an_image", f"not a picture: {_describe(content)}") from error


def _untouched_content(image: Image.Image) -> bytes | None:
    """The file of a JPEG that is open and was not decoded yet, so that it can be decoded as from its path; None otherwise."""
    if not _is_jpeg(image) or image.fp is None or getattr(image.fp, "closed", False) or not image.tile or image.tell():
        return None
    position = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(position)
    with _open(content) as copy:
        is_same = (copy.size, copy.mode) == (image.size, image.mode)  # not where its owner has asked for a draft
    return content if is_same else None


def _is_jpeg(image: Image.Image) -> TypeGuard[ImageFile.ImageFile]:
    return isinstance(image, ImageFile.ImageFile) and image.format in ("JPEG", "MPO")


def _decode(image: Image.Image, cover: tuple[int, int], sixteen_bit_max: int | None, *, is_ours: bool = True) -> Decoded:
    width, height = image.size
    if width * height > MAX_DECLARED_PIXELS:
        raise DecodeError("too_large", f"{width} x {height} px is more than {MAX_DECLARED_PIXELS // 1_000_000} million pixels")
    is_jpeg = _is_jpeg(image)
    if not is_jpeg:  # the pixels first: what is wrong with them is said, what is wrong with Exif is passed over
        _refuse_to_decode(image.size)
        image.load()
        width, height = image.size  # of a TIFF, which Pillow turns by itself
    orientation, camera = _exif_of(image)
    is_turned = orientation in (5, 6, 7, 8)
    if is_jpeg:
        if is_ours:
            image.draft(None, (2 * cover[0], 2 * cover[1]) if is_turned else (2 * cover[1], 2 * cover[0]))
        _refuse_to_decode(image.size)
        image.load()
    format_name, is_animated = image.format or "array", bool(getattr(image, "is_animated", False))
    brightest = None
    if image.mode.startswith(("I", "F")):
        image, brightest = _to_eight_bits(image, sixteen_bit_max)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    pixels = np.array(_to_rgb(image), dtype=np.uint8)
    size = (width, height) if is_turned else (height, width)
    return Decoded(pixels, format_name, size, brightest, is_animated, camera)


def _exif_of(image: Image.Image) -> tuple[int, str]:
    """(orientation, camera); (1, "") where there is no Exif, or none that can be read."""
    if image.format == "GIF":
        return 1, ""
    try:
        exif = image.getexif()
        orientation = exif.get(0x0112, 1)
        camera = " ".join(str(exif.get(tag, "")).strip(" \0") for tag in (0x010F, 0x0110)).strip()[:100]
    except Exception:  # Pillow has no base class for what malformed Exif can make it raise
        return 1, ""
    return orientation if isinstance(orientation, int) else 1, camera


def _refuse_to_decode(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_DECODED_PIXELS:
        raise DecodeError(
            "too_large", f"{width} x {height} px to decode is more than {MAX_DECODED_PIXELS // 1_000_000} million"
        )


def _strips(width: int, height: int) -> Iterator[tuple[int, int]]:
    """(first row, row after the last) of pieces that are worked on one after the other, to bound the memory."""
    rows = max(_STRIP_PIXELS // width, 1)
    for top in range(0, height, rows):
        yield top, min(top + rows, height)


def _to_eight_bits(image: Image.Image, sixteen_bit_max: int | None) -> tuple[Image.Image, int | None]:
    """Grey of more than 8 bits -> "L". Pillow's own conversion clips, which turns 16-bit pictures white."""
    values = np.asarray(image)
    if image.mode == "F":
        low, high = float(values.min()), float(values.max())
        if not (0.0 <= low and high <= 1.0):  # False for NaN as well
            raise DecodeError("unsupported", f"floating-point pixels from {low:g} to {high:g}; only 0 to 1 is known")
        scale, brightest = 255.0, None
    else:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise DecodeError("unsupported", f"32-bit pixels from {low} to {high}; at most 65535 is known")
        scale, brightest = 255.0 / (sixteen_bit_max or 65535), high
    eight_bits = np.empty(values.shape, np.uint8)
    for top, bottom in _strips(*image.size):
        eight_bits[top:bottom] = np.clip(np.rint(values[top:bottom].astype(np.float64) * scale), 0, 255)
    return Image.fromarray(eight_bits), brightest


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if not image.has_transparency_data:
        return image.convert("RGB")
    width, height = image.size
    result = Image.new("RGB", (width, height))
    for top, bottom in _strips(width, height):
        strip = image.crop((0, top, width, bottom)).convert("RGBA")
        white = Image.new("RGBA", strip.size, (255, 255, 255, 255))
        result.paste(Image.alpha_composite(white, strip), (0, top))
    return result


def _looks_like_heic(content: bytes) -> bool:
    brands = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return content[4:8] == b"ftyp" and content[8:12] in brands and b"avif" not in content[8:64]


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise DecodeError("needs_heic", "HEIC needs an optional part\nhint: pip install fieldguide[heic]") from error
    pillow_heif.register_heif_opener()


def _damaged(error: BaseException) -> DecodeError:
    text = str(error).strip() or type(error).__name__
    is_cut = any(word in text.lower() for word in ("truncated", "unexpected end", "eof", "not enough", "broken data"))
    return DecodeError("truncated" if is_cut else "unreadable", f"damaged: {text}")


def _describe(content: bytes) -> str:
    """What a file that is no picture seems to be, in a few words."""
    start = content[:512].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "it holds a web page"
    if start.startswith((b"<svg", b"<?xml")):
        return "it holds SVG or XML"
    signatures = {b"%pdf": "a PDF", b"pk\x03\x04": "a zip archive", b"8bps": "a Photoshop file", b"%!ps": "PostScript"}
    for signature, name in signatures.items():
        if start.startswith(signature):
            return f"it holds {name}"
    if content[4:8] == b"ftyp":
        return "it holds a video"
    return "the content is of no known picture format"
