"""A trained classifier at work: paths, bytes, pictures or arrays in, predictions out. No TensorFlow, no cache."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import ThreadpoolController

from fieldguide.bundle import Bundle, read_bundle, verify
from fieldguide.data import decoding
from fieldguide.data.parallel import in_order, num_workers_that_fit
from fieldguide.embedding.engine import Engine
from fieldguide.embedding.evidence import EvidenceEngine
from fieldguide.embedding.linear_head import LinearHead
from fieldguide.errors import DatasetError, DecodeError
from fieldguide.models.own_network import rebuild_own
from fieldguide.models.registry import OWN
from fieldguide.records import Prediction, Skipped

Picture = str | os.PathLike[str] | bytes | Image.Image | NDArray[np.uint8]
NONE_OF_THESE = "none of these"
_BATCH_SIZE = 8
_FEW = 8  # up to here starting several streams costs more than it saves


class Classifier:
    """What `fieldguide.load` returns.

    Args:
        bundle: the trained network and head.
        precision: of the engine: `auto` (bf16 where the processor has it), `f32` or `bf16`.
        reject: share of pictures like the training pictures that may be answered "none of these"; that of the training when
            None, and 0 names a class for every picture.
        set_coverage: share of pictures whose `prediction_set` shall hold the right class; no sets when None.

    Raises:
        RecipeError: if a share is out of range.
        BundleError: if the bundle is too old to know either.

    Example:
        >>> classifier = fieldguide.load("runs/dataset")  # doctest: +SKIP
        >>> classifier.predict("photo.jpg").class_name  # doctest: +SKIP
        'cat'
    """

    def __init__(
        self, bundle: Bundle, *, precision: str = "auto", reject: float | None = None, set_coverage: float | None = None
    ) -> None:
        self.bundle = bundle
        self.certainty = bundle.certainty if reject is None else bundle.certainty.with_reject(reject)
        self.set_coverage = set_coverage
        if set_coverage is not None:
            self.certainty.sets(np.empty((0, len(bundle.class_names))), set_coverage)  # says now what is wrong with it
        self._precision = precision
        self._engines: dict[bool, Engine] = {}
        self._evidence: EvidenceEngine | None = None
        self._blas = ThreadpoolController()

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes, in the order of the probabilities."""
        return self.bundle.class_names

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the network's input."""
        return self.bundle.preprocessing.image_size

    def engine(self, *, latency: bool = False) -> Engine:
        """The network at work: tuned for one picture at a time, or for many."""
        if latency not in self._engines:
            self._engines[latency] = self.bundle.engine(precision=self._precision, latency=latency)
        return self._engines[latency]

    @overload
    def predict(self, pictures: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...
    @overload
    def predict(self, pictures: str | os.PathLike[str] | bytes | Image.Image) -> Prediction: ...
    @overload
    def predict(self, pictures: NDArray[np.uint8]) -> Prediction | list[Prediction]: ...
    def predict(self, pictures: Picture | list[Any] | tuple[Any, ...]) -> Prediction | list[Prediction]:
        """Classifies one picture, or several.

        Args:
            pictures: a path, the bytes of a file, a `PIL.Image.Image`, an RGB uint8 array (height, width, 3) or a batch
                of them (num_images, height, width, 3); or a list of any of these.

        Returns:
            One `Prediction` for one picture, a list for a list or a batch. A picture that cannot be read gives a
            prediction whose `error` says why.

        Raises:
            DatasetError: if an argument is of another type, or an array of another shape or type.
        """
        if isinstance(pictures, np.ndarray) and pictures.ndim == 4:
            pictures = list(pictures)
        if isinstance(pictures, list | tuple):
            return list(self.predict_many(pictures))
        return next(self.predict_many([pictures]))

    def predict_many(self, pictures: Iterable[Picture], *, num_workers: int | None = None) -> Iterator[Prediction]:
        """Classifies a stream of pictures: decoding and inference overlap, answers come in order."""
        pictures = pictures if isinstance(pictures, Sequence) else iter(pictures)
        is_few = isinstance(pictures, Sequence) and len(pictures) <= _FEW
        workers = 1 if is_few else num_workers or num_workers_that_fit()
        decoded = in_order(self._read_some, pictures, num_workers=workers, items_per_task=1 if is_few else 4)
        yield from self._answers(decoded, self.engine(latency=is_few), 1 if is_few else _BATCH_SIZE)

    def predict_pixels(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(num_images, *image_size, 3) RGB uint8 -> probabilities (num_images, num_classes)."""
        return self.bundle.probabilities(self.engine().embed(pixels))

    def evidence(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Embeddings, and what each place of the pictures adds to each class's logit, in the same pass.

        Args:
            pixels: (num_images, *image_size, 3) RGB uint8.

        Returns:
            embeddings (num_images, embedding_size); evidence (num_images, num_classes, rows, columns), see
            `fieldguide.embedding.evidence`.

        Raises:
            BundleError: if the network does not end in maps that can be read.
        """
        if self._evidence is None:
            self._evidence = EvidenceEngine(self.bundle.directory / "network.xml", precision=self._precision)
        head, temperature = self.bundle.head, self.certainty.temperature
        return self._evidence.run(pixels, LinearHead(head.kernel / temperature, head.bias / temperature))

    def of_embeddings(self, embeddings: NDArray[np.float32], paths: Sequence[str | None]) -> list[Prediction]:
        """The answers for embeddings of pictures, (num_images, embedding_size), by this classifier's network."""
        return [dataclasses.replace(p, path=path) for p, path in zip(self._predictions(embeddings), paths, strict=True)]

    def predict_prepared(self, pixels: NDArray[np.uint8]) -> list[Prediction]:
        """Classifies pictures as `data.decoding.load` prepares them: RGB uint8 (num_images, *image_size, 3)."""
        embeddings = self.engine(latency=len(pixels) == 1).embed(pixels)
        # BLAS's own threads wait spinning, and take from the engine the cores that it works on.
        with self._blas.limit(limits=1, user_api="blas"):
            return list(self._predictions(embeddings))

    def verify(self) -> float:
        """Checks the bundle's hashes and its probe; returns the largest difference. See `fieldguide.bundle.verify`."""
        return verify(self.bundle)

    def to_keras(self, build: Callable[[tuple[int, int], int], Any] | None = None) -> Any:
        """This classifier as a plain `keras.Model`: RGB uint8 (batch, *image_size, 3) -> logits (batch, num_classes).

        Logits are divided by the temperature already: their softmax gives the probabilities of `predict`.

        Args:
            build: the function that `train(..., model=build)` was given, where the network is the user's own.

        Raises:
            BundleError: if that function is needed and missing, or builds another network.
        """
        from fieldguide.embedding.graph import build_network
        from fieldguide.models.keras_operations import build_keras, set_weights

        weights = self.bundle.weights()
        head, temperature = self.bundle.head, self.certainty.temperature
        if self.bundle.network.architecture == OWN and build is not None:
            return rebuild_own(
                build,
                weights,
                image_size=self.image_size,
                kernel=head.kernel / temperature,
                bias=head.bias / temperature,
            )
        if self.bundle.network.architecture != OWN:
            build_network(self.bundle.network, weights)  # refuses numbers that do not fit before Keras makes room for them
        model = build_keras(self.bundle.network, num_classes=len(self.class_names))
        scaled = {"head/kernel": head.kernel / temperature, "head/bias": head.bias / temperature}
        set_weights(model, {**weights, **scaled})
        return model

    def _read_some(self, pictures: Sequence[Picture]) -> list[tuple[str | None, NDArray[np.uint8] | str]]:
        return [self._read(picture) for picture in pictures]

    def _read(self, picture: Picture) -> tuple[str | None, NDArray[np.uint8] | str]:
        """Path and pixels of one picture at the network's size, or path and the reason why there are none."""
        try:
            path, pixels = self.decode(picture)
        except DecodeError as error:
            return os.fspath(picture) if isinstance(picture, str | os.PathLike) else None, str(error)
        return path, decoding.shrink(pixels, self.image_size)

    def decode(self, picture: Picture) -> tuple[str | None, NDArray[np.uint8]]:
        """The path of a picture, where it has one, and its pixels at their own size (a large JPEG: at a DCT scale).

        Raises:
            DecodeError: if it cannot be read.
            DatasetError: if it is of another type than `predict` takes, or an array of another shape or type.
        """
        path = os.fspath(picture) if isinstance(picture, str | os.PathLike) else None
        preprocessing = self.bundle.preprocessing
        size, brightest = preprocessing.image_size, preprocessing.sixteen_bit_max
        if isinstance(picture, str | os.PathLike):
            picture = decoding.read_file(picture)
        if isinstance(picture, bytes):
            return path, decoding.decode(picture, cover=size, sixteen_bit_max=brightest).pixels
        if isinstance(picture, Image.Image):
            return path, decoding.from_image(picture, cover=size, sixteen_bit_max=brightest).pixels
        if isinstance(picture, np.ndarray):
            if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
                raise DatasetError(
                    f"An array must be RGB uint8 of shape (height, width, 3); received {picture.dtype} {picture.shape}.\n"
                    "hint: values go from 0 to 255; do not divide them by 255, the network does."
                )
            return path, np.ascontiguousarray(picture)
        raise DatasetError(f"A picture must be a path, bytes, a PIL image or an array; received {type(picture).__name__}.")

    def _answers(
        self, reads: Iterable[tuple[str | None, NDArray[np.uint8] | str]], engine: Engine, batch_size: int
    ) -> Iterator[Prediction]:
        """Batches the readable ones through the engine and puts the others back in their places."""

        def batches() -> Iterator[tuple[list[tuple[str | None, str | None]], NDArray[np.uint8]]]:
            tags: list[tuple[str | None, str | None]] = []  # (path, error)
            pixels: list[NDArray[np.uint8]] = []
            empty = np.empty((0, *self.image_size, 3), np.uint8)
            for path, found in reads:
                tags.append((path, found if isinstance(found, str) else None))
                if not isinstance(found, str):
                    pixels.append(found)
                if len(tags) == batch_size:
                    yield tags, np.stack(pixels) if pixels else empty
                    tags, pixels = [], []
            if tags:
                yield tags, np.stack(pixels) if pixels else empty

        for tags, embeddings in engine.embed_stream(batches()):
            with self._blas.limit(limits=1, user_api="blas"):
                rows = iter(list(self._predictions(embeddings)))
            for path, error in tags:
                yield _failed(path, error) if error is not None else dataclasses.replace(next(rows), path=path)

    def _predictions(self, embeddings: NDArray[np.float32]) -> Iterator[Prediction]:
        if not len(embeddings):
            return
        probabilities, novelty = self.bundle.probabilities(embeddings), self.certainty.novelty
        with np.errstate(all="ignore"):
            scores = self.bundle.finite(novelty.scores(embeddings)) if novelty else np.zeros(len(embeddings), np.float32)
        are_strange = novelty.is_strange(scores) if novelty else np.zeros(len(embeddings), bool)
        sets = None if self.set_coverage is None else self.certainty.sets(probabilities, self.set_coverage)
        for i, row in enumerate(probabilities):
            ranked = np.argsort(-row, kind="stable").tolist()
            nearest = self.class_names[ranked[0]]
            yield Prediction(
                path=None,
                class_name=None if are_strange[i] else nearest,
                nearest_class=nearest,
                probability=float(row[ranked[0]]),
                probabilities={name: float(p) for name, p in zip(self.class_names, row, strict=True)},
                novelty=float(scores[i]) if novelty else None,
                none_of_these=bool(are_strange[i]),
                prediction_set=None if sets is None else tuple(self.class_names[c] for c in ranked if sets[i, c]),
            )


def load(
    source: str | os.PathLike[str],
    *,
    precision: str = "auto",
    reject: float | None = None,
    set_coverage: float | None = None,
) -> Classifier:
    """Opens a trained classifier: a run folder, a bundle folder, or a zip of one. Other arguments as in `Classifier`.

    Raises:
        BundleError: if it is missing or damaged.
        RecipeError: if a share is out of range.
    """
    return Classifier(read_bundle(source), precision=precision, reject=reject, set_coverage=set_coverage)


def find_pictures(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str]:
    """Expands files, folders (with their subfolders) and glob patterns into paths of pictures, in order.

    A path that does not exist, and a folder that cannot be read, are yielded as they are, so that their predictions can say
    so. Files in folders that are not named as pictures are passed over. A pattern gives each picture once, also where it
    matches a folder and what is in it.
    """
    import glob

    from fieldguide.data.walking import walk_pictures

    for given in paths:
        text = os.fspath(given)
        path = Path(text)
        if path.is_dir():
            left_out: list[Skipped] = []
            yield from (str(path / name) for name in walk_pictures(path, left_out, path, only_unicode=False))
            yield from (str(path / skipped.path) for skipped in left_out if skipped.reason == "unreadable")
        elif not path.exists() and glob.has_magic(text):
            matches = sorted(glob.glob(text, recursive=True))
            yield from {str(Path(found)): found for found in find_pictures(matches)}.values() if matches else [text]
        else:
            yield text


def _failed(path: str | None, error: str) -> Prediction:
    return Prediction(path=path, class_name=None, nearest_class=None, probability=None, error=error)


def _folder_name(class_name: str) -> str:
    """A class as one folder: a bundle from a stranger may call its classes `../../bin`, a CSV file `cats/black`."""
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "_", class_name)
    return "_" * len(name) if set(name) <= {".", " "} else name


def copy_into_class_folder(prediction: Prediction, directory: Path) -> Path:
    """Copies a classified picture into `directory/CLASS`; the original stays, and no file there is overwritten.

    Raises:
        DatasetError: if the copy cannot be written.
    """
    if prediction.path is None or prediction.nearest_class is None:
        raise DatasetError("Only a picture that came from a file and could be read can be copied.")
    folder = directory / _folder_name(prediction.class_name or NONE_OF_THESE)
    source = Path(prediction.path)
    target, number = folder / source.name, 1
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while target.exists():
            number += 1
            target = folder / f"{source.stem}-{number}{source.suffix}"
        try:
            shutil.copy2(source, target)
        except BaseException:
            target.unlink(missing_ok=True)  # no half a picture, where the disk is full
            raise
    except OSError as error:
        raise DatasetError(
            f"{source} cannot be copied into {folder}: {error.strerror or error}.\nhint: choose another folder."
        ) from error
    return target
