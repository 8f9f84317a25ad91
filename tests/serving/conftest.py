"""A server in this process, on the run of the session."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import fieldguide
from fieldguide.serving.app import create_app
from tests.conftest import HUES, as_bytes, noisy_picture

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="session")
def classifier(run_folder: Path) -> fieldguide.Classifier:
    return fieldguide.load(run_folder)


@contextlib.contextmanager
def running(classifier: fieldguide.Classifier, **options: Any) -> Iterator[TestClient]:
    """A started server with one decoder, unless told otherwise."""
    app = create_app(classifier, **{"num_workers": 1, **options})
    with TestClient(app) as client:
        yield client


@pytest.fixture(scope="session")
def client(classifier: fieldguide.Classifier) -> Iterator[TestClient]:
    """One for all tests that do not need settings of their own."""
    with running(classifier) as client:
        yield client


@pytest.fixture(scope="session")
def red() -> bytes:
    return as_bytes(noisy_picture(HUES["red"], 1000), "JPEG")


@pytest.fixture(scope="session")
def picture() -> Callable[[str, int], bytes]:
    """picture("blue", 7): a JPEG of that class."""
    return lambda hue, seed: as_bytes(noisy_picture(HUES[hue], seed), "JPEG")
