"""Pictures that belong to no class of the data sets: made here, or cut from the samples that libraries ship.

Each function gives the same pictures for the same count. `fashion_mnist` needs Debian's package `dataset-fashion-mnist`,
`photographs` and `textures` the package scikit-image.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIZE = 320  # pixels of a side
_WORDS = (
    "the of and to in is was for on that with as by at from are this be which or an were not have had but one all their "
    "report survey result sample table figure method garden winter bridge letter number minister harbour window copper "
    "measurement laboratory committee agreement quarter balance invoice amount payment address delivery reference"
).split()
# Photographs in scikit-image's package that show neither cat nor dog, and close-ups of surfaces.
_PHOTOGRAPHS = tuple(
    "astronaut.png camera.png clock_motion.png coffee.png coins.png hubble_deep_field.jpg ihc.png moon.png "
    "motorcycle_left.png motorcycle_right.png retina.jpg rocket.jpg".split()
)
_SURFACES = ("brick.png", "grass.png", "gravel.png")


def far() -> dict[str, Callable[[int], list[Image.Image]]]:
    """The sets that the bar for far strangers speaks of."""
    return {"textures": textures, "documents": documents, "drawings": drawings, "photographs": photographs}


def easy() -> dict[str, Callable[[int], list[Image.Image]]]:
    """Sets that anything tells apart from photographs: listed, and no proof."""
    return {"digits": digits, "Fashion-MNIST": fashion_mnist, "noise": noise}


def textures(count: int) -> list[Image.Image]:
    """A third each: crops of photographed surfaces, coloured noise of several octaves, and patterns."""
    rng = np.random.default_rng(1)
    surfaces = [Image.open(path).convert("RGB") for path in _sample_files(_SURFACES)]
    kinds = (lambda: _crop(surfaces[rng.integers(len(surfaces))], rng), lambda: _octaves(rng), lambda: _pattern(rng))
    return [kinds[i % len(kinds)]() for i in range(count)]


def documents(count: int) -> list[Image.Image]:
    """Pages of text: letters, two columns, tables; scanned straight or photographed askew."""
    rng = np.random.default_rng(2)
    return [_page(rng) for _ in range(count)]


def drawings(count: int) -> list[Image.Image]:
    """Scribbles, scenes of plain shapes, and charts."""
    rng = np.random.default_rng(3)
    kinds = (_scribble, _scene, _chart)
    return [kinds[i % len(kinds)](rng) for i in range(count)]


def photographs(count: int) -> list[Image.Image]:
    """Crops of the sample photographs of scikit-learn, scikit-image and matplotlib; none shows a cat or a dog."""
    rng = np.random.default_rng(4)
    whole = [Image.open(path).convert("RGB") for path in _photograph_files()]
    return [_crop(whole[i % len(whole)], rng) for i in range(count)]


def digits(count: int) -> list[Image.Image]:
    """Handwritten digits, 8 x 8 pixels, as scikit-learn ships them."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[:count] * (255 / 16)).astype(np.uint8)
    return [Image.fromarray(p) for p in pixels]


def fashion_mnist(count: int) -> list[Image.Image]:
    """Clothes, 28 x 28 pixels."""
    path = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
    if not path.is_file():
        raise SystemExit("apt-get install dataset-fashion-mnist")
    pixels = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 28, 28)
    return [Image.fromarray(p) for p in pixels[:count]]


def noise(count: int) -> list[Image.Image]:
    """Each value of each pixel by chance."""
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)) for _ in range(count)]


def _photograph_files() -> list[Path]:
    import matplotlib
    import sklearn.datasets

    images = Path(sklearn.datasets.__file__).parent / "images"
    hopper = Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")
    return [*sorted(images.glob("*.jpg")), hopper, *_sample_files(_PHOTOGRAPHS)]


