"""The records that flow between the stages: frozen dataclasses that go to JSON and come back equal.

Paths are posix strings relative to `ImageIndex.root`, so that a record means the same on every machine. Records that hold
arrays set `eq=False`; everything else compares by value.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

PARTS = ("train", "val", "test")


class Record:
    """Mixin: `to_json` gives plain dicts and lists, `from_json` takes them back; a notebook shows a card."""

    def to_json(self) -> dict[str, Any]:
        """This record as JSON-ready values; arrays become lists, NaN becomes None."""
        return {f.name: _plain(getattr(self, f.name)) for f in dataclasses.fields(self)}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record those values describe. Keys a newer version added are ignored.

        Raises:
            KeyError: if a field without a default is missing.
        """
        names = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return cls(**{name: _frozen(value) for name, value in values.items() if name in names})

    def _repr_html_(self) -> str | None:
        """How a notebook shows this record; None leaves it to `repr`."""
        from fieldguide.reporting.cards import card  # the one import that points up: a record cannot draw itself

        return card(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class LabeledImage(Record):
    """One picture of the folder and what its place there says about it."""

    path: str  # posix, relative to the index's root
    label: int  # position in class_names
    part: str | None = None  # train, val or test where the layout says so; None in a flat folder; "also": learned from alone
    group: str | None = None  # pictures of one group (patient, specimen, video) never straddle a split


@dataclass(frozen=True)
class Skipped(Record):
    """A file that was left out, and why."""

    path: str
    reason: str  # the code of DecodeError.reason, or `not_a_picture`
    message: str


@dataclass(frozen=True)
class ImageIndex(Record):
    """What a folder or a CSV file holds, before any picture is opened."""

    root: str
    layout: str  # "training_set/ + test_set/", "flat", "csv"; said to the user
    class_names: tuple[str, ...]  # sorted; a label is a position in it
    images: tuple[LabeledImage, ...]
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The index those values describe."""
        return cls(
            root=values["root"],
            layout=values["layout"],
            class_names=tuple(values["class_names"]),
            images=tuple(LabeledImage.from_json(v) for v in values["images"]),
            skipped=tuple(Skipped.from_json(v) for v in values.get("skipped", ())),
        )


@dataclass(frozen=True)
class Finding(Record):
    """One thing the audit noticed about the folder."""

    kind: str
    severity: str  # error, warning or note
    paths: tuple[str, ...]
    message: str
    suggested: str | None = None  # the class that the picture looks like, of a label to look at
    score: float | None = None  # of what is ranked: the higher, the sooner one should look

    def to_json(self) -> dict[str, Any]:
        """As any record, without `suggested` and `score` where there is none."""
        values = super().to_json()
        return {name: value for name, value in values.items() if value is not None or name not in ("suggested", "score")}


@dataclass(frozen=True)
class Audit(Record):
    """What was found in the folder: counted, listed, never changed."""

    findings: tuple[Finding, ...]
    num_images: int  # usable pictures
    class_names: tuple[str, ...]
    images_per_class: Mapping[str, int]
    groups: tuple[tuple[str, ...], ...] = ()  # paths of copies and near-copies
    leaks: tuple[tuple[str, str], ...] = ()  # (test path, training path) of copies and near-copies
    label_noise: float | None = None  # estimated share of wrong labels; None where labels were not judged
    what_if: Mapping[str, Any] | None = None  # accuracy with and without the actions of a review

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The audit those values describe."""
        findings = tuple(Finding.from_json(finding) for finding in values["findings"])
        return dataclasses.replace(super().from_json(values), findings=findings)


@dataclass(frozen=True, eq=False)
class Split(Record):
    """Which pictures are learned from, chosen by, and scored on: positions in `images`."""

    images: tuple[LabeledImage, ...]  # the usable pictures
    class_names: tuple[str, ...]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    groups: NDArray[np.int64]  # one number per picture; equal numbers stay on one side
    seed: int
    val_is_given: bool  # the user's own validation folder, as opposed to one carved from the training part
    fractions: tuple[float, float, float] | None = None  # of a flat folder

    @property
    def labels(self) -> NDArray[np.int64]:
        """Shape (num_images,): position of each picture's class in class_names."""
        return np.array([image.label for image in self.images], dtype=np.int64)

    @property
    def paths(self) -> tuple[str, ...]:
        """The path of each picture, relative to the root."""
        return tuple(image.path for image in self.images)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The split those values describe."""
        arrays = {name: np.array(values[name], dtype=np.int64) for name in ("train", "val", "test", "groups")}
        return cls(
            images=tuple(LabeledImage.from_json(v) for v in values["images"]),
            class_names=tuple(values["class_names"]),
            seed=values["seed"],
            val_is_given=values["val_is_given"],
            fractions=_frozen(values.get("fractions")),
            **arrays,
        )


@dataclass(frozen=True)
class Preprocessing(Record):
    """How a decoded picture becomes the network's input. Scaling and normalising are layers inside the network."""

    image_size: tuple[int, int]  # (height, width)
    resize: str = "pillow-bilinear"  # antialiased, aspect ratio not kept
    sixteen_bit_max: int | None = None  # the value that is white in 16-bit pictures; None means 65535


@dataclass(frozen=True)
class Prediction(Record):
    """What the classifier says of one picture, or why it could not."""

    path: str | None
    class_name: str | None  # None where an error occurred, or where the picture is none of the classes
    nearest_class: str | None
    probability: float | None  # of nearest_class, in [0, 1]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    novelty: float | None = None  # distance from the nearest class; above 1 it is more than pictures of these classes have
    none_of_these: bool = False
    prediction_set: tuple[str, ...] | None = None  # classes it may well be, most probable first; None where not asked for
    error: str | None = None


@dataclass(frozen=True)
class Resembling(Record):
    """A training picture that another picture resembles."""

    path: str  # relative to the root of the folder
    class_name: str
    distance: float  # 0 for equal pictures, about 1 for unrelated ones, at most 2


@dataclass(frozen=True, eq=False)
class Explanation(Record):
    """Why a picture got its answer: what `fieldguide.explain` returns."""

    prediction: Prediction
    class_name: str  # the class whose evidence this is
    evidence: NDArray[np.float32] | None  # (rows, columns); what each place adds to the class's logit; None where not known
    place: str | None  # where most of the evidence lies, in words; None where not known, or where there is none
    share: float | None  # of what speaks for the class, in that place
    region: NDArray[np.bool_] | None  # (rows, columns); the quarter of the picture with the most evidence
    region_share: float | None  # of what speaks for the class, in that quarter
    nearest: tuple[Resembling, ...]  # training pictures, nearest first; empty where not known
    usual_distance: float | None  # median distance of a training picture to the nearest other one
    notes: tuple[str, ...] = ()  # what could not be told, and why
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)  # (height, width, 3); not in the JSON

    def to_json(self) -> dict[str, Any]:
        """As any record, without the picture itself."""
        return {name: value for name, value in super().to_json().items() if name != "picture"}


