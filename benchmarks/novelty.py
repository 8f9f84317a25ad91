"""Strangers: what share is turned away, what share of own pictures with them, and how other scores would do.

    python benchmarks/novelty.py far CATS_DOGS CIFAR10    strangers of other kinds, for a classifier of cats and dogs
    python benchmarks/novelty.py near DATASET [PER_CLASS] each class left out in turn: strangers that resemble the classes
    python benchmarks/novelty.py layers DATASET           the same, by what earlier layers of the frozen network see
    python benchmarks/novelty.py finetune DATASET CLASS   the same of one class, with a network fine-tuned without it
    python benchmarks/novelty.py own DATASET              own test pictures turned away, by pictures a class and share asked for
    python benchmarks/novelty.py cost DATASET             seconds that the fit takes

A row per set and score goes to results/novelty.csv. `novelty` is what ships: its border was learned from held-out training
pictures. For the scores beside it the border is the 99th percentile of the own test pictures themselves, which flatters them.
`layers` and `finetune` take 300 training pictures of each class by seed and the whole test part; `layers` averages the maps of
the last block of each stage over the picture, and adds up distances after division by their spread over own test pictures.
`finetune` trains for 8 rounds instead of 15. On part of the machine: `taskset -c 1 python ...`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import strangers
from embedded import Embedded, embed_folder, embed_pictures
from finetune import make_folder
from measure import add_row
from numpy.typing import NDArray
from openvino import opset13 as opset
from PIL import Image
from sklearn.metrics import roc_auc_score

import fieldguide
from fieldguide.classifier import load
from fieldguide.data.decoding import shrink
from fieldguide.data.split import fold_numbers
from fieldguide.embedding.engine import BATCH_SIZE, Engine, read_network
from fieldguide.embedding.gaussians import unit_length
from fieldguide.embedding.linear_head import LinearHead, fit_head, softmax
from fieldguide.embedding.novelty import Novelty, fit_novelty
from fieldguide.recipes.finetune import Finetune
from fieldguide.recipes.transfer import Transfer

COUNT = 300  # strangers of each kind
REJECT = 0.01
Scores = Mapping[str, Callable[[NDArray[Any]], NDArray[Any]]]


def _scores(novelty: Novelty, head: LinearHead, train: NDArray[Any] | None, test: NDArray[Any]) -> Scores:
    """Functions of embeddings; the larger, the stranger. `test` scales the sum of two of them; neighbours are of `train`."""

    def nearest(k: int) -> Callable[[NDArray[Any]], NDArray[Any]]:
        own = unit_length(train)
        return lambda x: -np.sort(unit_length(x) @ own.T, axis=1)[:, -k]

    def energy(x: NDArray[Any]) -> NDArray[Any]:
        return -np.logaddexp.reduce(head.logits(x), axis=1)

    spreads = novelty.scores(test).std(), energy(test).std()
    return {
        "novelty": novelty.scores,
        "top probability": lambda x: 1 - softmax(head.logits(x)).max(axis=1),
        "energy": energy,
        **({} if train is None else {"nearest neighbour": nearest(1), "10th nearest neighbour": nearest(10)}),
        "novelty + energy": lambda x: novelty.scores(x) / spreads[0] + energy(x) / spreads[1],
    }


def _row(what: str, trained_on: str, name: str, score: str, own: NDArray[Any], them: NDArray[Any], border: float) -> None:
    is_stranger = np.repeat([0, 1], [len(own), len(them)])
    add_row(
        "novelty",
        {
            "what": what,
            "trained_on": trained_on,
            "strangers": name,
            "score": score,
            "auroc": round(float(roc_auc_score(is_stranger, np.concatenate([own, them]))), 4),
            "own_turned_away": round(float((own > border).mean()), 4),
            "num_own": len(own),
            "strangers_caught": round(float((them > border).mean()), 4),
            "num_strangers": len(them),
        },
    )


def far(dataset: str, cifar10: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = fieldguide.train(dataset, out=Path(folder, "run"), reject=REJECT)
        classifier = load(run.directory)
        head, novelty = classifier.bundle.head, classifier.certainty.novelty
        own = embed_folder(dataset)
        train, test = own.embeddings[own.part("train", "val")], own.embeddings[own.split.test]
        sets = {name: embed_pictures(make(COUNT), classifier.engine()) for name, make in strangers.far().items()}
        sets["CIFAR-10 without cats and dogs"] = _others(embed_folder(Path(cifar10, "test")))
        easy = {name: embed_pictures(make(COUNT), classifier.engine()) for name, make in strangers.easy().items()}
        for score, function in _scores(novelty, head, train, test).items():
            of_own = function(test)
            border = 1.0 if score == "novelty" else float(np.quantile(of_own, 1 - REJECT))
            for what, those in (("far", sets), ("easy", easy)):
                for name, embeddings in those.items():
                    _row(what, Path(dataset).name, name, score, of_own, function(embeddings), border)


def _others(cifar: Embedded) -> NDArray[Any]:
    names = np.array(cifar.split.class_names)[cifar.split.labels]
    return cifar.embeddings[~np.isin(names, ("cat", "cats", "dog", "dogs"))]


def near(dataset: str, per_class: int) -> None:
    """Fitted without the class; scored on pictures that were not fitted to, all of the training part."""
    data = embed_folder(dataset)
    labels, names = data.split.labels, data.split.class_names
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(data.part("train", "val"))
    of_class = [shuffled[labels[shuffled] == c] for c in range(len(names))]
    fitted_to = np.sort(np.concatenate([positions[:per_class] for positions in of_class]))
    scored = np.sort(np.concatenate([positions[per_class : 2 * per_class] for positions in of_class]))
    for c, name in enumerate(names):
        known = fitted_to[labels[fitted_to] != c]
        x, y = data.embeddings[known], np.where(labels[known] > c, labels[known] - 1, labels[known])
        own, them = (data.embeddings[scored[mine]] for mine in (labels[scored] != c, labels[scored] == c))
        novelty = fit_novelty(x, y, _folds(y), num_classes=len(names) - 1, reject=REJECT).novelty
        head = fit_head(x, y, num_classes=len(names) - 1, strength=10**-2.5)
        for score, function in _scores(novelty, head, x, own).items():
            of_own = function(own)
            border = 1.0 if score == "novelty" else float(np.quantile(of_own, 1 - REJECT))
            _row("near", Path(dataset).name, name, score, of_own, function(them), border)
    x, y = data.embeddings[fitted_to], labels[fitted_to]
    caught = fit_novelty(x, y, _folds(y), num_classes=len(names), reject=REJECT).caught
    print(
        "a run on the same pictures would print",
        np.round(np.mean(caught), 4),
        dict(zip(names, np.round(caught, 3), strict=True)),
    )


def layers(dataset: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        make_folder(dataset, COUNT, 0, Path(folder))
        network = read_network(Transfer().frozen_network())
        names = ["the embedding", *_pool_stages(network)]
        engine = Engine(network)
        (x, y), (test, test_labels) = (_outputs(engine, Path(folder, part)) for part in ("train", "test"))
    classes = sorted(path.name for path in Path(dataset, "train").iterdir())
    for c, stranger in enumerate(classes):
        known, labels = y != c, np.where(y > c, y - 1, y)[y != c]
        of_own, of_them = [], []
        for values, asked in zip(x, test, strict=True):
            novelty = fit_novelty(values[known], labels, _folds(labels), num_classes=len(classes) - 1, reject=REJECT).novelty
            own, them = (novelty.distances(asked[mine]).min(axis=1) for mine in (test_labels != c, test_labels == c))
            of_own.append(own / own.std())
            of_them.append(them / own.std())
        sums = {f"distance, {name}": (of_own[i], of_them[i]) for i, name in enumerate(names)}
        sums["distances, last two"] = (of_own[0] + of_own[-1], of_them[0] + of_them[-1])
        sums["distances, all"] = (np.sum(of_own, axis=0), np.sum(of_them, axis=0))
        for score, (own, them) in sums.items():
            _row("layers", Path(dataset).name, stranger, score, own, them, float(np.quantile(own, 1 - REJECT)))


def _pool_stages(network: Any) -> list[str]:
    """Adds outputs (batch, channels) to an `openvino.Model`: the means of the last sum of each stage's size. Their names."""
    sums = {}
    for operation in network.get_ordered_ops():
        terms = {value.get_node().get_type_name() for value in operation.input_values()}
        if operation.get_type_name() == "Add" and "Constant" not in terms:
            sums[tuple(axis.get_length() for axis in list(operation.get_output_partial_shape(0))[1:])] = operation
    means = [opset.reduce_mean(operation, opset.constant([2, 3]), keep_dims=False) for operation in sums.values()]
    network.add_outputs([mean.output(0) for mean in means])
    return [f"{channels} maps of {height} x {width}" for channels, height, width in sums]


