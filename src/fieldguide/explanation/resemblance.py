"""Which training pictures a picture resembles: small copies of their embeddings, kept with the run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.bundle import read_tensors, write_tensors
from fieldguide.data.neighbours import Axes, nearest
from fieldguide.errors import BundleError
from fieldguide.records import Resembling
from fieldguide.storage import read_json, write_json

_MOST_QUERIES = 500  # training pictures whose own nearest one says what a usual distance is
_NAME = "training_pictures"


@dataclass(frozen=True, eq=False)
class Memory:
    """The training pictures as the network sees them, along the principal axes of their embeddings.

    A distance is 1 less the cosine between two pictures there: 0 for equal ones, about 1 for unrelated ones, at most 2.
    """

    class_names: tuple[str, ...]
    paths: tuple[str, ...]  # relative to the root of the folder
    labels: NDArray[np.int64]  # (num_images,); positions in class_names
    axes: Axes
    vectors: NDArray[np.float16]  # (num_images, num_axes), of length 1
    usual_distance: float  # median over training pictures of the distance to the nearest other one

    @classmethod
    def of(
        cls,
        axes: Axes,
        vectors: NDArray[np.float32],
        labels: NDArray[np.int64],
        paths: tuple[str, ...],
        class_names: tuple[str, ...],
    ) -> Memory:
        """Remembers the pictures that a network learned from.

        Args:
            axes: of the embeddings by the network that ships.
            vectors: (num_images, num_axes), those of the pictures along the axes.
            labels: (num_images,).
            paths: of the pictures.
            class_names: of the labels.
        """
        every = -(-len(vectors) // _MOST_QUERIES)
        # Each query finds itself first.
        own = nearest(vectors[::every], vectors, 2, skip_self=False).similarities[:, -1]
        return cls(class_names, paths, labels, axes, vectors.astype(np.float16), max(0.0, 1 - float(np.median(own))))

    def find(self, embeddings: NDArray[Any], count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions of the nearest training pictures, nearest first, and their distances.

        Args:
            embeddings: (num_images, embedding_size).
            count: how many; fewer where there are fewer.

        Returns:
            two arrays of shape (num_images, count).
        """
        found = nearest(self.axes.vectors(embeddings), self.vectors.astype(np.float32), count, skip_self=False)
        return found.positions, np.maximum(1 - found.similarities, 0)

    def resembling(self, embedding: NDArray[Any], count: int) -> tuple[Resembling, ...]:
        """The nearest training pictures of one embedding (embedding_size,)."""
        positions, distances = self.find(embedding[None], count)
        return tuple(
            Resembling(self.paths[i], self.class_names[self.labels[i]], float(distance))
            for i, distance in zip(positions[0], distances[0], strict=True)
        )


def write_memory(directory: Path, memory: Memory) -> None:
    """Writes `training_pictures.json` and `training_pictures.safetensors` into a folder."""
    tensors: dict[str, NDArray[Any]] = {"vectors": memory.vectors, "mean": memory.axes.mean, "axes": memory.axes.axes}
    write_tensors(directory / f"{_NAME}.safetensors", tensors)
    write_json(
        directory / f"{_NAME}.json",
        {
            "class_names": memory.class_names,
            "paths": memory.paths,
            "labels": memory.labels.tolist(),
            "usual_distance": memory.usual_distance,
        },
    )


def read_memory(directory: Path) -> Memory | None:
    """What `write_memory` wrote; None where there is nothing, as in runs of older versions.

    Raises:
        BundleError: if a file is damaged.
    """
    if not (directory / f"{_NAME}.json").is_file():
        return None
    values, tensors = read_json(directory / f"{_NAME}.json"), read_tensors(directory / f"{_NAME}.safetensors")
    try:
        return Memory(
            class_names=tuple(values["class_names"]),
            paths=tuple(values["paths"]),
            labels=np.array(values["labels"], dtype=np.int64),
            axes=Axes(tensors["mean"], tensors["axes"]),
            vectors=tensors["vectors"],
            usual_distance=float(values["usual_distance"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{directory / _NAME}.json is damaged: {error!r}.\nhint: train again.") from error
