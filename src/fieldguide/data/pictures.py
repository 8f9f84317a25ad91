"""A folder's pictures as arrays, divided as `fieldguide.train` divides them: for networks of one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data.cache import Cache
from fieldguide.data.copies import find_copies
from fieldguide.data.index import index_folder
from fieldguide.data.scan import keep_pixels, scan
from fieldguide.data.split import split_images
from fieldguide.errors import DatasetError
from fieldguide.progress import progress_bar
from fieldguide.records import Preprocessing, Split


@dataclass(frozen=True, eq=False)
class PictureArrays:
    """The pictures of one part, decoded and shrunk."""

    pixels: NDArray[np.uint8] = field(repr=False)  # (num_images, height, width, 3), RGB
    labels: NDArray[np.int64] = field(repr=False)  # (num_images,); positions in class_names
    paths: tuple[str, ...] = field(repr=False)  # relative to the root of the folder

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"PictureArrays({len(self):,} pictures, {self.pixels.dtype} {self.pixels.shape})"


@dataclass(frozen=True, eq=False)
class Pictures:
    """A folder's pictures in three parts: what `fieldguide.load_pictures` returns."""

    root: Path
    class_names: tuple[str, ...]  # sorted; a label is a position in it
    train: PictureArrays
    val: PictureArrays
    test: PictureArrays  # without pictures where the folder has no test part
    split: Split = field(repr=False)


def load_pictures(
    source: str | os.PathLike[str],
    *,
    image_size: tuple[int, int],
    seed: int = 0,
    group_by: str | None = None,
    exclude_classes: Sequence[str] = (),
    merge_subfolders: bool = False,
    sixteen_bit_max: int | None = None,
    progress: bool = True,
) -> Pictures:
    """Decodes every picture of a folder and divides them exactly as `fieldguide.train` does with the same arguments.

    (A flat folder with cropped copies is the exception: `train` sees them by its embeddings and keeps them together.)

    So a network of your own and a recipe learn from the same pictures and are scored on the same ones. Files that
    cannot be used are left out; `fieldguide.audit` says which, and why. All arrays are held in memory: num_images *
    height * width * 3 bytes.

    Args:
        source: a folder of class folders (see `fieldguide.data.index`), or a CSV file.
        image_size: (height, width) that each picture is resized to; its aspect ratio is not kept.
        seed: of the split.
        group_by: regular expression whose match in a path names the picture's group; a group never straddles a split.
        exclude_classes: class folders to leave out.
        merge_subfolders: subfolders belong to the class above them, even where their names repeat.
        sixteen_bit_max: the value of white in 16-bit grey pictures; 65535 when None.
        progress: whether to show how far it is.

    Raises:
        DatasetError: if the folder cannot be used, or the size is out of range; the message says what to do.

    Example:
        >>> pictures = fieldguide.load_pictures("dataset/", image_size=(96, 96))  # doctest: +SKIP
        >>> model.fit(pictures.train.pixels, pictures.train.labels)  # doctest: +SKIP
    """
    if len(image_size) != 2 or not all(isinstance(side, int) and 1 <= side <= 1024 for side in image_size):
        raise DatasetError(
            f"image_size should be (height, width), whole numbers from 1 to 1024; received {image_size!r}.\n"
            "hint: (96, 96) is a good start for photographs."
        )
    index = index_folder(source, group_by=group_by, exclude_classes=exclude_classes, merge_subfolders=merge_subfolders)
    preprocessing = Preprocessing(image_size, sixteen_bit_max=sixteen_bit_max)
    with (
        Cache() as cache,
        progress_bar(len(index.images), title="reading", unit="pictures", shown=progress) as bar,
    ):
        scanned = scan(index, preprocessing, cache=cache, consumer=keep_pixels(preprocessing), progress=bar.update)
    split = split_images(
        scanned.images,
        index.class_names,
        pixel_hashes=find_copies(scanned).keys,
        seed=seed,
        root=index.root,
    )
    return Pictures(
        root=Path(index.root),
        class_names=index.class_names,
        train=_part(scanned.values, split, split.train),
        val=_part(scanned.values, split, split.val),
        test=_part(scanned.values, split, split.test),
        split=split,
    )


def _part(values: NDArray[Any] | None, split: Split, positions: NDArray[np.int64]) -> PictureArrays:
    assert values is not None  # noqa: S101 - the consumer keeps pixels; tells the type checker
    paths = split.paths
    return PictureArrays(values[positions], split.labels[positions], tuple(paths[i] for i in positions))
