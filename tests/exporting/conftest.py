"""A classifier of a few hundred random numbers, and pictures to ask it: each format is exported in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fieldguide.bundle import build_files, write_bundle
from fieldguide.classifier import Classifier
from fieldguide.data import decoding
from fieldguide.embedding.certainty import Certainty
from fieldguide.embedding.engine import Engine
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.embedding.novelty import fit_novelty
from fieldguide.exporting.onnx_graph import OnnxOperations, Shape, Value
from fieldguide.exporting.parity import Pictures
from fieldguide.models.operations import Network
from fieldguide.models.registry import architecture
from fieldguide.records import Preprocessing
from tests.conftest import HUES

TINY = Network("classic", (32, 40), {"filters": (3, 4), "units": 6})
FLIPPED = Network("residual", (32, 44), {"filters": (16, 32), "blocks": (1, 1), "test_time_flip": True})


class InventedWeights(OnnxOperations):
    """Builds any architecture with random numbers, and remembers them."""

    def __init__(self) -> None:
        super().__init__({})
        self.invented: dict[str, NDArray[np.float32]] = {}
        self._rng = np.random.default_rng(0)

    def _weight(self, name: str, shape: Shape) -> NDArray[np.float32]:
        sizes = tuple(int(size or 0) for size in shape)
        if name.endswith(("gamma", "moving_variance")):
            value = self._rng.uniform(0.5, 1.5, sizes)
        else:
            spread = np.sqrt(2 / np.prod(sizes[:-1])) if name.endswith("kernel") else 0.1
            value = self._rng.normal(0, spread, sizes)
        self.invented[name] = value.astype(np.float32)
        return self.invented[name]


def invented_weights(network: Network) -> dict[str, NDArray[np.float32]]:
    """Random weights for a network of any architecture, by name."""
    ops = InventedWeights()
    architecture(network.architecture)(ops, Value("pixels", (None, *network.image_size, 3)), **network.options)
    return ops.invented


@pytest.fixture(scope="session")
def test_pictures(photos: Path) -> Pictures:
    """24 test pictures of three classes, with their labels."""
    paths = [path for hue in HUES for path in sorted((photos / "test_set" / hue).glob("0*.jpg"))]
    labels = [list(HUES).index(path.parent.name) for path in paths]
    return Pictures(paths, np.array(labels, np.int64))


@pytest.fixture(scope="session")
def tiny_classifier(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """A classifier with random filters; its head and its novelty are fitted to the training pictures."""
    return classifier_of(TINY, photos, tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def flipped_classifier(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """The same with a network that looks at the mirror image as well."""
    return classifier_of(FLIPPED, photos, tmp_path_factory.mktemp("flipped"))


def classifier_of(network: Network, photos: Path, folder: Path) -> Classifier:
    """A classifier on an architecture with random weights."""
    weights = invented_weights(network)
    network_path = build_files(network, weights, folder / "network")
    engine = Engine(network_path, precision="f32")
    paths = [path for hue in HUES for path in sorted((photos / "training_set" / hue).glob("0*.jpg"))]
    pixels = np.stack([decoding.load(path.read_bytes(), network.image_size) for path in paths])
    labels = np.array([list(HUES).index(path.parent.name) for path in paths], np.int64)
    embeddings = engine.embed(pixels)
    means = np.stack([embeddings[labels == label].mean(axis=0) for label in range(3)])
    head = LinearHead(10 * means.T, -5 * np.square(means).sum(axis=1))  # the nearest mean
    novelty = fit_novelty(embeddings, labels, np.arange(len(labels)) % 5, num_classes=3, reject=0.1).novelty
    bundle = write_bundle(
        folder / "bundle",
        network=network,
        network_path=network_path,
        weights=weights,
        head=head,
        class_names=tuple(HUES),
        preprocessing=Preprocessing(network.image_size),
        probe_pixels=pixels[::20][:4],
        engine=engine,
        certainty=Certainty(1.5, novelty),
        recipe="classic",
        extra={},
    )
    return Classifier(bundle, precision="f32")
