"""What an exported file says of itself: in its own metadata, and in the JSON beside it."""

from __future__ import annotations

from typing import Any

from fieldguide import __version__
from fieldguide.classifier import Classifier


def metadata_of(classifier: Classifier) -> dict[str, Any]:
    """Class names, preprocessing, thresholds and hashes, ready for JSON."""
    bundle, novelty = classifier.bundle, classifier.certainty.novelty
    return {
        "fieldguide": __version__,
        "recipe": bundle.recipe,
        "architecture": bundle.network.architecture,
        "class_names": list(classifier.class_names),
        "image_size": list(classifier.image_size),
        "preprocessing": bundle.preprocessing.to_json(),
        "input": "RGB, uint8 from 0 to 255, (batch, height, width, 3); scaling is part of the network",
        "temperature": classifier.certainty.temperature,
        "novelty": None if novelty is None else {"border": 1.0, "distance": novelty.threshold, "reject": novelty.reject},
        "model_hash": bundle.model_hash,
        "hashes": dict(bundle.hashes),
    }
