"""The audit from folder to files, and back into a training through the review."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageOps

import fieldguide
from fieldguide.errors import DatasetError, RecipeError
from tests.conftest import HUES, noisy_picture
from tests.test_workflow import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three colors, two pictures in the wrong folder, a mirrored copy in the test part, a black picture."""
    root = tmp_path_factory.mktemp("audit") / "colors"
    seed = 0
    for part, count in (("train", 30), ("test", 8)):
        for hue, color in HUES.items():
            (root / part / hue).mkdir(parents=True)
            for number in range(count):
                noisy_picture(color, seed).save(root / part / hue / f"{number:03d}.png")
                seed += 1
    train = root / "train"
    for number in (3, 4):
        shutil.move(train / "red" / f"{number:03d}.png", train / "blue" / f"red-{number}.png")
    ImageOps.mirror(Image.open(train / "green" / "000.png")).save(root / "test" / "green" / "mirrored.png")
    Image.new("RGB", (48, 40)).save(train / "green" / "black.png")
    return root


def content_of(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*.png"))}


def test_an_audit_writes_three_files_and_changes_nothing_in_the_folder(folder, tmp_path, capsys):
    before = content_of(folder)
    assert cli("audit", str(folder), "--out", str(tmp_path / "audit"), "--what-if", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert content_of(folder) == before
    kinds = {finding["kind"] for finding in values["findings"]}
    assert {"label_error", "leak", "near_copy", "dark", "low_information"} <= kinds
    named = {f["paths"][0]: f["suggested"] for f in values["findings"] if f["kind"] == "label_error"}
    assert named["train/blue/red-3.png"] == named["train/blue/red-4.png"] == "red" and len(named) <= 3
    assert ["test/green/mirrored.png", "train/green/000.png"] in values["leaks"]
    assert values["what_if"]["num_excluded"] == 1 and values["what_if"]["num_relabelled"] >= 1
    low, high = values["what_if"]["interval"]
    assert low <= values["what_if"]["difference"] <= high
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["findings"] == values["findings"]
    with (tmp_path / "audit" / "review.csv").open(newline="") as file:
        rows = {row["path"]: row["action"] for row in csv.DictReader(file)}
    assert rows["train/blue/red-3.png"] == "relabel" and rows["train/green/000.png"] == "exclude"
    assert "train/green/black.png" in rows
    page = (tmp_path / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "Labels to look at first" in page and page.count("data:image/jpeg;base64,") >= 5
    assert not re.search(r'(src|href)="(?!data:|#)', page) and "<script" not in page


def test_a_training_obeys_the_review(folder, tmp_path):
    review = tmp_path / "review.csv"
    lines = ["train/blue/red-3.png,relabel,red", "train/green/black.png,exclude,", "train/red/000.png,keep,"]
    review.write_text("path,action,label\n" + "\n".join(lines), encoding="utf-8")
    before = content_of(folder)
    run = fieldguide.train(folder, out=tmp_path / "run", review=review, recipe="transfer", progress=False)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    labels = {image["path"]: split["class_names"][image["label"]] for image in split["images"]}
    assert labels["train/blue/red-3.png"] == "red" and labels["train/blue/red-4.png"] == "blue"
    assert "train/green/black.png" not in labels and content_of(folder) == before
    assert "--review" in run.environment["command"]
    audit = json.loads((tmp_path / "run" / "audit.json").read_text())
    assert "excluded" in {finding["kind"] for finding in audit["findings"]}
    assert run.scores["test"]["num_leaked"] == 1 and run.scores["test"]["without_leaks"]["num_images"] == 24
    suspects = json.loads((tmp_path / "run" / "evaluation" / "suspects.json").read_text())["suspects"]
    named = [finding["paths"][0] for finding in audit["findings"] if finding["kind"] == "label_error"]
    assert sorted(suspect["path"] for suspect in suspects) == sorted(named) and set(named) <= {"train/blue/red-4.png"}
    review.write_text("path,action,label\ntrain/red/001.png,exclude,\n", encoding="utf-8")  # the user goes on deciding
    again = fieldguide.reproduce(run.directory, progress=False)
    assert again.is_equal and again.reasons == ()


def test_an_audit_with_a_review_keeps_what_was_decided(folder, tmp_path, capsys):
    review = tmp_path / "review.csv"
    lines = ["train/red/000.png,exclude,", "train/blue/red-3.png,relabel,red", "train/blue/red-4.png,keep,"]
    review.write_text("path,action,label\n" + "\n".join(lines), encoding="utf-8")
    assert cli("audit", str(folder), "--review", str(review), "--out", str(tmp_path / "audit")) == 0
    with (tmp_path / "audit" / "review.csv").open(newline="") as file:
        rows = {row["path"]: (row["action"], row["label"]) for row in csv.DictReader(file)}
    assert rows["train/red/000.png"] == ("exclude", "") and rows["train/blue/red-3.png"] == ("relabel", "red")
    assert rows["train/blue/red-4.png"][0] == "keep" and rows["train/green/000.png"] == ("exclude", "")


def test_a_review_may_name_pictures_of_a_class_that_is_left_out(folder, tmp_path):
    review = tmp_path / "review.csv"
    review.write_text("path,action,label\ntrain/blue/000.png,exclude,\ntrain/red/000.png,exclude,\n", encoding="utf-8")
    found = fieldguide.audit(folder, review=review, exclude_classes=("blue",), quick=True, progress=False)
    left_out = {path for finding in found.findings if finding.kind == "excluded" for path in finding.paths}
    assert {"train/blue/000.png", "train/red/000.png", "test/blue/000.png"} <= left_out
    assert found.class_names == ("green", "red") and found.images_per_class["red"] == 28 - 1 + 8


def test_near_copies_stay_on_one_side_of_a_flat_folders_split(tmp_path):
    root = tmp_path / "flat"
    for k, (hue, color) in enumerate(HUES.items()):
        (root / hue).mkdir(parents=True)
        for number in range(12):
            picture = noisy_picture(color, 100 * k + number)
            picture.save(root / hue / f"{number:02d}.png")
            ImageOps.mirror(picture).save(root / hue / f"{number:02d}-mirrored.png")
    fieldguide.train(root, out=tmp_path / "run", recipe="transfer", progress=False)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    side = {split["images"][i]["path"]: part for part in ("train", "val", "test") for i in split[part]}
    assert len(side) == 72 and len(set(side.values())) == 3
    assert all(side[path] == side[path.replace(".png", "-mirrored.png")] for path in side if "-mirrored" not in path)


def test_a_recipe_that_learns_from_pixels_gets_the_same_audit_and_the_same_split(folder, tmp_path):
    classic = fieldguide.Classic(image_size=(32, 32), filters=(4, 8), units=8, epochs=1, min_steps=1, precision="f32")
    fieldguide.train(folder, out=tmp_path / "transfer", recipe="transfer", progress=False)
    run = fieldguide.train(folder, out=tmp_path / "classic", recipe=classic, progress=False)
    for name in ("audit.json", "split.json"):
        assert (tmp_path / "classic" / name).read_bytes() == (tmp_path / "transfer" / name).read_bytes()
    kinds = {finding["kind"] for finding in json.loads((tmp_path / "classic" / "audit.json").read_text())["findings"]}
    assert "label_error" in kinds and {"scan + embed", "scan again"} <= set(run.seconds)


def test_a_quick_look_has_no_embeddings_and_says_nothing_of_labels(folder):
    found = fieldguide.audit(folder, quick=True, progress=False)
    kinds = {finding.kind for finding in found.findings}
    assert {"leak", "dark"} <= kinds and "label_error" not in kinds and found.label_noise is None
    with pytest.raises(RecipeError, match="quick"):
        fieldguide.audit(folder, quick=True, what_if=True, progress=False)


def test_what_if_with_a_review_that_changes_nothing_is_refused(folder, tmp_path):
    review = tmp_path / "review.csv"
    review.write_text("path,action,label\ntrain/red/000.png,keep,\n", encoding="utf-8")
    with pytest.raises(DatasetError, match="nothing to compare"):
        fieldguide.audit(folder, review=review, what_if=True, out=tmp_path / "audit", progress=False)
    assert (tmp_path / "audit" / "audit.html").is_file()


def test_where_what_if_cannot_be_measured_the_audit_is_not_lost(folder, tmp_path):
    root = Path(shutil.copytree(folder, tmp_path / "colors"))
    (root / "train" / "grey").mkdir()
    for number in range(4):
        noisy_picture((120, 120, 120), number).save(root / "train" / "grey" / f"{number}.png")
    said: list[str] = []
    found = fieldguide.audit(root, what_if=True, out=tmp_path / "audit", progress=False, say=said.append)
    assert found.what_if is None and (tmp_path / "audit" / "review.csv").is_file()
    assert [line for line in said if line.startswith("what if: not measured: A class has fewer than 5 pictures left")]
