"""One picture's answer, explained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fieldguide.classifier import Classifier, Picture
from fieldguide.data.decoding import shrink
from fieldguide.errors import BundleError, RecipeError
from fieldguide.explanation.places import main_place, share_inside, strongest_region
from fieldguide.explanation.resemblance import Memory
from fieldguide.records import Explanation

_LONGEST_SIDE = 512  # px, of the picture that an explanation keeps
NO_TRAINING_PICTURES = (
    "Which training pictures it resembles is not known: a bundle alone does not hold them, nor does a run of an older version. "
    "Give the run folder, or train again."
)


def explain_picture(
    classifier: Classifier,
    picture: Picture,
    *,
    class_name: str | None = None,
    memory: Memory | None = None,
    num_nearest: int = 5,
) -> Explanation:
    """Where the network looked, and which training pictures the picture resembles.

    Args:
        classifier: at work.
        picture: as in `Classifier.predict`.
        class_name: the class whose evidence is wanted; the most probable one when None.
        memory: the training pictures; None where they are not known.
        num_nearest: how many training pictures to name.

    Raises:
        DecodeError: if the picture cannot be read.
        DatasetError: if it is of another type or shape.
        RecipeError: if there is no class of that name.
    """
    names = classifier.class_names
    if class_name is not None and class_name not in names:
        raise RecipeError(f"There is no class {class_name!r}.\nhint: choose one of {', '.join(names)}.")
    path, pixels = classifier.decode(picture)
    small = shrink(pixels, classifier.image_size)
    notes = []
    evidence: NDArray[np.float32] | None = None
    try:
        embeddings, of_classes = classifier.evidence(small[None])
    except BundleError as error:
        notes.append(str(error).split("\n")[0])
        embeddings, of_classes = classifier.engine(latency=True).embed(small[None]), None
    prediction = classifier.of_embeddings(embeddings, [path])[0]
    chosen = class_name or prediction.nearest_class or names[0]
    place, region = None, None
    if of_classes is not None:
        evidence = of_classes[0, names.index(chosen)]
        place, region = main_place(evidence), strongest_region(evidence)
        if place is None:
            notes.append(f"No place of the picture speaks for {chosen}.")
    if memory is None:
        notes.append(NO_TRAINING_PICTURES)
    return Explanation(
        prediction=prediction,
        class_name=chosen,
        evidence=evidence,
        place=place[0] if place else None,
        share=place[1] if place else None,
        region=region if place else None,
        region_share=share_inside(evidence, region) if place and evidence is not None and region is not None else None,
        nearest=memory.resembling(embeddings[0], num_nearest) if memory else (),
        usual_distance=memory.usual_distance if memory else None,
        notes=tuple(notes),
        picture=_at_most(pixels, _LONGEST_SIDE),
    )


def _at_most(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = min(1.0, longest / max(height, width))
    return shrink(pixels, (max(1, round(scale * height)), max(1, round(scale * width))))
