"""`transfer`: a frozen ImageNet network, its embeddings computed once, a linear head by cross-validation."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fieldguide.bundle import build_files
from fieldguide.data.split import fold_numbers, stratified_sample
from fieldguide.embedding.linear_head import STRENGTHS, CrossValidation, Scaling, cross_validate, fit_head, fit_subsets, softmax
from fieldguide.errors import BundleError, FieldguideError, RecipeError
from fieldguide.evaluation.metrics import wilson_interval
from fieldguide.models.operations import Network
from fieldguide.models.weights import pretrained_weights
from fieldguide.recipes.fitted import Fitted, OutOfFold
from fieldguide.recipes.recipe import TrainingData
from fieldguide.records import Record
from fieldguide.storage import cache_directory, read_json, sha256_file, write_json

BACKBONES = ("efficientnet_lite0",)
_IMAGENET_NOTE = (
    "The network below the head was trained on ImageNet, which holds cats, dogs and most everyday things: on such pictures "
    "transfer looks better than it would on pictures of another kind."
)
_CURVE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)
_MAX_CURVE_COLUMNS = 250  # classes x folds x shares fitted together for the learning curve


@dataclass(frozen=True)
class Transfer(Record):
    """A frozen backbone and a regularised multinomial logistic regression on its standardised embeddings.

    Raises:
        RecipeError: if a setting is out of range.
    """

    name: ClassVar[str] = "transfer"
    needs_val: ClassVar[bool] = False  # out-of-fold predictions validate every picture

    backbone: str = "efficientnet_lite0"
    image_size: tuple[int, int] = (224, 224)  # (height, width)
    num_folds: int = 5
    max_cross_validated: int = 10_000  # pictures; a larger training part is sampled for the choice of the strength
    strengths: tuple[float, ...] = STRENGTHS  # larger is less regularised

    def __post_init__(self) -> None:
        if self.backbone not in BACKBONES:
            raise RecipeError(f"backbone must be one of {', '.join(BACKBONES)}; received {self.backbone!r}.")
        if not 2 <= self.num_folds <= 20:
            raise RecipeError(f"num_folds must be from 2 to 20; received {self.num_folds}.")
        if min(self.image_size) < 32:
            raise RecipeError(f"image_size must be at least (32, 32); received {self.image_size}.")
        if not self.strengths or min(self.strengths) <= 0 or list(self.strengths) != sorted(self.strengths):
            raise RecipeError(f"strengths must be positive and ascending; received {self.strengths}.")

    def network(self) -> Network:
        """The backbone and the size it sees."""
        return Network(self.backbone, self.image_size)

    def weights(self) -> Mapping[str, NDArray[np.float32]]:
        """The backbone's published weights, converted once and cached."""
        return pretrained_weights(self.backbone)

    def frozen_network(self) -> Path:
        """The path of the backbone's `network.xml`, built once and cached with its `.bin`."""
        height, width = self.image_size
        directory = cache_directory() / "networks" / f"{self.backbone}-{height}x{width}"
        if not _is_whole(directory):
            try:
                self._build_into(directory)
            except (OSError, FieldguideError):  # a cache that cannot be written costs every run a second, but no run
                directory = Path(tempfile.mkdtemp(prefix="fieldguide-network-"))
                atexit.register(shutil.rmtree, directory, ignore_errors=True)
                build_files(self.network(), self.weights(), directory)
        return directory / "network.xml"

    def _build_into(self, directory: Path) -> None:
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".network-", dir=directory.parent))
        try:
            path = build_files(self.network(), self.weights(), temporary)
            write_json(temporary / "hashes.json", {f.name: sha256_file(f) for f in (path, path.with_suffix(".bin"))})
            try:
                os.replace(temporary, directory)
            except OSError:
                if not _is_whole(directory):  # else another process was quicker
                    shutil.rmtree(directory, ignore_errors=True)
                    os.replace(temporary, directory)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def fit(self, data: TrainingData) -> Fitted:
        """Chooses the strength by cross-validation, then fits the head on all training pictures; `val` is not looked at.

        Raises:
            RecipeError: if nothing can be held out of a class.
        """
        embeddings, labels, groups = data.train.values, data.train.labels, data.train.groups
        num_classes, seed = data.num_classes, data.seed
        sample = stratified_sample(labels, groups, at_most=self.max_cross_validated, fewest=self.num_folds, seed=seed)
        x, y = embeddings[sample], labels[sample]
        num_folds = self._num_folds(y, groups[sample])
        folds = fold_numbers(y, groups[sample], num_folds=num_folds, seed=seed)
        scaling = Scaling.of(x)
        found = cross_validate(x, y, folds, num_classes=num_classes, strengths=self.strengths, scaling=scaling)
        strength = found.strengths[found.chosen]
        notes = [_IMAGENET_NOTE]
        if len(sample) == len(labels):
            head = fit_head(x, y, num_classes=num_classes, strength=strength, scaling=scaling)
            out_of_fold = OutOfFold(sample, found.out_of_fold, folds)
        else:
            # With more pictures a head is surer, and rightly: one that lacks the sample alone speaks for that of all.
            subsets = np.ones((len(labels), 2), bool)
            subsets[sample, 1] = False
            head, without = fit_subsets(embeddings, labels, subsets, num_classes=num_classes, strength=strength)
            answers = np.asarray(softmax(without.logits(x)), np.float32)
            out_of_fold = OutOfFold(sample, answers, np.zeros(len(sample), np.int64))
            notes.append(f"The strength was chosen on {len(sample):,} of {len(labels):,} training pictures.")
        if num_folds < self.num_folds:
            notes.append(f"The smallest class allows {num_folds} folds instead of {self.num_folds}.")
        return Fitted(
            network=self.network(),
            weights=self.weights(),
            head_kernel=head.kernel,
            head_bias=head.bias,
            history=_history(found),
            learning_curve=_learning_curve(x, y, folds, found, num_classes, seed, scaling),
            out_of_fold=out_of_fold,
            notes=tuple(notes),
        )

    def _num_folds(self, labels: NDArray[np.int64], groups: NDArray[np.int64]) -> int:
        fewest = min(len(np.unique(groups[labels == label])) for label in np.unique(labels))
        if fewest < 2:
            raise RecipeError(
                "A class has only one group of training pictures, so that nothing can be held out of it.\n"
                "hint: add pictures to it, use finer groups, or leave the class out with `--exclude-class`."
            )
        return min(self.num_folds, fewest)


