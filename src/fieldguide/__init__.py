"""fieldguide: a folder of labelled pictures becomes a convolutional classifier that can be trusted.

The way of one picture through the code:

1. `data.index`: which pictures there are, of which class
2. `data.scan`: every file read, hashed and decoded once (`data.decoding` is the one decoder, `data.cache` remembers)
3. `recipes`: what is learned, and how: from `embedding`, the frozen network at work, or by `training` a network
4. `audit`: what is wrong with the folder
5. `data.split`: what is learned from and what is scored on
6. `bundle`: what ships
7. `evaluation`: how good it is, with intervals
8. `reporting`: the page one shows to a colleague
9. `classifier`: predictions; `explanation`: why
10. `exporting`: the classifier as files for other programs, proven

`workflow` is the only place that knows this order. Importing this package imports none of them.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# public name -> module that holds it
_PUBLIC = {
    "train": "fieldguide.workflow",
    "audit": "fieldguide.workflow",
    "evaluate": "fieldguide.workflow",
    "explain": "fieldguide.workflow",
    "report": "fieldguide.workflow",
    "compare": "fieldguide.workflow",
    "reproduce": "fieldguide.workflow",
    "lr_find": "fieldguide.workflow",
    "predict": "fieldguide.workflow",
    "verify": "fieldguide.workflow",
    "export": "fieldguide.workflow",
    "bench_export": "fieldguide.workflow",
    "card": "fieldguide.workflow",
    "serve": "fieldguide.serving.server",
    "demo": "fieldguide.demonstration",
    "write_digits": "fieldguide.demonstration",
    "load": "fieldguide.classifier",
    "load_pictures": "fieldguide.data.pictures",
    "import_tensorflow": "fieldguide.training",
    "Classifier": "fieldguide.classifier",
    "Auto": "fieldguide.recipes.auto",
    "Transfer": "fieldguide.recipes.transfer",
    "Finetune": "fieldguide.recipes.finetune",
    "Classic": "fieldguide.recipes.classic",
    "Scratch": "fieldguide.recipes.scratch",
    "Audit": "fieldguide.records",
    "Comparison": "fieldguide.evaluation.compare",
    "Reproduction": "fieldguide.workflow.reproducing",
    "Evaluation": "fieldguide.records",
    "Explanation": "fieldguide.records",
    "Finding": "fieldguide.records",
    "LearningRates": "fieldguide.records",
    "Pictures": "fieldguide.data.pictures",
    "Prediction": "fieldguide.records",
    "Resembling": "fieldguide.records",
    "Run": "fieldguide.records",
    "Export": "fieldguide.exporting.export",
    "ExportTiming": "fieldguide.exporting.timing",
    "FieldguideError": "fieldguide.errors",
    "DatasetError": "fieldguide.errors",
    "DecodeError": "fieldguide.errors",
    "RecipeError": "fieldguide.errors",
    "BundleError": "fieldguide.errors",
}
__all__ = ["__version__", "plots", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module("fieldguide.reporting.plots")
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value  # a submodule of the same name must not take its place
        return value
    raise AttributeError(f"module 'fieldguide' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
