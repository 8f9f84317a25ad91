"""Each format, on a tiny classifier: written, proven in a process of its own, and as good as it says."""

from __future__ import annotations

import dataclasses
import json
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fieldguide.classifier import Classifier
from fieldguide.embedding.engine import core
from fieldguide.errors import BundleError, DatasetError, MissingExtraError
from fieldguide.exporting import litert, litert_int8, openvino_file, parity
from fieldguide.exporting.export import Export, write_export
from fieldguide.exporting.formats import FORMATS
from fieldguide.exporting.metadata import metadata_of
from fieldguide.exporting.parity import Pictures
from fieldguide.models.operations import Network
from fieldguide.models.registry import OWN

WITH_TENSORFLOW = {"keras", "saved_model"}


SLOW = {"keras", "saved_model", "litert"}  # each process that runs the first two, or writes the third, imports TensorFlow
EACH_FORMAT = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in FORMATS if name != "web"]
)
# Keras turns TensorFlow's variables into arrays in a way that NumPy 2 wants otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


@pytest.fixture(scope="module")
def export_of(
    tiny_classifier: Classifier, test_pictures: Pictures, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Export]:
    """export_of("onnx") writes that format, once."""
    folder = tmp_path_factory.mktemp("exports")
    training = sorted((photos / "training_set").glob("*/0*.jpg"))

    @cache
    def export(name: str) -> Export:
        with pytest.MonkeyPatch.context() as patch:
            # One of 24 pictures is four points already, and six random numbers make a poor embedding in 8 bits.
            patch.setattr(parity, "QUANTIZED_BOUNDS", parity.Bounds(accuracy_loss=0.1, share_loss=0.2))
            return write_export(tiny_classifier, folder / name, name, pictures=test_pictures, calibration=training)

    return export


@EACH_FORMAT
def test_a_format_answers_as_the_engine_does(export_of: Callable[[str], Export], name: str) -> None:
    done, chosen = export_of(name), FORMATS[name]
    assert done.parity.num_images == 24
    assert done.parity.is_tensorflow_loaded == (name in WITH_TENSORFLOW)
    assert done.parity.accuracy_before == 1.0
    assert (done.picture_parity is not None) == ("picture" in chosen.contracts)
    if chosen.is_quantized:
        assert done.parity.auroc_before is not None and done.parity.auroc_after is not None
        assert 1e-4 < done.parity.max_abs_diff  # it does compute in 8 bits
    else:
        assert done.parity.top1_agreement == done.parity.none_of_these_agreement == 1.0
        assert done.parity.max_abs_diff < 1e-4
    if done.picture_parity is not None:
        assert done.picture_parity.max_abs_diff < 1e-4  # the resize is that of Pillow to the last bit


@EACH_FORMAT
def test_what_a_network_sees_in_the_mirror_goes_into_each_format(
    flipped_classifier: Classifier, test_pictures: Pictures, photos: Path, tmp_path: Path, name: str, monkeypatch: Any
) -> None:
    # Averages of whole maps of flat colors lie so close together that their border is narrower than a step of 8 bits.
    monkeypatch.setattr(parity, "QUANTIZED_BOUNDS", parity.Bounds(accuracy_loss=0.1, share_loss=1.0))
    training = sorted((photos / "training_set").glob("*/0*.jpg"))
    done = write_export(flipped_classifier, tmp_path / name, name, pictures=test_pictures, calibration=training)
    for proven in (done.parity, done.picture_parity):
        assert proven is None or (proven.top1_agreement == 1.0 and proven.max_abs_diff < 1e-4)


@EACH_FORMAT
def test_a_file_says_what_it_is(export_of: Callable[[str], Export], tiny_classifier: Classifier, name: str) -> None:
    folder = Path(export_of(name).directory)
    if name in ("keras", "litert", "litert-int8"):
        for path in [*folder.glob("*.keras"), *folder.glob("*.tflite")]:
            with zipfile.ZipFile(path) as archive:
                said = json.loads(archive.read("fieldguide.json"))
                if path.suffix == ".tflite":
                    assert archive.read("labels.txt") == b"blue\ngreen\nred\n"
    elif name == "saved_model":
        said = json.loads((folder / "saved_model" / "assets.extra" / "fieldguide.json").read_text(encoding="utf-8"))
    elif name == "openvino":
        model = core().read_model(folder / "model.xml")
        texts = {key: model.get_rt_info(["fieldguide", key]).astype(str) for key in ("class_names", "novelty", "model_hash")}
        said = {key: text if key == "model_hash" else json.loads(text) for key, text in texts.items()}
    else:
        return  # ONNX has a test of its own
    assert said["class_names"] == ["blue", "green", "red"]
    assert said["model_hash"] == tiny_classifier.bundle.model_hash
    assert said["novelty"]["reject"] == 0.1


@pytest.mark.slow
def test_the_keras_file_holds_nothing_but_layers_of_keras(export_of: Callable[[str], Export]) -> None:
    with zipfile.ZipFile(Path(export_of("keras").directory) / "model-picture.keras") as archive:
        config = json.loads(archive.read("config.json"))

    def modules(value: object) -> set[str]:
        if isinstance(value, dict):
            own = {str(value["module"])} if value.get("module") else set()
            return own.union(*map(modules, value.values())) if value else own
        return set().union(*map(modules, value)) if isinstance(value, list) else set()

    found = modules(config)
    assert found and all(name.split(".")[0] in ("keras", "builtins") for name in found)
    assert "Lambda" not in json.dumps(config)


@pytest.mark.slow
def test_eight_bits_are_smaller(export_of: Callable[[str], Export]) -> None:
    assert export_of("litert-int8").size_bytes < export_of("litert").size_bytes


def test_eight_bits_need_training_pictures(tiny_classifier: Classifier, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="calibrated on pictures of the training part"):
        litert_int8.write(tiny_classifier, tmp_path, metadata_of(tiny_classifier), [damaged])


def test_litert_asks_for_its_extra(tiny_classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert.interpreter", "ai_edge_quantizer"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fieldguide\[litert\]'"):
        litert.load(Path(), "tensor")
    with pytest.raises(MissingExtraError, match=r"pip install 'fieldguide\[litert\]'"):
        litert_int8.write(tiny_classifier, Path(), {}, [])


def test_a_network_that_is_not_ours_goes_as_openvino_alone(tiny_classifier: Classifier, tmp_path: Path) -> None:
    bundle = dataclasses.replace(tiny_classifier.bundle, network=Network(OWN, (32, 40)))
    classifier = Classifier(bundle, precision="f32")
    pixels = np.zeros((2, 32, 40, 3), np.uint8)
    openvino_file.write(classifier, tmp_path, metadata_of(classifier), ())
    received = openvino_file.load(tmp_path, "tensor")(pixels)
    np.testing.assert_allclose(received["probabilities"], classifier.predict_pixels(pixels), atol=1e-5)
    for name in set(FORMATS) - {"openvino"}:
        with pytest.raises(BundleError, match=rf"format {name} builds the network anew(.|\n)*--format openvino"):
            write_export(classifier, tmp_path / name, name, pictures=Pictures([], None))
