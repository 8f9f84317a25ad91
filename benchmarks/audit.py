"""What the audit finds of what was planted: wrong labels, near-copies, an artefact; and what it costs.

    python benchmarks/audit.py labels FOLDER [SEEDS] [PER_CLASS]   5 % of the labels flipped; seeds 0 .. SEEDS - 1 (3)
    python benchmarks/audit.py fashion [SEEDS]                     the same on Fashion-MNIST, 300 a class (Debian package
                                                                   dataset-fashion-mnist)
    python benchmarks/audit.py copies FOLDER [SEEDS]               100 pictures copied with five changes
    python benchmarks/audit.py artefact FOLDER                     the first class 15 % darker
    python benchmarks/audit.py cost FOLDER [TIMES]                 seconds after the embedding pass, and of the pass

Each goes through `fieldguide.audit` on a folder that is made for it and removed. Thresholds were chosen with seeds from 100 on.
A row per run goes to results/audit.csv.
"""

from __future__ import annotations

import gzip
import shutil
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import add_row
from PIL import Image, ImageEnhance, ImageOps
from sklearn.metrics import average_precision_score

import fieldguide
from fieldguide.data.cache import Cache
from fieldguide.data.decoding import EXTENSIONS
from fieldguide.data.index import index_folder
from fieldguide.recipes.registry import DEFAULT_RECIPE, recipe_of
from fieldguide.workflow.looking import look_at
from fieldguide.workflow.scanning import Embedder

FASHION = Path("/usr/share/datasets/fashion-mnist")
FASHION_NAMES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Boot")