def _outputs(engine: Engine, folder: Path) -> tuple[list[NDArray[np.float32]], NDArray[np.int64]]:
    """All outputs of the network for the pictures of a folder of class folders, and labels."""
    files = [(path, label) for label, part in enumerate(sorted(folder.iterdir())) for path in sorted(part.iterdir())]
    batches = (files[start : start + BATCH_SIZE] for start in range(0, len(files), BATCH_SIZE))
    pixels = ((None, np.stack([_pixels(path, engine.image_size) for path, _ in batch])) for batch in batches)
    parts = [outputs for _, outputs in engine.output_stream(pixels)]
    return [np.concatenate(part) for part in zip(*parts, strict=True)], np.array([label for _, label in files])


def _pixels(path: Path, image_size: tuple[int, int]) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return shrink(np.asarray(picture.convert("RGB")), image_size)


def finetune(dataset: str, stranger: str) -> None:
    """A frozen and a fine-tuned network, trained without the class on the same pictures."""
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        make_folder(dataset, COUNT, 0, pictures)
        classes = sorted(path.name for path in (pictures / "test").iterdir())
        shutil.rmtree(pictures / "train" / stranger)
        for recipe in (Transfer(), Finetune(epochs=8)):
            out = Path(folder, recipe.name)
            fieldguide.train(pictures / "train", out=out, recipe=recipe, reject=REJECT, say=print)
            classifier = load(out)
            (embeddings, *_), labels = _outputs(classifier.engine(), pictures / "test")
            is_own = labels != classes.index(stranger)
            own, them = embeddings[is_own], embeddings[~is_own]
            for score, function in _scores(classifier.certainty.novelty, classifier.bundle.head, None, own).items():
                of_own = function(own)
                border = 1.0 if score == "novelty" else float(np.quantile(of_own, 1 - REJECT))
                _row(f"near, {recipe.name}", Path(dataset).name, stranger, score, of_own, function(them), border)


