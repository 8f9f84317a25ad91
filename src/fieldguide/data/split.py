"""Which pictures are learned from, chosen by, and scored on: stratified, seeded, and by groups.

Pictures with equal pixels, and pictures of one user-given group, stay on one side of every split made here. Test pictures
are never moved, and never used for anything but the last score.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.index import ALSO
from fieldguide.errors import DatasetError
from fieldguide.records import ImageIndex, LabeledImage, Split

FLAT_FRACTIONS = (0.70, 0.15, 0.15)
VAL_FRACTION = 0.15  # carved from a training part that came without validation


def split_images(
    images: Sequence[LabeledImage],
    class_names: Sequence[str],
    *,
    pixel_hashes: Sequence[str],
    seed: int,
    root: str = "",
) -> Split:
    """Assigns every picture to train, val or test.

    A layout with parts keeps its test part, and its validation part if it has one; otherwise 15 % of the training part
    become validation. A flat folder is split 70 / 15 / 15. Pictures of the part "also" are learned from, but for copies of
    validation and test pictures, which are in no part.

    Args:
        images: the usable pictures.
        class_names: labels are positions in it.
        pixel_hashes: one per picture, equal for copies (and near-copies, see `Copies.keys`), which stay together.
        seed: the same seed gives the same split.
        root: named in errors.

    Raises:
        DatasetError: if a class has too few pictures (or too few groups) for the parts that must be made, or if a
            user-given group has pictures in two parts of the layout.
    """
    labels = np.array([image.label for image in images], dtype=np.int64)
    groups = _groups(images, pixel_hashes)
    _refuse_straddling_groups(images)
    _refuse_small_classes(images, groups, class_names, root)
    is_flat = all(image.part in (None, ALSO) for image in images)
    given = {
        part: np.array([i for i, image in enumerate(images) if image.part == part], dtype=np.int64)
        for part in ("train", "val", "test")
    }
    fractions: tuple[float, float, float] | None = None
    if is_flat:
        fractions = FLAT_FRACTIONS
        everything = np.array([i for i, image in enumerate(images) if image.part is None], dtype=np.int64)
        train, val, test = _divide(everything, labels, groups, fractions, seed, class_names, root)
    elif len(given["val"]):
        train, val, test = given["train"], given["val"], given["test"]
    else:
        shares = (1 - VAL_FRACTION, VAL_FRACTION)
        train, val = _divide(given["train"], labels, groups, shares, seed, class_names, root)
        test = given["test"]
    also = np.array([i for i, image in enumerate(images) if image.part == ALSO], dtype=np.int64)
    if len(also):
        held_out = {pixel_hashes[i] for i in (*val.tolist(), *test.tolist())}
        train = np.union1d(train, [i for i in also.tolist() if pixel_hashes[i] not in held_out]).astype(np.int64)
    return Split(
        images=tuple(images),
        class_names=tuple(class_names),
        train=train,
        val=val,
        test=test,
        groups=groups,
        seed=seed,
        val_is_given=not is_flat and len(given["val"]) > 0,
        fractions=fractions,
    )


def refuse_unsplittable(index: ImageIndex) -> None:
    """Refuses at once, before a picture is opened, what `split_images` would refuse even if all of them can be read.

    Raises:
        DatasetError: as `split_images`.
    """
    alone = [str(i) for i in range(len(index.images))]
    _refuse_straddling_groups(index.images)
    _refuse_small_classes(index.images, _groups(index.images, alone), index.class_names, index.root)


def fold_numbers(labels: NDArray[np.int64], groups: NDArray[np.int64], *, num_folds: int, seed: int) -> NDArray[np.int64]:
    """Shape (num_images,): the fold, 0 .. num_folds - 1, that holds each picture out; stratified, groups kept whole."""
    shares = np.full(num_folds, 1 / num_folds)
    return _assign(labels, groups, shares, np.random.default_rng(seed))


def stratified_sample(
    labels: NDArray[np.int64], groups: NDArray[np.int64], *, at_most: int, fewest: int, seed: int
) -> NDArray[np.int64]:
    """Positions of about `at_most` pictures: whole groups, stratified.

    Of every class at least `fewest` groups are among them, as far as it has so many: small classes would vanish otherwise.

    Args:
        labels: (num_images,).
        groups: (num_images,).
        at_most: pictures; all positions where there are no more.
        fewest: groups of each class.
        seed: of the choice.
    """
    if len(labels) <= at_most:
        return np.arange(len(labels))
    is_chosen = fold_numbers(labels, groups, num_folds=-(-len(labels) // at_most), seed=seed) == 0
    pairs = np.unique(np.stack([labels, groups], axis=1), axis=0)
    is_in = np.isin(pairs[:, 1], groups[is_chosen])
    pairs = pairs[np.lexsort((~is_in, pairs[:, 0]))]  # class by class, those that are chosen first
    rank = np.arange(len(pairs)) - np.searchsorted(pairs[:, 0], pairs[:, 0])
    return np.flatnonzero(is_chosen | np.isin(groups, pairs[rank < fewest, 1]))


def _groups(images: Sequence[LabeledImage], pixel_hashes: Sequence[str]) -> NDArray[np.int64]:
    """Numbers the sets of pictures that must stay together: copies within a part, and user-given groups."""
    parent = list(range(len(images)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    learned = None if all(image.part in (None, ALSO) for image in images) else "train"
    first: dict[tuple[str, str, str | None], int] = {}
    for i, (image, pixel_hash) in enumerate(zip(images, pixel_hashes, strict=True)):
        part = learned if image.part == ALSO else image.part
        keys = [("copy", pixel_hash, part)]
        if image.group is not None:
            keys.append(("group", image.group, part))
        for key in keys:
            j = first.setdefault(key, i)
            a, b = find(i), find(j)
            parent[max(a, b)] = min(a, b)
    return np.array([find(i) for i in range(len(images))], dtype=np.int64)


def _assign(
    labels: NDArray[np.int64], groups: NDArray[np.int64], shares: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Gives each group to the side that still needs most of its classes; large groups first, ties by chance."""
    num_classes = int(labels.max()) + 1
    totals = np.bincount(labels, minlength=num_classes).astype(float)
    needs = shares[:, None] * totals[None, :]  # (sides, classes)
    # Every side gets at least one picture of each class where there are enough: first from the largest side.
    short = np.minimum(np.maximum(needs, 1.0), totals) - needs
    needs += short
    needs[int(shares.argmax())] -= short.sum(axis=0)

    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups.tolist()):
        members[group].append(i)
    order = list(members.values())
    rng.shuffle(order)
    order.sort(key=len, reverse=True)
    tie_break = rng.random(len(shares)) * 1e-6
    side_of = np.empty(len(labels), dtype=np.int64)
    num_left = np.bincount([label for positions in order for label in set(labels[positions].tolist())], minlength=num_classes)
    is_without = np.ones((len(shares), num_classes), bool)
    for positions in order:
        counts = Counter(labels[positions].tolist())
        score = tie_break.copy()
        for label, count in counts.items():
            score += needs[:, label] * (count / totals[label])
            if num_left[label] <= is_without[:, label].sum():  # one for each side that has none yet
                score += is_without[:, label] * 10.0
        side = int(score.argmax())
        for label, count in counts.items():
            needs[side, label] -= count
            num_left[label] -= 1
            is_without[side, label] = False
        side_of[positions] = side
    return side_of


