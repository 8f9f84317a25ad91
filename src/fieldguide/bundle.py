"""What ships: a folder with a manifest, the network, its weights, a linear head, and a probe that proves they agree.

    manifest.json        class names, preprocessing, architecture, SHA-256 of every other file
    network.xml, .bin    pixels -> embedding, as the engine runs it
    head.safetensors     embedding -> logits
    weights.safetensors  the same network for Keras, rebuilt by architecture name
    probe.safetensors    four pictures and the probabilities they must get
    novelty.safetensors  how far from every class is too far           (older bundles lack this and the next)
    held_out.safetensors what the labels of held-out pictures got, for prediction sets

A bundle holds no code and no pickle. It may come from a stranger: names are fixed, sizes are limited, hashes are checked.
"""

from __future__ import annotations

import os
import shutil
import weakref
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide import __version__
from fieldguide.embedding.certainty import Certainty
from fieldguide.embedding.engine import Engine, save_network
from fieldguide.embedding.graph import build_network
from fieldguide.embedding.linear_head import LinearHead, softmax
from fieldguide.embedding.novelty import Novelty
from fieldguide.embedding.temperature import HIGHEST, LOWEST
from fieldguide.errors import BundleError
from fieldguide.models.operations import Network
from fieldguide.records import Preprocessing
from fieldguide.storage import atomic_directory, damaged_as_bundle_error, read_json, sha256_file, unpack_known, write_json

FILES = ("network.xml", "network.bin", "head.safetensors", "weights.safetensors", "probe.safetensors")
OPTIONAL_FILES = ("novelty.safetensors", "held_out.safetensors")
NUM_PROBE_PICTURES = 4
MAX_DIFFERENCE = 1e-3  # of a probability, between the probe and what the network says now
MAX_BYTES = {
    "manifest.json": 16_000_000,
    "network.xml": 64_000_000,
    **dict.fromkeys(("network.bin", "head.safetensors", "weights.safetensors"), 2_000_000_000),
    **dict.fromkeys(("probe.safetensors", *OPTIONAL_FILES), 500_000_000),
}
_MAX_SIDE = 4096  # of a picture, in pixels


@dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle on disk, its manifest read and checked."""

    directory: Path
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    network: Network
    head: LinearHead
    certainty: Certainty  # what divides the logits, what is too strange, what a set of classes needs
    precision: str  # the engine's, when the published figures were made: f32 or bf16
    recipe: str
    hashes: Mapping[str, str]

    @property
    def network_hash(self) -> str:
        """Names the network: embeddings made by another one do not fit this head."""
        return f"{self.hashes['network.xml'][:16]}{self.hashes['network.bin'][:16]}"

    @property
    def model_hash(self) -> str:
        """Names the whole classifier."""
        import hashlib

        parts = [*self.hashes.values(), repr(self.certainty.temperature)]
        return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]

    def engine(self, *, precision: str = "auto", latency: bool = False) -> Engine:
        """The network at work, as `Engine` says.

        Raises:
            BundleError: if the network is damaged, or does not fit the head or the preprocessing.
        """
        path = self.directory / "network.xml"
        engine = Engine(path, precision=precision, latency=latency)
        ends = (engine.image_size, engine.embedding_size)
        if ends != (self.preprocessing.image_size, len(self.head.kernel)):
            raise BundleError(
                f"{path} takes pictures of {ends[0]} and gives {ends[1]} numbers; the manifest says "
                f"{self.preprocessing.image_size} and the head takes {len(self.head.kernel)}."
            )
        return engine

    def logits(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes), divided by the temperature.

        Raises:
            BundleError: if they are no numbers, which the numbers of a stranger can bring about.
        """
        with np.errstate(all="ignore"):
            return self.finite(self.head.logits(embeddings) / self.certainty.temperature)

    def finite(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """The values, in float32.

        Raises:
            BundleError: if one is infinite or no number.
        """
        if not np.isfinite(values).all():
            raise BundleError(f"The network in {self.directory} gives infinite numbers.\nhint: it is damaged; train again.")
        return np.asarray(values, np.float32)

    def probabilities(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes); rows sum to 1."""
        return np.asarray(softmax(self.logits(embeddings)), np.float32)

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """The network's weights for Keras, as `models.keras_operations.get_weights` names them."""
        return read_tensors(self.directory / "weights.safetensors")


def build_files(network: Network, weights: Mapping[str, NDArray[np.float32]], directory: Path) -> Path:
    """Writes `network.xml` and `network.bin` of an architecture into a folder; returns the path of the first."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "network.xml"
    save_network(build_network(network, weights), path)
    return path


def write_bundle(
    directory: Path,
    *,
    network: Network,
    network_path: Path,
    weights: Mapping[str, NDArray[np.float32]],
    head: LinearHead,
    class_names: tuple[str, ...],
    preprocessing: Preprocessing,
    probe_pixels: NDArray[np.uint8],
    engine: Engine,
    certainty: Certainty,
    recipe: str,
    extra: Mapping[str, Any],
) -> Bundle:
    """Writes a bundle; the folder appears complete or not at all.

    Args:
        directory: of the bundle; one of a run that was interrupted and went on is replaced.
        network: architecture and numbers.
        network_path: a `network.xml` with its `network.bin` beside it.
        weights: for Keras.
        head: the linear layer on top.
        class_names: columns of the head.
        preprocessing: what pictures go through before the network.
        probe_pixels: (4, height, width, 3) uint8, kept with the answers they must get.
        engine: the network at work, for the probe's answers.
        certainty: what held-out pictures taught.
        recipe: its name.
        extra: further facts for the manifest (scores, data fingerprint, ...).
    """
    with atomic_directory(directory) as temporary:
        shutil.copyfile(network_path, temporary / "network.xml")
        shutil.copyfile(network_path.with_suffix(".bin"), temporary / "network.bin")
        write_tensors(temporary / "head.safetensors", {"kernel": head.kernel, "bias": head.bias})
        write_tensors(temporary / "weights.safetensors", weights)
        embeddings = engine.embed(probe_pixels)
        probabilities = np.asarray(softmax(head.logits(embeddings) / certainty.temperature), np.float32)
        write_tensors(temporary / "probe.safetensors", {"pixels": probe_pixels, "probabilities": probabilities})
        if certainty.novelty is not None:
            write_tensors(temporary / "novelty.safetensors", certainty.novelty.tensors())
        if certainty.of_labels is not None:
            write_tensors(temporary / "held_out.safetensors", {"of_labels": certainty.of_labels})
        written = [name for name in (*FILES, *OPTIONAL_FILES) if (temporary / name).is_file()]
        hashes = {name: sha256_file(temporary / name) for name in written}
        write_json(
            temporary / "manifest.json",
            {
                "fieldguide": __version__,
                "recipe": recipe,
                "class_names": list(class_names),
                "preprocessing": preprocessing.to_json(),
                "network": network.to_json(),
                "temperature": certainty.temperature,
                "novelty": None if certainty.novelty is None else {"reject": certainty.novelty.reject},
                "precision": engine.precision,
                "hashes": hashes,
                **extra,
            },
        )
    return read_bundle(directory)


def read_bundle(source: str | os.PathLike[str]) -> Bundle:
    """Reads the bundle of a run folder, of a bundle folder, or of a zip of either.

    The files that predictions need are checked against their hashes; `verify` checks them all.

    Raises:
        BundleError: if there is no bundle, or if it is damaged, tampered with, or of a newer format.
    """
    path = Path(source).expanduser()
    if path.is_file() and zipfile.is_zipfile(path):
        directory = unpack_known(path, "manifest.json", MAX_BYTES)
        try:
            bundle = _read(directory)
        except BundleError:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        weakref.finalize(bundle, shutil.rmtree, directory, ignore_errors=True)
        return bundle
    for directory in (path / "bundle", path):
        if (directory / "manifest.json").is_file():
            return _read(directory)
    if not path.exists():
        raise BundleError(f"There is no run or bundle {str(path)!r}.\nhint: `fieldguide train DIR` makes one.")
    if (path / "bundle").is_dir():
        raise BundleError(
            f"The bundle {path / 'bundle'} lacks manifest.json.\nhint: copy the whole folder again, or train again."
        )
    if (path / "recipe.json").is_file():
        raise BundleError(f"The run {str(path)!r} was not finished: it has no bundle.\nhint: train again.")
    raise BundleError(
        f"{str(path)!r} is no run, no bundle and no zip of one: there is no manifest.json in it.\n"
        "hint: give the folder that `fieldguide train` named."
    )


def verify(bundle: Bundle) -> float:
    """Checks every hash and sends the probe through the network; returns the largest difference of a probability.

    Raises:
        BundleError: if a file is damaged, or if the difference is above 1e-3 at the bundle's own precision.
    """
    for name in bundle.hashes:
        _check_hash(bundle.directory, name, bundle.hashes)
    engine = bundle.engine()
    probe = read_tensors(bundle.directory / "probe.safetensors")
    with damaged_as_bundle_error(bundle.directory / "probe.safetensors"):
        pixels, expected = probe["pixels"], probe["probabilities"]
        if not len(pixels) or expected.shape != (len(pixels), len(bundle.class_names)):
            raise ValueError(f"{len(pixels)} pictures have answers of shape {expected.shape}")
        difference = float(np.abs(bundle.probabilities(engine.embed(pixels)) - expected).max())
    # Another precision rounds otherwise; that is no damage, so the bound is wider then.
    bound = MAX_DIFFERENCE if engine.precision == bundle.precision else 0.05
    if not difference <= bound:
        raise BundleError(
            f"The bundle {bundle.directory} does not give its own answers: a probability of the probe differs by "
            f"{difference:.4f}; at most {bound} is allowed.\nhint: train again."
        )
    return difference


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays by name as safetensors, atomically."""
    from safetensors.numpy import save

    from fieldguide.storage import write_bytes

    write_bytes(path, save({name: np.asarray(value, order="C") for name, value in tensors.items()}))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Reads arrays by name from safetensors.

    Raises:
        BundleError: if the file is missing or damaged.
    """
    from safetensors.numpy import load

    with damaged_as_bundle_error(path):
        return load(path.read_bytes())


def _read(directory: Path) -> Bundle:
    values = read_json(directory / "manifest.json", max_bytes=MAX_BYTES["manifest.json"])
    with damaged_as_bundle_error(directory / "manifest.json"):
        optional = [name for name in OPTIONAL_FILES if name in values["hashes"]]
        hashes = {name: str(values["hashes"][name]) for name in (*FILES, *optional)}
        class_names = _checked_names(values["class_names"])
        preprocessing = _checked_preprocessing(Preprocessing.from_json(values["preprocessing"]))
        network = Network.from_json(values["network"])
        if network.image_size != preprocessing.image_size:
            raise ValueError(f"the network takes {network.image_size} and pictures are made {preprocessing.image_size}")
        precision, recipe = str(values["precision"]), str(values["recipe"])
    for name in ("network.xml", "network.bin", "head.safetensors", *optional):
        _check_hash(directory, name, hashes)
    head = read_tensors(directory / "head.safetensors")
    with damaged_as_bundle_error(directory / "head.safetensors"):
        kernel, bias = head["kernel"], head["bias"]
        if kernel.ndim != 2 or bias.shape != (len(class_names),) or kernel.shape[1] != len(class_names):
            raise ValueError(f"a head for {len(class_names)} classes has shapes {kernel.shape} and {bias.shape}")
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise ValueError("the head holds numbers that are not finite")
    return Bundle(
        directory=directory,
        class_names=class_names,
        preprocessing=preprocessing,
        network=network,
        head=LinearHead(kernel, bias),
        certainty=_read_certainty(directory, values, hashes, embedding_size=kernel.shape[0], num_classes=len(class_names)),
        precision=precision,
        recipe=recipe,
        hashes=hashes,
    )


def _checked_names(values: Any) -> tuple[str, ...]:
    names = tuple(values)
    if not all(isinstance(name, str) and name and name.encode("utf-8") for name in names):
        raise ValueError("the names of classes should be texts, and not empty")
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"each class should have a name of its own; there are {len(names)}, {len(set(names))} of them different"
        )
    return names


def _checked_preprocessing(given: Preprocessing) -> Preprocessing:
    size, white = given.image_size, given.sixteen_bit_max
    if len(size) != 2 or not all(type(side) is int and 1 <= side <= _MAX_SIDE for side in size):
        raise ValueError(f"image_size should be two whole numbers from 1 to {_MAX_SIDE}; received {size!r}")
    if given.resize != Preprocessing.resize:
        raise ValueError(f"pictures should be resized by {Preprocessing.resize}; received {given.resize!r}")
    if white is not None and not (type(white) is int and 1 <= white <= 65535):
        raise ValueError(f"sixteen_bit_max should be a whole number from 1 to 65535; received {white!r}")
    return given


def _read_certainty(
    directory: Path, values: Mapping[str, Any], hashes: Mapping[str, str], *, embedding_size: int, num_classes: int
) -> Certainty:
    with damaged_as_bundle_error(directory / "manifest.json"):
        temperature = float(values["temperature"])
        if not LOWEST <= temperature <= HIGHEST:
            raise ValueError(f"the temperature is {temperature}; expected from {LOWEST} to {HIGHEST}")
    novelty, of_labels = None, None
    if "novelty.safetensors" in hashes:
        with damaged_as_bundle_error(directory / "novelty.safetensors"):
            tensors = read_tensors(directory / "novelty.safetensors")
            reject = float(values["novelty"]["reject"])
            novelty = Novelty.from_tensors(tensors, reject=reject, embedding_size=embedding_size, num_classes=num_classes)
    if "held_out.safetensors" in hashes:
        with damaged_as_bundle_error(directory / "held_out.safetensors"):
            of_labels = read_tensors(directory / "held_out.safetensors")["of_labels"]
            if of_labels.dtype != np.float32 or of_labels.ndim != 1 or not ((of_labels >= 0) & (of_labels <= 1)).all():
                raise ValueError("of_labels should be float32 probabilities, one per held-out picture")
    return Certainty(temperature, novelty, of_labels)


def _check_hash(directory: Path, name: str, hashes: Mapping[str, str]) -> None:
    path = directory / name
    if not path.is_file():
        raise BundleError(f"The bundle {directory} lacks {name}.\nhint: copy the whole folder again, or train again.")
    if path.resolve().parent != directory.resolve():
        raise BundleError(f"{path} is a link out of the bundle.\nhint: copy the file itself into the folder.")
    if path.stat().st_size > MAX_BYTES[name]:
        raise BundleError(f"{path} has more than {MAX_BYTES[name]:,} bytes.")
    if sha256_file(path) != hashes[name]:
        raise BundleError(
            f"{path} is not the file the manifest describes: its SHA-256 differs.\n"
            "hint: it was changed or damaged; copy the bundle again, or train again."
        )