def own(dataset: str) -> None:
    data = embed_folder(dataset)
    labels, names = data.split.labels, data.split.class_names
    shuffled = np.random.default_rng(0).permutation(data.part("train", "val"))
    test = data.embeddings[data.split.test]
    for per_class in (30, 100, 300, 1000):
        fitted_to = np.sort(np.concatenate([shuffled[labels[shuffled] == c][:per_class] for c in range(len(names))]))
        x, y = data.embeddings[fitted_to], labels[fitted_to]
        for reject in (0.01, 0.05):
            novelty = fit_novelty(x, y, _folds(y), num_classes=len(names), reject=reject).novelty
            if novelty.is_share_known:
                away = float((novelty.scores(test) > 1).mean())
                add_row(
                    "novelty",
                    {
                        "what": f"own, {per_class} a class, {reject:.0%} asked",
                        "trained_on": Path(dataset).name,
                        "score": "novelty",
                        "own_turned_away": round(away, 4),
                        "num_own": len(test),
                    },
                )


def cost(dataset: str) -> None:
    data = embed_folder(dataset)
    positions = data.part("train", "val")
    x, y = data.embeddings[positions], data.split.labels[positions]
    folds = _folds(y)
    for _ in range(3):
        started, used = time.perf_counter(), time.process_time()
        fit_novelty(x, y, folds, num_classes=len(data.split.class_names))
        print(f"{len(y)} pictures: {time.perf_counter() - started:.2f} s, {time.process_time() - used:.2f} s of processor")


def _folds(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return fold_numbers(labels, np.arange(len(labels)), num_folds=5, seed=0)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "near":
        near(rest[0], int(rest[1]) if rest[1:] else 300)
    else:
        {"far": far, "layers": layers, "finetune": finetune, "own": own, "cost": cost}[what](*rest)