def _divide(
    positions: NDArray[np.int64],
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    shares: Sequence[float],
    seed: int,
    class_names: Sequence[str],
    root: str,
) -> list[NDArray[np.int64]]:
    side_of = _assign(labels[positions], groups[positions], np.array(shares), np.random.default_rng(seed))
    result = [positions[side_of == side] for side in range(len(shares))]
    for part in result:
        missing = set(labels[positions].tolist()) - set(labels[part].tolist())
        if missing:
            name = class_names[min(missing)]
            raise DatasetError(
                f"The groups of class {name!r} are too few and too large to be split.\n"
                f"Received: root={root}, fractions={tuple(round(s, 2) for s in shares)}.\n"
                "hint: use finer groups, or sort the pictures into train, val and test folders yourself."
            )
    return result


def _refuse_small_classes(
    images: Sequence[LabeledImage], groups: NDArray[np.int64], class_names: Sequence[str], root: str
) -> None:
    parts = {image.part for image in images} - {ALSO}
    needed, purpose = (3, "a train/val/test split") if parts == {None} else (2, "a train/val split")
    if "val" in parts:
        purpose = "training"
    groups_of: dict[int, list[int]] = defaultdict(list)
    for image, group in zip(images, groups.tolist(), strict=True):
        if image.part in (None, "train"):
            groups_of[image.label].append(group)
    for label, name in enumerate(class_names):
        mine = groups_of[label]
        num_groups = len(set(mine))
        if (len(mine) if "val" in parts else num_groups) < needed:
            counted = f"{len(mine)} picture{'s' if len(mine) != 1 else ''}"
            if num_groups < len(mine):
                counted += f" in {num_groups} group{'s' if num_groups != 1 else ''} of copies or of your grouping"
            raise DatasetError(
                f"Class {name!r} has {counted} to learn from; {purpose} needs at least {needed}.\nReceived: root={root}.\n"
                f"hint: add pictures of {name!r}, or leave the class out with `--exclude-class {name}`."
            )


def _refuse_straddling_groups(images: Sequence[LabeledImage]) -> None:
    part_of: dict[str, str | None] = {}
    for image in images:
        if image.group is None:
            continue
        other = part_of.setdefault(image.group, image.part)
        if other != image.part:
            raise DatasetError(
                f"Group {image.group!r} has pictures in {other} and in {image.part}, such as {image.path!r}.\n"
                "hint: move the group to one part, or put all class folders in one folder and let fieldguide split it."
            )