def _pictures(folder: Path) -> dict[str, list[Path]]:
    """Class name -> its files, from whatever parts there are."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in EXTENSIONS:
            found.setdefault(path.parent.name, []).append(path)
    return found


def _row(what: str, dataset: str, seed: int | str, num_images: int, seconds: float, **values: object) -> None:
    names = ("recall", "precision", "average_precision", "num_planted", "num_named", "expected_wrong", "detail")
    fixed = {"what": what, "dataset": dataset, "seed": seed, "num_images": num_images, "seconds": round(seconds, 2)}
    rounded = {name: values.get(name, "") for name in names}
    add_row("audit", fixed | {n: round(v, 4) if isinstance(v, float) else v for n, v in rounded.items()})


def _labels(classes: dict[str, list[Path]], dataset: str, seed: int, per_class: int | None) -> None:
    rng = np.random.default_rng(seed)
    names = sorted(classes)
    chosen = {n: [classes[n][i] for i in rng.permutation(len(classes[n]))[:per_class]] for n in names}
    everything = [(path, k) for k, name in enumerate(names) for path in chosen[name]]
    flipped = set(rng.choice(len(everything), len(everything) // 20, replace=False).tolist())
    with tempfile.TemporaryDirectory() as folder:
        planted = np.zeros(len(everything), bool)
        paths = []
        for i, (source, label) in enumerate(everything):
            if i in flipped:
                planted[i] = True
                label = int((label + rng.integers(1, len(names))) % len(names))
            target = Path(folder, names[label], f"{i:06d}{source.suffix}")
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
            paths.append(target.relative_to(folder).as_posix())
        started = time.perf_counter()
        audit = fieldguide.audit(folder, progress=False, seed=seed)
        seconds = time.perf_counter() - started
    score = {f.paths[0]: f.score for f in audit.findings if f.kind == "label_error"}
    scores = np.array([score.get(path, 0.0) for path in paths])
    named = scores > 0
    _row(
        "5 % of the labels flipped",
        dataset,
        seed,
        len(paths),
        seconds,
        recall=float((named & planted).sum() / planted.sum()),
        precision=float((named & planted).sum() / max(named.sum(), 1)),
        average_precision=float(average_precision_score(planted, scores)),  # of the named; the others count as last
        num_planted=int(planted.sum()),
        num_named=int(named.sum()),
        expected_wrong=float(scores.sum()),
        detail=f"estimated share of wrong labels {audit.label_noise:.4f}",
    )


def _changes(image: Image.Image, rng: np.random.Generator) -> dict[str, tuple[Image.Image, int]]:
    """Each with the JPEG quality it is saved at."""
    width, height = image.size
    w, h = round(0.92 * width), round(0.92 * height)
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    factor = 0.8 if rng.random() < 0.5 else 1.2
    return {
        "JPEG quality 60": (image, 60),
        "resized to 70 %": (image.resize((max(1, round(0.7 * width)), max(1, round(0.7 * height)))), 90),
        "cropped by 8 %": (image.crop((x, y, x + w, y + h)), 90),
        "mirrored": (ImageOps.mirror(image), 90),
        "brightness +-20 %": (ImageEnhance.Brightness(image).enhance(factor), 90),
    }


def _copies(classes: dict[str, list[Path]], dataset: str, seed: int, per_class: int | None) -> None:
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        originals = []
        for name, files in sorted(classes.items()):
            Path(folder, name).mkdir()
            for i in rng.permutation(len(files))[:per_class]:
                target = Path(folder, name, f"{len(originals):06d}{files[i].suffix}")
                shutil.copyfile(files[i], target)
                originals.append(target)
        copy_of: dict[str, tuple[str, str]] = {}
        for i in rng.choice(len(originals), 100, replace=False):
            image = Image.open(originals[i]).convert("RGB")
            for k, (change, (changed, quality)) in enumerate(_changes(image, rng).items()):
                target = originals[i].with_name(f"{originals[i].stem}-copy-{k}.jpg")
                changed.save(target, "JPEG", quality=quality)
                copy_of[target.relative_to(folder).as_posix()] = (originals[i].relative_to(folder).as_posix(), change)
        started = time.perf_counter()
        audit = fieldguide.audit(folder, progress=False, seed=seed)
        seconds = time.perf_counter() - started
    group_of = {path: k for k, group in enumerate(audit.groups) for path in group}
    found: dict[str, list[bool]] = {}
    for path, (original, change) in copy_of.items():
        found.setdefault(change, []).append(path in group_of and group_of[path] == group_of.get(original))
    unplanted = [[p for p in group if p not in copy_of] for group in audit.groups]
    unplanted = [group for group in unplanted if len(group) > 1]
    everything = [hit for hits in found.values() for hit in hits]
    _row(
        "100 pictures with five near-copies each",
        dataset,
        seed,
        audit.num_images,
        seconds,
        recall=float(np.mean(everything)),
        num_planted=len(everything),
        num_named=sum(map(len, audit.groups)),
        detail="; ".join(f"{change} {np.mean(hits):.2f}" for change, hits in found.items())
        + f"; {len(unplanted)} groups of originals ({1000 * len(unplanted) / len(originals):.2f} in 1,000 originals)",
    )


def _artefact(classes: dict[str, list[Path]], dataset: str) -> None:
    for factor in (1.0, 0.85):
        with tempfile.TemporaryDirectory() as folder:
            for k, (name, files) in enumerate(sorted(classes.items())):
                Path(folder, name).mkdir()
                for path in files:
                    target = Path(folder, name, f"{path.parent.parent.name}-{path.stem}.jpg")
                    image = Image.open(path).convert("RGB")
                    ImageEnhance.Brightness(image).enhance(factor if k == 0 else 1.0).save(target, "JPEG", quality=90)
            started = time.perf_counter()
            audit = fieldguide.audit(folder, progress=False, quick=True)
            seconds = time.perf_counter() - started
        found = [f"{f.message.split(' alone')[0]}: {f.score:.3f}" for f in audit.findings if f.kind == "artefact"]
        what = "one class 15 % darker" if factor < 1 else "nothing planted, for artefacts"
        _row(what, dataset, "", audit.num_images, seconds, num_named=len(found), detail="; ".join(found))


def _cost(folder: Path) -> None:
    """As `fieldguide audit` does it, from an empty cache: all pictures, the test part's labels as well."""
    index = index_folder(folder)
    with tempfile.TemporaryDirectory() as cache_folder, Cache(Path(cache_folder)) as cache:
        embedder = Embedder.of(recipe_of(DEFAULT_RECIPE), sixteen_bit_max=None, precision="auto")
        started = time.perf_counter()
        scanned = embedder.scan(index, cache, progress=True)
        embedded = time.perf_counter()
        audit = look_at(index, scanned, scanned.values, seed=0).audit
        seconds = time.perf_counter() - embedded
    embedding = embedded - started
    detail = f"embedding pass {embedding:.2f} s; the audit {seconds / embedding:.1%} of it"
    _row("audit after the embedding pass", folder.name, "", audit.num_images, seconds, detail=detail)


def _fashion(folder: Path) -> None:
    def read(name: str, header: int) -> np.ndarray:
        content = gzip.decompress((FASHION / f"{name}.gz").read_bytes())
        count = struct.unpack(">I", content[4:8])[0]
        values = np.frombuffer(content, np.uint8, offset=header)
        return values.reshape(count, -1)

    images, labels = read("train-images-idx3-ubyte", 16), read("train-labels-idx1-ubyte", 8)[:, 0]
    for i in range(10_000):
        target = folder / FASHION_NAMES[labels[i]] / f"{i:05d}.png"
        target.parent.mkdir(exist_ok=True)
        Image.fromarray(images[i].reshape(28, 28)).save(target)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "fashion":
        with tempfile.TemporaryDirectory() as made:
            _fashion(Path(made))
            for number in range(int(rest[0]) if rest else 3):
                _labels(_pictures(Path(made)), "fashion-mnist", number, 300)
    elif what == "cost":
        for _ in range(int(rest[1]) if rest[1:] else 1):
            _cost(Path(rest[0]))
    else:
        source = Path(rest[0])
        dataset = source.parent.name if source.name in ("train", "test") else source.name
        if what == "artefact":
            _artefact(_pictures(source), dataset)
        else:
            limit = int(rest[2]) if rest[2:] else None
            for number in range(int(rest[1]) if rest[1:] else 3):
                (_labels if what == "labels" else _copies)(_pictures(source), dataset, number, limit)
