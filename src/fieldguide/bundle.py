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

import contextlib
import os
import shutil
import tempfile
import weakref
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
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
from fieldguide.storage import atomic_directory, read_json, sha256_file, write_json

FILES = ("network.xml", "network.bin", "head.safetensors", "weights.safetensors", "probe.safetensors")
OPTIONAL_FILES = ("novelty.safetensors", "held_out.safetensors")
NUM_PROBE_PICTURES = 4
MAX_DIFFERENCE = 1e-3  # of a probability, between the probe and what the network says now
_MAX_FILE_BYTES = 2_000_000_000


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

    def logits(self, embeddings: NDArray[Any]) -> NDArray[np.float32]:
        """(num_images, embedding_size) -> (num_images, num_classes), divided by the temperature."""
        return np.asarray(self.head.logits(embeddings) / self.certainty.temperature, np.float32)

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
        directory = _unpack(path)
        bundle = _read(directory)
        weakref.finalize(bundle, shutil.rmtree, directory, ignore_errors=True)
        return bundle
    for directory in (path / "bundle", path):
        if (directory / "manifest.json").is_file():
            return _read(directory)
    if not path.exists():
        raise BundleError(f"There is no run or bundle {str(path)!r}.\nhint: `fieldguide train DIR` makes one.")
    if (path / "bundle").is_dir() or (path / "recipe.json").is_file():
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
    probe = read_tensors(bundle.directory / "probe.safetensors")
    with _damaged_as_bundle_error(bundle.directory / "probe.safetensors"):
        pixels, expected = probe["pixels"].astype(np.uint8), probe["probabilities"]
    engine = Engine(bundle.directory / "network.xml", precision="auto")
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

    write_bytes(path, save({name: np.ascontiguousarray(value) for name, value in tensors.items()}))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Reads arrays by name from safetensors.

    Raises:
        BundleError: if the file is missing or damaged.
    """
    from safetensors.numpy import load

    with _damaged_as_bundle_error(path):
        return load(path.read_bytes())


def _read(directory: Path) -> Bundle:
    values = read_json(directory / "manifest.json")
    with _damaged_as_bundle_error(directory / "manifest.json"):
        optional = [name for name in OPTIONAL_FILES if name in values["hashes"]]
        hashes = {name: str(values["hashes"][name]) for name in (*FILES, *optional)}
        class_names = tuple(str(name) for name in values["class_names"])
        preprocessing = Preprocessing.from_json(values["preprocessing"])
        network = Network.from_json(values["network"])
        precision, recipe = str(values["precision"]), str(values["recipe"])
    for name in ("network.xml", "network.bin", "head.safetensors", *optional):
        _check_hash(directory, name, hashes)
    head = read_tensors(directory / "head.safetensors")
    with _damaged_as_bundle_error(directory / "head.safetensors"):
        kernel, bias = head["kernel"], head["bias"]
        if kernel.ndim != 2 or bias.shape != (len(class_names),) or kernel.shape[1] != len(class_names):
            raise ValueError(f"a head for {len(class_names)} classes has shapes {kernel.shape} and {bias.shape}")
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


def _read_certainty(
    directory: Path, values: Mapping[str, Any], hashes: Mapping[str, str], *, embedding_size: int, num_classes: int
) -> Certainty:
    with _damaged_as_bundle_error(directory / "manifest.json"):
        temperature = float(values["temperature"])
        if not LOWEST <= temperature <= HIGHEST:
            raise ValueError(f"the temperature is {temperature}; expected from {LOWEST} to {HIGHEST}")
    novelty, of_labels = None, None
    if "novelty.safetensors" in hashes:
        with _damaged_as_bundle_error(directory / "novelty.safetensors"):
            tensors = read_tensors(directory / "novelty.safetensors")
            reject = float(values["novelty"]["reject"])
            novelty = Novelty.from_tensors(tensors, reject=reject, embedding_size=embedding_size, num_classes=num_classes)
    if "held_out.safetensors" in hashes:
        with _damaged_as_bundle_error(directory / "held_out.safetensors"):
            of_labels = read_tensors(directory / "held_out.safetensors")["of_labels"]
            if of_labels.dtype != np.float32 or of_labels.ndim != 1 or not ((of_labels >= 0) & (of_labels <= 1)).all():
                raise ValueError("of_labels should be float32 probabilities, one per held-out picture")
    return Certainty(temperature, novelty, of_labels)


def _check_hash(directory: Path, name: str, hashes: Mapping[str, str]) -> None:
    path = directory / name
    if not path.is_file():
        raise BundleError(f"The bundle {directory} lacks {name}.\nhint: copy the whole folder again, or train again.")
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise BundleError(f"{path} has more than {_MAX_FILE_BYTES:,} bytes.")
    if sha256_file(path) != hashes[name]:
        raise BundleError(
            f"{path} is not the file the manifest describes: its SHA-256 differs.\n"
            "hint: it was changed or damaged; copy the bundle again, or train again."
        )


@contextlib.contextmanager
def _damaged_as_bundle_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BundleError:
        raise
    except Exception as error:  # a foreign file can make any parser raise anything
        raise BundleError(f"{path} is damaged: {type(error).__name__}: {error}.\nhint: train again.") from error


def _unpack(path: Path) -> Path:
    """Copies the bundle's files, and no others, out of a zip into a temporary folder."""
    directory = Path(tempfile.mkdtemp(prefix="fieldguide-bundle-"))
    try:
        with zipfile.ZipFile(path) as archive:
            manifests = [n for n in archive.namelist() if PurePosixPath(n).name == "manifest.json"]
            if len(manifests) != 1:
                raise BundleError(f"{path} holds {len(manifests)} bundles; expected one.")
            parent = PurePosixPath(manifests[0]).parent
            for name in ("manifest.json", *FILES, *OPTIONAL_FILES):
                with contextlib.suppress(KeyError):  # a missing file is reported by name later
                    information = archive.getinfo(str(parent / name))
                    if information.file_size > _MAX_FILE_BYTES:
                        raise BundleError(f"{name} in {path} has more than {_MAX_FILE_BYTES:,} bytes.")
                    with archive.open(information) as source, (directory / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise BundleError(f"{path} cannot be unpacked: {error}.") from error
    except BundleError:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory
