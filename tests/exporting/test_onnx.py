"""ONNX: the same network, the same answers, the resize of Pillow, and what the file says of itself."""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image

import fieldguide
from fieldguide.classifier import Classifier
from fieldguide.data import decoding
from fieldguide.embedding.engine import Engine
from fieldguide.embedding.graph import build_network
from fieldguide.errors import BundleError, MissingExtraError
from fieldguide.exporting import onnx_file
from fieldguide.exporting.graph import resize
from fieldguide.exporting.metadata import metadata_of
from fieldguide.exporting.onnx_graph import OnnxOperations, Value
from fieldguide.models.operations import Network
from fieldguide.models.registry import ARCHITECTURES, architecture
from tests.exporting.conftest import invented_weights


def session_of(ops: OnnxOperations, given: Value, output: Value) -> Any:
    """A graph of one input of bytes and one output, ready to run."""
    ops.rename(output, "output")
    sides = [size if size is not None else f"side{axis}" for axis, size in enumerate(given.shape)]
    kind = onnx.TensorProto.UINT8 if output.name.startswith(("Cast", "Transpose")) else onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        ops.nodes,
        "test",
        [onnx.helper.make_tensor_value_info(given.name, onnx.TensorProto.UINT8, sides)],
        [onnx.helper.make_tensor_value_info("output", kind, [None] * len(output.shape))],
        ops.initializers,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", onnx_file.OPSET)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
@pytest.mark.parametrize("options", [{}, {"test_time_flip": True}], ids=["plain", "flipped"])
def test_onnx_and_openvino_build_the_same_network(name: str, options: dict[str, Any]) -> None:
    network = Network(name, (70, 50), options)  # odd sizes on the way down
    weights = invented_weights(network)
    ops = OnnxOperations(weights)
    given = Value("pixels", (None, 70, 50, 3))
    session = session_of(ops, given, architecture(name)(ops, given, **options))
    pixels = noise(3, 70, 50, 3)
    expected = Engine(build_network(network, weights), precision="f32").embed(pixels)
    (received,) = session.run(None, {"pixels": pixels})
    assert received.shape == expected.shape and np.abs(expected).max() > 1e-3
    assert np.abs(received - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_weight_of_another_shape_is_named() -> None:
    network = Network("classic", (32, 32))
    weights = {**invented_weights(network), "dense/kernel": np.zeros((3, 3), np.float32)}
    with pytest.raises(BundleError, match=r"'dense/kernel' should have shape \(512, 128\); received \(3, 3\)"):
        architecture("classic")(OnnxOperations(weights), Value("pixels", (None, 32, 32, 3)))


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        ((48, 64), 0),
        ((1, 1), 0),
        ((300, 451), 1e-4),
        ((64, 96), 0),
        ((31, 200), 0),
        ((20, 17), 0),
        ((8, 8), 0),
        ((40, 48), 0),
        ((127, 33), 0),  # so tall that Pillow takes the vertical pass first, as in the next two
        ((300, 40), 0),
        ((300, 170), 0),
        ((300, 190), 1e-4),  # and here it does not: 252 is not more than twice 126
    ],
)
def test_the_resize_in_the_graph_is_that_of_pillow(shape: tuple[int, int], most: float) -> None:
    ops = OnnxOperations({})
    given = Value("picture", (1, None, None, 3))
    session = session_of(ops, given, resize(ops, given, (48, 64)))
    picture = noise(*shape, 3)
    (received,) = session.run(None, {"picture": picture[None]})
    expected = decoding.shrink(picture, (48, 64))
    difference = np.abs(received[0].astype(int) - expected)
    assert received.dtype == np.uint8 and received.shape == (1, 48, 64, 3)
    assert difference.max() <= 1 and (difference > 0).mean() <= most


@pytest.fixture(scope="module")
def exported(tiny_classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    onnx_file.write(tiny_classifier, folder, metadata_of(tiny_classifier), ())
    return folder


@pytest.mark.parametrize("num_images", [1, 5])
def test_probabilities_novelty_and_none_of_these_are_those_of_the_engine(
    tiny_classifier: Classifier, exported: Path, num_images: int
) -> None:
    pixels = noise(num_images, 32, 40, 3)
    pixels[0] = (200, 50, 40)
    expected = tiny_classifier.predict(list(pixels))
    received = onnx_file.load(exported, "tensor")(pixels)
    rows = [list(prediction.probabilities.values()) for prediction in expected]
    np.testing.assert_allclose(received["probabilities"], rows, atol=1e-5)
    np.testing.assert_allclose(received["novelty"], [prediction.novelty for prediction in expected], rtol=1e-4)
    assert received["none_of_these"].tolist() == [prediction.none_of_these for prediction in expected]
    assert received["none_of_these"].any() == (num_images == 5)  # noise


def test_a_picture_of_any_size_gets_the_answer_of_predict(tiny_classifier: Classifier, exported: Path) -> None:
    run = onnx_file.load(exported, "picture")
    for shape in [(200, 131), (32, 40), (20, 300)]:
        picture = np.full((*shape, 3), (40, 180, 60), np.uint8)
        expected = tiny_classifier.predict(picture)
        received = run(picture[None])
        np.testing.assert_allclose(received["probabilities"][0], list(expected.probabilities.values()), atol=0.02)


def test_no_picture_is_turned_away_where_none_shall_be(tiny_classifier: Classifier, tmp_path: Path) -> None:
    classifier = Classifier(tiny_classifier.bundle, precision="f32", reject=0.0)
    onnx_file.write(classifier, tmp_path, metadata_of(classifier), ())
    received = onnx_file.load(tmp_path, "tensor")(noise(4, 32, 40, 3))
    assert received["novelty"].max() > 1 and not received["none_of_these"].any()


@pytest.mark.parametrize("knows_novelty", [True, False])
def test_the_snippet_runs_also_where_no_picture_was_kept_aside(
    knows_novelty: bool,
    tiny_classifier: Classifier,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    classifier = Classifier(tiny_classifier.bundle, precision="f32", reject=0.0)
    if not knows_novelty:
        classifier.certainty = dataclasses.replace(classifier.certainty, novelty=None)

    def export(source: str, format_name: str, *, out: str) -> Any:
        onnx_file.write(classifier, Path(out), metadata_of(classifier), ())
        return SimpleNamespace(parity=SimpleNamespace(top1_agreement=1.0, max_abs_diff=0.0))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fieldguide, "export", export)
    Image.fromarray(noise(50, 60, 3)).save("photo.jpg")
    runpy.run_path(str(Path(__file__).parents[2] / "docs" / "snippets" / "run_onnx.py"))
    assert capsys.readouterr().out.split()[-1] == classifier.predict("photo.jpg").nearest_class


def test_the_file_says_what_it_is(exported: Path, tiny_classifier: Classifier) -> None:
    for name in ("model.onnx", "model-picture.onnx"):
        model = onnx.load(exported / name)
        said = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(said["class_names"]) == ["blue", "green", "red"]
        assert json.loads(said["preprocessing"])["resize"] == "pillow-bilinear"
        assert json.loads(said["novelty"])["reject"] == 0.1
        assert said["model_hash"] == tiny_classifier.bundle.model_hash
        assert json.loads(said["hashes"])["network.bin"] == tiny_classifier.bundle.hashes["network.bin"]


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_part_is_asked_for_by_its_command(
    tiny_classifier: Classifier, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"needs {missing}(.|\n)*hint: pip install 'fieldguide\[onnx\]'"):
        if missing == "onnx":
            onnx_file.write(tiny_classifier, tmp_path, metadata_of(tiny_classifier), ())
        else:
            onnx_file.load(exported, "tensor")