@dataclass(frozen=True, eq=False)
class Evaluation(Record):
    """The classifier's answers on one part. Metrics are functions of it (`fieldguide.evaluation.metrics`)."""

    part: str  # train, val or test
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]  # (num_images,)
    probabilities: NDArray[np.float32]  # (num_images, num_classes), rows sum to 1
    paths: tuple[str, ...]
    method: str = "held out"  # or "out-of-fold", or "fitted on" for the training part
    leaked: tuple[int, ...] = ()  # positions of pictures whose copy is in the training part
    novelties: NDArray[np.float32] | None = None  # (num_images,); above 1 lies beyond the border
    reject: float = 0.0  # share of own pictures that may be turned away; with 0 no picture is
    times_scored: int | None = None  # how often this test part has been scored on this machine
    digests: tuple[str, ...] = ()  # the first 16 hexadecimal digits of each file's SHA-256; empty where not known
    skipped: tuple[Skipped, ...] = ()  # files of `evaluate(data=...)` that were not scored

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Shape (num_images,): position of the top class."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Shape (num_images,): whether the top class is the label."""
        return np.asarray(self.predicted == self.labels)

    @property
    def turned_away(self) -> NDArray[np.bool_]:
        """Shape (num_images,): whether the answer is "none of these"."""
        if self.novelties is None or not self.reject:
            return np.zeros(len(self.labels), bool)
        return np.asarray(self.novelties > 1)


@dataclass(frozen=True, eq=False)
class Run(Record):
    """A finished training: where it lies, what it was, what it reached."""

    directory: str
    recipe: str
    settings: Mapping[str, Any]  # the recipe's own dataclass
    class_names: tuple[str, ...]
    seed: int
    layout: str
    scores: Mapping[str, Any]  # train, val, test -> {accuracy, interval, num_images, ...} or None
    seconds: Mapping[str, float]  # total and per stage
    environment: Mapping[str, Any]
    data_fingerprint: str
    history: tuple[Mapping[str, Any], ...] = ()  # one row per epoch, or per strength of the regularisation path
    learning_curve: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = field(default_factory=dict)  # of `train`, all but the recipe and the seed
    certainty: Mapping[str, Any] = field(default_factory=dict)  # what `workflow.certainty.facts` says
    interrupted: str | None = None  # training was ended early by SIGINT or SIGTERM: the best until then; it can go on
    work: Mapping[str, int] = field(default_factory=dict)  # steps, repeated_steps, starts of a network's training
    chosen: str = ""  # the recipe that made what ships: that of the run, or the one that `auto` chose


@dataclass(frozen=True)
class LearningRates(Record):
    """What `fieldguide.lr_find` found: the loss of a short training whose learning rate grows with each batch."""

    recipe: str
    learning_rates: tuple[float, ...]  # ascending, one a batch
    losses: tuple[float, ...]  # of each batch
    smoothed: tuple[float, ...]  # of the batches so far, the newest counting most
    suggestion: float  # where the smoothed loss falls steepest
