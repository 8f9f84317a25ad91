"""The shapes of the answers, for OpenAPI and for who reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from fieldguide.explanation.places import main_place
from fieldguide.records import Prediction


class Heatmap(BaseModel):
    """Where in the picture the evidence for a class lies, in the network's own coarse grid."""

    class_name: str
    evidence: list[list[float]] = Field(
        description="Rows of what each place adds to the class's logit; below 0 speaks against it."
    )
    place: str | None = Field(description="Where most of it lies, in words; None where nothing speaks for the class.")
    share: float | None = Field(description="Of the evidence for the class that lies there.")


class Picture(BaseModel):
    """What the classifier says of one picture, or why it could not."""

    class_name: str | None = Field(description="None where the picture is none of these, or could not be read.")
    nearest_class: str | None = Field(description="The most probable class, also where the picture is none of these.")
    probability: float | None = Field(description="Of nearest_class, from 0 to 1.")
    probabilities: dict[str, float] = Field(description="Of each class; they sum to 1.")
    novelty: float | None = Field(description="Distance from the nearest class; above 1 lies beyond the border.")
    none_of_these: bool
    error: str | None = Field(description="Why the picture could not be read.")
    heatmap: Heatmap | None = Field(None, description="With ?heatmap=true only.")


class Answer(BaseModel):
    """The answer to /v1/predict: pictures in the order in which they were sent."""

    model: str = Field(description="Names the whole classifier: changes when any of its numbers do.")
    predictions: list[Picture]


class Model(BaseModel):
    """What this server runs."""

    model: str
    class_names: list[str]
    image_size: list[int] = Field(min_length=2, max_length=2, description="(height, width) of the network's input.")
    recipe: str
    precision: str
    reject: float = Field(description="Share of pictures like the training pictures that may be turned away.")
    max_body_bytes: int
    max_pictures: int
    explains: bool = Field(description="Whether ?heatmap=true gives heatmaps.")
    collects: bool = Field(description="Whether /v1/correct stores pictures.")
    version: str


class Collected(BaseModel):
    """Where a correction went."""

    model: str
    class_name: str
    name: str = Field(description="Of the file in the class folder; made from the picture's content.")


class Refusal(BaseModel):
    """Why there is no answer."""

    error: str


def picture(prediction: Prediction) -> dict[str, Any]:
    """A prediction as it is answered: without a path, which the client knows and the server does not."""
    return {
        "class_name": prediction.class_name,
        "nearest_class": prediction.nearest_class,
        "probability": prediction.probability,
        "probabilities": dict(prediction.probabilities),
        "novelty": prediction.novelty,
        "none_of_these": prediction.none_of_these,
        "error": prediction.error,
    }


def heatmap(prediction: Prediction, evidence: NDArray[np.float32]) -> dict[str, Any]:
    """Evidence (rows, columns) as it is answered."""
    place = main_place(evidence)
    return {
        "class_name": prediction.nearest_class,
        "evidence": evidence.tolist(),
        "place": place[0] if place else None,
        "share": place[1] if place else None,
    }


EXAMPLE = {
    "model": "3f0c6c1c8e2b7a90",
    "predictions": [
        {
            "class_name": "cat",
            "nearest_class": "cat",
            "probability": 0.98,
            "probabilities": {"cat": 0.98, "dog": 0.02},
            "novelty": 0.61,
            "none_of_these": False,
            "error": None,
        }
    ],
}