def _is_whole(directory: Path) -> bool:
    """Whether the cached network files are there, and are those that were written."""
    try:
        hashes = read_json(directory / "hashes.json")
        return all(sha256_file(directory / name) == hashes[name] for name in ("network.xml", "network.bin"))
    except (BundleError, OSError, KeyError):
        return False


def _history(found: CrossValidation) -> tuple[Mapping[str, Any], ...]:
    return tuple(
        {
            "strength": strength,
            "train_accuracy": found.train_accuracy[i],
            "val_accuracy": found.val_accuracy[i],
            "val_log_loss": found.val_log_loss[i],
            "chosen": i == found.chosen,
        }
        for i, strength in enumerate(found.strengths)
    )


def _learning_curve(
    embeddings: NDArray[Any],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    found: CrossValidation,
    num_classes: int,
    seed: int,
    scaling: Scaling,
) -> tuple[Mapping[str, Any], ...]:
    """Accuracy on held-out folds after learning from a part of the other folds; the last row is all of them."""
    num_folds = int(folds.max()) + 1
    used_folds = max(1, min(num_folds, _MAX_CURVE_COLUMNS // (num_classes * len(_CURVE_SHARES))))
    held_out = folds < used_folds
    chance = np.random.default_rng(seed).random(len(labels))
    columns, cells = [], []
    for share in _CURVE_SHARES:
        for fold in range(used_folds):
            rows = (folds != fold) & (chance < share)
            if len(np.unique(labels[rows])) == num_classes:
                columns.append(rows)
                cells.append((share, fold))
    correct: dict[float, list[int]] = {}
    sizes: dict[float, list[int]] = {}
    if columns:
        subsets = np.stack(columns, axis=1)
        strength = found.strengths[found.chosen]
        heads = fit_subsets(
            embeddings, labels, subsets, num_classes=num_classes, strength=strength, tolerance=1e-4, scaling=scaling
        )
        for (share, fold), head, rows in zip(cells, heads, columns, strict=True):
            mine = folds == fold
            hits = int((head.logits(embeddings[mine]).argmax(axis=1) == labels[mine]).sum())
            correct.setdefault(share, []).append(hits)
            sizes.setdefault(share, []).append(int(rows.sum()))
    result = [
        _curve_row(int(np.mean(sizes[share])), sum(hits), int(held_out.sum()))
        for share, hits in correct.items()
        if len(hits) == used_folds
    ]
    full = round(len(labels) * (num_folds - 1) / num_folds)
    hits = int((found.out_of_fold.argmax(axis=1) == labels).sum())
    return (*result, _curve_row(full, hits, len(labels)))


def _curve_row(num_images: int, num_correct: int, num_scored: int) -> Mapping[str, Any]:
    low, high = wilson_interval(num_correct, num_scored)
    return {"num_images": num_images, "accuracy": num_correct / num_scored, "low": low, "high": high}
