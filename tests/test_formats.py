"""Runs and bundles of every released format version, kept as files: what users have stays readable."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import fieldguide
from fieldguide.bundle import read_tensors
from fieldguide.errors import BundleError
from fieldguide.storage import FORMAT_VERSION

KEPT = Path(__file__).parent / "formats"
VERSIONS = sorted(path.name for path in KEPT.iterdir() if path.name.isdigit())


def test_there_is_a_run_of_every_format_version():
    assert [str(version) for version in range(1, FORMAT_VERSION + 1)] == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_a_kept_run_answers_as_it_did(version: str):
    run = KEPT / version
    assert fieldguide.verify(run) < 0.05  # 0.001 at its own precision, which `verify` sees to
    classifier = fieldguide.load(run / "bundle")
    assert classifier.class_names == ("blue", "green", "red")
    probe = read_tensors(run / "bundle" / "probe.safetensors")
    answers = classifier.predict(list(probe["pixels"]))
    expected = [classifier.class_names[i] for i in probe["probabilities"].argmax(axis=1)]
    assert [prediction.nearest_class for prediction in answers] == expected
    assert all(prediction.novelty is not None for prediction in answers)
    evaluation = fieldguide.evaluate(run)
    assert evaluation.part == "test" and evaluation.probabilities.shape == (12, 3)
    assert np.mean(evaluation.labels == evaluation.probabilities.argmax(axis=1)) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_report_of_a_kept_run_is_written_again(version: str, tmp_path: Path):
    run = shutil.copytree(KEPT / version, tmp_path / "run")
    assert "blue" in fieldguide.report(run).read_text(encoding="utf-8")


def test_a_newer_format_is_refused_with_what_to_do(tmp_path: Path):
    bundle = shutil.copytree(KEPT / VERSIONS[-1] / "bundle", tmp_path / "bundle")
    path = bundle / "manifest.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 99'), encoding="utf-8")
    with pytest.raises(BundleError, match=r"format 99.*\n*.*hint: update fieldguide"):
        fieldguide.load(bundle)
