"""A run, an audit and evaluations, small and made by rule."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fieldguide.records import Audit, Evaluation, Finding, Run
from tests.browser import browser, needs_browser

EPOCHS = tuple(
    {
        "epoch": i + 1,
        "loss": 1.0 / (i + 1),
        "accuracy": 0.5 + 0.05 * i,
        "val_loss": 1.1 / (i + 1),
        "val_accuracy": [0.5, 0.6, 0.8, 0.7][i],
        "learning_rate": 0.001,
        "seconds": 1.5,
    }
    for i in range(4)
)
STRENGTHS = tuple(
    {"strength": c, "train_accuracy": t, "val_accuracy": v, "val_log_loss": loss, "chosen": c == 0.1}
    for c, t, v, loss in [(0.01, 0.9, 0.88, 0.4), (0.1, 0.95, 0.91, 0.3), (1.0, 1.0, 0.9, 0.5)]
)
LEARNING_CURVE = tuple(
    {"num_images": n, "accuracy": a, "low": a - 0.02, "high": a + 0.02} for n, a in [(100, 0.8), (1000, 0.9)]
)


@pytest.fixture
def epochs() -> tuple[dict[str, float], ...]:
    return EPOCHS


@pytest.fixture
def make_evaluation() -> Callable[..., Evaluation]:
    def make(num_classes=2, part="test", num_images=80, class_names=None, **more) -> Evaluation:
        random = np.random.default_rng(num_classes)
        labels = np.arange(num_images) % num_classes
        logits = random.normal(size=(num_images, num_classes)) + 1.5 * np.eye(num_classes)[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        names = tuple(class_names or (f"kind {c}" for c in range(num_classes)))
        return Evaluation(
            part=part,
            class_names=names,
            labels=labels,
            probabilities=probabilities.astype(np.float32),
            paths=tuple(f"{part}/{names[label]}/{i}.jpg" for i, label in enumerate(labels)),
            **more,
        )

    return make


@pytest.fixture
def make_run() -> Callable[..., Run]:
    def make(**changes) -> Run:
        values = {
            "directory": "runs/two words",
            "recipe": "transfer",
            "settings": {"image_size": (224, 224), "batch_size": 1000, "learning_rate": 0.001},
            "class_names": ("kind 0", "kind 1"),
            "seed": 7,
            "layout": "flat, 70 / 15 / 15",
            "scores": {},
            "seconds": {"index": 0.5, "head": 125.0, "total": 130.0},
            "environment": {
                "dataset": "beetles",
                "date": "2026-02-03",
                "command": "fieldguide train beetles",
                "versions": {"numpy": "2.4.6"},
            },
            "data_fingerprint": "abc123",
            "history": STRENGTHS,
            "learning_curve": LEARNING_CURVE,
            "notes": ("Strangers are not recognised.",),
        }
        return Run(**{**values, **changes})

    return make


@pytest.fixture
def audit() -> Audit:
    return Audit(
        findings=(
            Finding("grey", "note", ("train/kind 0/1.jpg",), "1 picture has no colour."),
            Finding("truncated", "error", ("train/kind 0/2.jpg",), "1 file is cut short and was left out."),
        ),
        num_images=80,
        class_names=("kind 0", "kind 1"),
        images_per_class={"kind 0": 40, "kind 1": 40},
        leaks=(("test/kind 0/0.jpg", "train/kind 0/9.jpg"),),
    )


@pytest.fixture
def thumbnail() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), (200, 120, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    pytest.importorskip("selenium", reason="selenium is not installed")
    if needs_browser.args[0]:
        pytest.skip(needs_browser.kwargs["reason"])
    with browser() as driver:
        yield driver
