"""Why: places in words, resemblance, and the two together from Python and the command line."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import fieldguide
from fieldguide.data.neighbours import principal_axes
from fieldguide.errors import DatasetError, DecodeError, RecipeError
from fieldguide.explanation.places import main_place, share_inside, strongest_region
from fieldguide.explanation.resemblance import Memory, read_memory, write_memory
from tests.conftest import cli


def test_a_picture_without_evidence_has_no_place():
    assert main_place(np.full((7, 7), -1, np.float32)) is None


@pytest.mark.parametrize(
    ("row", "column", "words"),
    [(0, 0, "upper left"), (3, 3, "centre"), (6, 3, "bottom"), (3, 6, "right"), (0, 6, "upper right")],
)
def test_one_place_is_named_by_its_ninth(row, column, words):
    evidence = np.zeros((7, 7), np.float32)
    evidence[row, column] = 5
    assert main_place(evidence) == (words, pytest.approx(1.0))


def test_evidence_over_one_half_is_named_by_the_half_and_everywhere_is_said():
    half = np.zeros((6, 6), np.float32)
    half[:, :3] = 1
    assert main_place(half) == ("left half", pytest.approx(1.0))
    words, share = main_place(np.ones((6, 6), np.float32))
    assert words.startswith("spread out")
    assert share == pytest.approx(1 / 9)


def test_the_region_is_a_quarter_and_holds_the_most():
    evidence = np.arange(64, dtype=np.float32).reshape(8, 8)
    region = strongest_region(evidence)
    assert region.sum() == 16
    assert region[-2:].all()
    assert share_inside(evidence, region) == pytest.approx(evidence[-2:].sum() / evidence.sum())


def test_the_nearest_training_pictures_are_those_of_scikit_learn(tmp_path):
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(60, 24)).astype("f4")
    paths = tuple(f"{i}.jpg" for i in range(60))
    axes = principal_axes(embeddings)
    memory = Memory.of(axes, axes.vectors(embeddings), np.arange(60) % 2, paths, ("a", "b"))
    query = rng.normal(size=(5, 24)).astype("f4")
    positions, distances = memory.find(query, 3)
    centred = embeddings - embeddings.mean(axis=0)
    reference = NearestNeighbors(n_neighbors=3, metric="cosine").fit(centred)
    expected_distances, expected = reference.kneighbors(query - embeddings.mean(axis=0))
    np.testing.assert_array_equal(positions, expected)
    np.testing.assert_allclose(distances, expected_distances, atol=2e-3)  # kept in half precision
    own = NearestNeighbors(n_neighbors=2, metric="cosine").fit(centred).kneighbors(centred)[0][:, 1]
    assert memory.usual_distance == pytest.approx(np.median(own), abs=2e-3)
    write_memory(tmp_path, memory)
    again = read_memory(tmp_path)
    assert again is not None
    assert again.resembling(query[0], 2) == memory.resembling(query[0], 2)
    assert read_memory(tmp_path / "elsewhere") is None


def test_explain_says_where_and_like_what(run_folder, photos, tmp_path):
    out = tmp_path / "why.png"
    found = fieldguide.explain(run_folder, photos / "training_set" / "red" / "003.jpg", out=out)
    assert found.class_name == found.prediction.class_name == "red"
    assert found.evidence.shape == (7, 7)
    assert found.region.sum() == 12
    assert 0 < found.share <= 1
    assert found.nearest[0].path == "training_set/red/003.jpg"
    assert found.nearest[0].distance < 0.01
    assert found.nearest[0].distance < found.usual_distance
    assert [near.distance for near in found.nearest] == sorted(near.distance for near in found.nearest)
    assert found.notes == ()
    with Image.open(out) as figure:
        assert figure.format == "PNG"
    assert "picture" not in found.to_json()
    assert json.loads(json.dumps(found.to_json()))["place"] == found.place
    by_its_name_in_the_report = fieldguide.explain(run_folder, "training_set/red/003.jpg")
    assert by_its_name_in_the_report.nearest == found.nearest


def test_evidence_adds_up_to_the_logarithm_of_the_odds(run_folder, photos):
    classifier = fieldguide.load(run_folder, precision="f32")
    picture = photos / "test_set" / "green" / "000.jpg"
    evidence = {n: fieldguide.explain(classifier, picture, class_name=n).evidence.sum() for n in classifier.class_names}
    probabilities = classifier.predict(picture).probabilities
    for name in ("blue", "red"):
        expected = np.log(probabilities["green"] / probabilities[name])
        assert evidence["green"] - evidence[name] == pytest.approx(expected, rel=1e-3)


def test_a_bundle_alone_says_that_it_does_not_know_its_training_pictures(run_folder, photos, tmp_path):
    shutil.copytree(run_folder / "bundle", tmp_path / "moved")
    found = fieldguide.explain(tmp_path / "moved", photos / "test_set" / "red" / "000.jpg")
    assert found.nearest == ()
    assert found.usual_distance is None
    assert "bundle alone" in found.notes[0]
    assert found.place is not None


def test_the_figure_of_a_notebook_and_its_card(run_folder, photos):
    found = fieldguide.explain(run_folder, photos / "test_set" / "red" / "000.jpg")
    assert "data:image/jpeg;base64," in found._repr_html_()
    assert found.nearest[0].path in found._repr_html_()
    figure = fieldguide.plots.explanation(found, photos)
    assert len(figure.axes) == 2 + len(found.nearest)
    with pytest.raises(DatasetError, match="no picture"):
        fieldguide.plots.explanation(fieldguide.Explanation.from_json({**found.to_json(), "picture": None}))


def test_wrong_arguments_are_explained(run_folder, photos, tmp_path):
    picture = tmp_path / "own.jpg"
    shutil.copyfile(photos / "test_set" / "red" / "000.jpg", picture)
    before = picture.read_bytes()
    with pytest.raises(RecipeError, match="no class 'pink'"):
        fieldguide.explain(run_folder, picture, class_name="pink")
    with pytest.raises(DecodeError):
        fieldguide.explain(run_folder, tmp_path / "missing.jpg")
    with pytest.raises(DatasetError, match="take the place"):
        fieldguide.explain(run_folder, picture, out=picture)
    assert picture.read_bytes() == before


def test_the_command_line_writes_a_figure_and_says_it_in_words(run_folder, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    picture = str(photos / "test_set" / "blue" / "001.jpg")
    assert cli("explain", str(run_folder), picture) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{picture}: blue")
    assert "% of the evidence for blue" in shown[1]
    assert shown[2].startswith("like:   training_set/blue/")
    assert shown[-1] == "figure: 001-explained.png"
    assert cli("explain", str(run_folder), picture, "--class", "red", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    values = json.loads(line)
    assert values["class_name"] == "red"
    assert values["figure"] == "001-explained-2.png"
    assert {"evidence", "place", "share", "region", "region_share", "nearest", "usual_distance", "notes"} <= set(values)
    assert (tmp_path / "001-explained.png").is_file()
    assert (tmp_path / "001-explained-2.png").is_file()


def test_covering_what_it_shows_lowers_the_score_more_than_covering_as_much_elsewhere(run_folder, photos):
    """The deletion test, on pictures whose class stands in one corner; benchmarks/explain.py does it with photographs."""
    classifier = fieldguide.load(run_folder, precision="f32")
    red, grey = np.array([200, 50, 40]), np.array([128, 128, 128])
    drops, control = [], []
    for seed, corner in enumerate([(0, 0), (0, 112), (112, 0), (112, 112)]):
        rng = np.random.default_rng(seed)
        pixels = np.tile(grey, (224, 224, 1)) + rng.normal(0, 12, (224, 224, 3))
        pixels[corner[0] : corner[0] + 112, corner[1] : corner[1] + 112] += red - grey
        picture = np.clip(pixels, 0, 255).astype(np.uint8)
        found = fieldguide.explain(classifier, picture, class_name="red")
        score = found.evidence.sum()
        for region, drop in ((found.region, drops), (np.rot90(found.region, 2), control)):
            covered = picture.copy()
            covered[np.kron(region, np.ones((32, 32))).astype(bool)] = grey
            drop.append(score - fieldguide.explain(classifier, covered, class_name="red").evidence.sum())
    assert np.mean(drops) > np.mean(control)