def _sample_files(names: tuple[str, ...]) -> list[Path]:
    try:
        import skimage
    except ImportError:
        raise SystemExit("pip install scikit-image") from None
    folder = Path(skimage.__file__).parent / "data"
    return [folder / name for name in names if (folder / name).is_file()]


def _crop(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A random part, 30 to 100 % of each side, mirrored half of the time."""
    width, height = (max(32, round(side * rng.uniform(0.3, 1.0))) for side in picture.size)
    left, top = (int(rng.integers(0, whole - part + 1)) for whole, part in zip(picture.size, (width, height), strict=True))
    part = picture.crop((left, top, left + width, top + height))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part


def _color(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3).tolist()
    return red, green, blue


def _octaves(rng: np.random.Generator) -> Image.Image:
    total = np.zeros((SIZE, SIZE, 3))
    for cells in (4, 8, 16, 32, 64, 128):
        small = rng.uniform(-1, 1, (cells, max(2, int(cells * rng.uniform(0.3, 1))), 3))
        planes = [
            Image.fromarray(small[:, :, c].astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BICUBIC) for c in range(3)
        ]
        total += np.stack([np.asarray(plane) for plane in planes], axis=2) / cells ** rng.uniform(0.3, 1)
    mixed = total @ (np.eye(3) + rng.uniform(0, 1, (3, 3)))
    scaled = (mixed - mixed.min()) / (mixed.max() - mixed.min())
    return Image.fromarray((255 * scaled).astype(np.uint8))


def _pattern(rng: np.random.Generator) -> Image.Image:
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    angle, period = rng.uniform(0, math.pi), rng.uniform(6, 50)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    bend = rng.uniform(0, 10) * np.sin(v / rng.uniform(10, 60))
    waves = np.sin(2 * math.pi * (u + bend) / period)
    if rng.random() < 0.6:
        waves = waves * np.sin(2 * math.pi * v / period)
    if rng.random() < 0.5:
        waves = np.sign(waves)
    share = (waves[:, :, None] + 1) / 2
    picture = (
        share * np.array(_color(rng)) + (1 - share) * np.array(_color(rng)) + rng.normal(0, rng.uniform(0, 12), (SIZE, SIZE, 1))
    )
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _font(size: int, rng: np.random.Generator) -> ImageFont.FreeTypeFont:
    import matplotlib

    names = (
        "DejaVuSans.ttf",
        "DejaVuSerif.ttf",
        "DejaVuSansMono.ttf",
        "DejaVuSerif-Italic.ttf",
        "STIXGeneral.ttf",
        "cmr10.ttf",
    )
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", names[rng.integers(len(names))])), size)


def _page(rng: np.random.Generator) -> Image.Image:
    width, height = (480, 640) if rng.random() < 0.7 else (640, 480)
    paper = tuple(int(255 - rng.integers(0, 40)) for _ in range(3))
    page = Image.new("RGB", (width, height), paper)
    draw, size = ImageDraw.Draw(page), int(rng.integers(9, 20))
    font, ink = _font(size, rng), tuple(int(v) for v in rng.integers(0, 80, 3))
    top = margin = int(rng.integers(20, 60))
    if rng.random() < 0.7:
        draw.text((margin, top), " ".join(rng.choice(_WORDS, 3)).title(), fill=ink, font=_font(size * 2, rng))
        top += 3 * size
    columns = int(rng.integers(1, 3))
    is_table = rng.random() < 0.3
    for y in range(top, height - margin, int(size * 1.5)):
        if not is_table and rng.random() < 0.08:
            continue  # a paragraph ends
        for column in range(4 if is_table else columns):
            share = (width - 2 * margin) / (4 if is_table else columns)
            line = str(rng.integers(1, 10_000)) if is_table and column else " ".join(rng.choice(_WORDS, 20))
            line = line[: int((share - size) / (draw.textlength(line, font=font) / len(line)))]
            draw.text((margin + column * share, y), line, fill=ink, font=font)
        if is_table:
            draw.line((margin, y - 2, width - margin, y - 2), fill=ink)
    if rng.random() < 0.4:  # photographed askew on a table
        page = page.rotate(rng.uniform(-15, 15), expand=True, fillcolor=_color(rng), resample=Image.Resampling.BICUBIC)
        page = page.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
    return page


def _scribble(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIZE, SIZE), "white")
    draw = ImageDraw.Draw(page)
    for _ in range(rng.integers(3, 15)):
        points = np.cumsum(rng.normal(0, 18, (rng.integers(5, 40), 2)), axis=0) + rng.uniform(40, SIZE - 40, 2)
        ink = (20, 20, 20) if rng.random() < 0.6 else _color(rng)
        draw.line([tuple(p) for p in points.tolist()], fill=ink, width=int(rng.integers(1, 6)), joint="curve")
    return page


def _scene(rng: np.random.Generator) -> Image.Image:
    """A house, a sun, trees, people of strokes: what a child draws."""
    page = Image.new("RGB", (SIZE, SIZE), "white" if rng.random() < 0.5 else _color(rng))
    draw, ink = ImageDraw.Draw(page), (30, 30, 30)
    ground = int(rng.uniform(0.55, 0.85) * SIZE)
    draw.rectangle((0, ground, SIZE, SIZE), fill=_color(rng))
    sun = int(rng.integers(20, SIZE - 60))
    draw.ellipse((sun, 15, sun + 45, 60), fill=(250, 220, 40), outline=ink)
    for _ in range(rng.integers(1, 4)):
        x, wide, tall = int(rng.integers(10, SIZE - 110)), int(rng.integers(50, 110)), int(rng.integers(40, 100))
        draw.rectangle((x, ground - tall, x + wide, ground), fill=_color(rng), outline=ink, width=2)
        draw.polygon(
            [(x - 8, ground - tall), (x + wide / 2, ground - tall - 45), (x + wide + 8, ground - tall)],
            fill=_color(rng),
            outline=ink,
        )
        draw.rectangle((x + wide * 0.4, ground - tall * 0.5, x + wide * 0.6, ground), fill=_color(rng), outline=ink)
    for _ in range(rng.integers(1, 5)):
        x, tall = int(rng.integers(10, SIZE - 30)), int(rng.integers(30, 90))
        draw.rectangle((x + 12, ground - tall, x + 20, ground), fill=(120, 80, 40))
        draw.ellipse((x - 8, ground - tall - 40, x + 40, ground - tall + 15), fill=(40, 150, 60), outline=ink)
    return page


def _chart(rng: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (SIZE, SIZE), "white")
    draw, font = ImageDraw.Draw(page), _font(12, rng)
    draw.line((40, 20, 40, SIZE - 40, SIZE - 15, SIZE - 40), fill="black", width=2)
    draw.text((60, 5), " ".join(rng.choice(_WORDS, 3)), fill="black", font=font)
    values, step = rng.uniform(0.05, 1, rng.integers(3, 9)), (SIZE - 70)
    kind, colors = rng.integers(3), [_color(rng) for _ in range(9)]
    previous: tuple[float, float] | None = None
    for i, value in enumerate(values):
        x, wide = 48 + i * step / len(values), step / len(values) - 6
        y = SIZE - 42 - value * (SIZE - 90)
        if kind == 0:
            draw.rectangle((x, y, x + wide, SIZE - 42), fill=colors[i])
        elif kind == 1:
            draw.ellipse((x, y, x + 9, y + 9), fill=colors[0])
            if previous:
                draw.line((*previous, x + 4, y + 4), fill=colors[0], width=2)
            previous = (x + 4, y + 4)
        else:
            start = 360 * values[:i].sum() / values.sum()
            draw.pieslice((70, 60, 270, 260), start, start + 360 * value / values.sum(), fill=colors[i], outline="white")
        draw.text((x, SIZE - 36), str(i + 1), fill="black", font=font)
    return page
