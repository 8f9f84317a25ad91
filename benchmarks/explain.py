"""The deletion test: does covering what `explain` outlines lower the score more than covering as much elsewhere?

    python benchmarks/explain.py runs/cats_dogs path/to/cats_dogs/test_set [--pictures 200]

Each picture is shrunk to what the network sees. The outlined quarter (a quarter of the places of the map, the strongest) is
painted in the picture's mean colour, and the picture is scored again; so is the same outline moved to random places (around
the border), and the quarter nearest to the middle, where photographers put their subjects. The score is the logit of the
class that was answered, less the mean over the classes. Nothing is chosen with these pictures. A row of results/explain.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from measure import add_row
from numpy.typing import NDArray

import fieldguide
from fieldguide.data import decoding
from fieldguide.data.index import labelled_pictures
from fieldguide.explanation.places import strongest_region

NUM_RANDOM = 5  # placements of the outline a picture


def covered(picture: NDArray[np.uint8], region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with the region (rows, columns) painted in its mean colour."""
    height, width = picture.shape[:2]
    rows = np.arange(height) * region.shape[0] // height
    columns = np.arange(width) * region.shape[1] // width
    result = picture.copy()
    result[region[np.ix_(rows, columns)]] = picture.mean(axis=(0, 1)).round()
    return result


def middle(shape: tuple[int, int], count: int) -> NDArray[np.bool_]:
    """The so many places that are nearest to the middle."""
    rows, columns = (np.abs(np.arange(size) + 0.5 - size / 2) / size for size in shape)
    order = np.argsort(rows[:, None] ** 2 + columns[None] ** 2, axis=None, kind="stable")
    region = np.zeros(shape[0] * shape[1], bool)
    region[order[:count]] = True
    return region.reshape(shape)


def scores(classifier: fieldguide.Classifier, pixels: NDArray[np.uint8], answered: NDArray[np.int64]) -> NDArray[np.float32]:
    """The centred logit of each picture's answered class."""
    logits = classifier.bundle.logits(classifier.engine().embed(pixels))
    return (logits - logits.mean(axis=1, keepdims=True))[np.arange(len(pixels)), answered]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    classifier = fieldguide.load(given.run)
    index = labelled_pictures(given.data, classifier.class_names)
    rng = np.random.default_rng(given.seed)
    chosen = rng.choice(len(index.images), min(given.pictures, len(index.images)), replace=False)
    files = [Path(index.root) / index.images[i].path for i in chosen]
    pixels = np.stack([decoding.load(decoding.read_file(file), classifier.image_size) for file in files])
    embeddings, evidence = classifier.evidence(pixels)
    answered = classifier.bundle.logits(embeddings).argmax(axis=1)
    before = scores(classifier, pixels, answered)
    regions = np.stack([strongest_region(e[c]) for e, c in zip(evidence, answered, strict=True)])
    shape, count = regions.shape[1:], int(regions[0].sum())

    def drop(of: NDArray[np.bool_]) -> NDArray[np.float32]:
        now = np.stack([covered(p, r) for p, r in zip(pixels, of, strict=True)])
        return before - scores(classifier, now, answered)

    def moved() -> NDArray[np.bool_]:
        steps = rng.integers(1, np.prod(shape), len(regions))
        return np.stack([np.roll(r, divmod(int(s), shape[1]), axis=(0, 1)) for r, s in zip(regions, steps, strict=True)])

    shown, random = drop(regions), np.stack([drop(moved()) for _ in range(NUM_RANDOM)])
    centre = drop(np.broadcast_to(middle(shape, count), regions.shape))
    difference = shown - random.mean(axis=0)
    margin = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    add_row(
        "explain",
        {
            "recipe": classifier.bundle.recipe,
            "data": Path(index.root).parent.name,
            "num_images": len(pixels),
            "map": f"{shape[0]} x {shape[1]}",
            "area": round(count / regions[0].size, 3),
            "score": round(float(before.mean()), 3),
            "drop_shown": round(float(shown.mean()), 3),
            "drop_random": round(float(random.mean()), 3),
            "drop_middle": round(float(centre.mean()), 3),
            "difference": round(float(difference.mean()), 3),
            "interval": f"{difference.mean() - margin:.3f} {difference.mean() + margin:.3f}",
            "larger_than_random": round(float((difference > 0).mean()), 3),
            "larger_than_middle": round(float((shown > centre).mean()), 3),
            "turned_shown": round(float((shown > before).mean()), 3),
            "turned_random": round(float((random > before).mean()), 3),
            "accuracy": float((answered == np.array([index.images[i].label for i in chosen])).mean()),
        },
    )


if __name__ == "__main__":
    main()
