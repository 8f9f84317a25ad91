from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from fieldguide.data.index import describe, index_folder, labelled_pictures
from fieldguide.errors import DatasetError


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ({"train": "training_set", "test": "test_set"}, {"train", "test"}),
        ({"train": "train", "val": "valid", "test": "test"}, {"train", "val", "test"}),
        ({"train": "Train", "val": "validation"}, {"train", "val"}),
        ({"train": "train"}, {"train"}),
    ],
)
def test_part_folders_are_recognised_by_their_usual_names(make_folder, names, parts):
    folder = make_folder({f"{name}/{hue}": 2 for name in names.values() for hue in ("red", "blue")})
    index = index_folder(folder)
    assert {image.part for image in index.images} == parts
    assert index.class_names == ("blue", "red")
    assert len(index.images) == 4 * len(names)


def test_a_flat_folder_is_described_in_one_line(make_folder):
    index = index_folder(make_folder({"red": 3, "blue": 2}))
    assert describe(index) == "flat folder, 2 classes, 5 pictures"
    assert {image.part for image in index.images} == {None}


def test_part_layout_is_described_as_the_user_named_it(tiny_folder):
    assert describe(index_folder(tiny_folder)) == "training_set/ + test_set/, 3 classes, 78 pictures"


def test_litter_is_passed_over_and_other_files_are_listed(make_folder):
    folder = make_folder({"red": 2, "blue": 2})
    for name in ("red/.hidden.jpg", "red/Thumbs.db", "__MACOSX/x.jpg", ".ipynb_checkpoints/y.jpg", "red/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    index = index_folder(folder)
    assert len(index.images) == 4
    assert [(s.path, s.reason) for s in index.skipped] == [("red/notes.txt", "not_a_picture")]


def test_unicode_and_spaces_and_subfolders_are_kept(make_folder):
    folder = make_folder({"Ägyptische Mau/une photo": 2, "猫": 2})
    index = index_folder(folder)
    assert index.class_names == ("Ägyptische Mau", "猫")
    assert "Ägyptische Mau/une photo/000.jpg" in [image.path for image in index.images]


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need rights on Windows")
def test_symbolic_links_are_followed_once_and_never_in_a_loop(make_folder, tmp_path):
    folder = make_folder({"red": 2, "blue": 2})
    elsewhere = make_folder({"more": 3}, root=tmp_path / "elsewhere")
    (folder / "red" / "linked").symlink_to(elsewhere / "more", target_is_directory=True)
    (folder / "red" / "again").symlink_to(elsewhere / "more", target_is_directory=True)
    (folder / "red" / "loop").symlink_to(folder / "red", target_is_directory=True)
    (folder / "red" / "above").symlink_to("..", target_is_directory=True)
    (folder / "red" / "far above").symlink_to(tmp_path.parent, target_is_directory=True)
    (folder / "red" / "self").symlink_to("self")
    index = index_folder(folder)
    assert Counter(image.path.split("/")[0] for image in index.images) == {"red": 2 + 3, "blue": 2}


def test_csv_rows_give_label_split_and_group(make_folder):
    folder = make_folder({"pictures": 4})
    rows = ["path,label,split,group"]
    rows += [f"pictures/{i:03d}.jpg,{'ab'[i % 2]},{'train' if i < 2 else 'test'},g{i}" for i in range(4)]
    (folder / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    index = index_folder(folder / "labels.csv")
    assert index.layout == "csv"
    assert [(i.label, i.part, i.group) for i in index.images] == [
        (0, "train", "g0"),
        (1, "train", "g1"),
        (0, "test", "g2"),
        (1, "test", "g3"),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("path,label\npictures/000.jpg,a\npictures/gone.jpg,b", "Row 3.*pictures/gone.jpg"),
        ("path,label\npictures/000.jpg,", "Row 2.*lacks"),
        ("path,label\npictures/000.jpg,cat, black", "Row 2.*more cells"),
        ("path,label\n", "no row below its first line"),
        ("", "columns path,label.*received an empty file"),
        ("path,label\npictures/000.jpg,cats\udce9", "not in UTF-8"),
        ("file,class\npictures/000.jpg,a", "columns path,label"),
        ("path,label,split\npictures/000.jpg,a,holdout", "Row 2.*'holdout'"),
        ("path,label\npictures/000.jpg,a\npictures/000.jpg,b", "names 'pictures/000.jpg' twice"),
        ("path,label,split,group\npictures/000.jpg,a,train,g\npictures/001.jpg,b,test,g", "group 'g' has pictures in"),
    ],
)
def test_a_wrong_csv_row_is_named(make_folder, rows, message):
    folder = make_folder({"pictures": 2})
    (folder / "labels.csv").write_bytes(rows.encode("utf-8", "surrogateescape"))
    with pytest.raises(DatasetError, match=message) as caught:
        index_folder(folder / "labels.csv")
    assert "hint: " in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        "Path,Label\npictures/000.jpg,a\npictures/001.jpg,b\n",
        "path;label\npictures/000.jpg;a\npictures/001.jpg;b\n",
        "path\tlabel\r\npictures/000.jpg\ta\r\npictures/001.jpg\tb\r\n",
        "\ufeffpath,label,\npictures\\000.jpg,a,\n\n./pictures/001.jpg, b ,\n",
    ],
)
def test_csv_is_read_as_spreadsheets_and_other_systems_write_it(make_folder, rows):
    folder = make_folder({"pictures": 2})
    (folder / "labels.csv").write_text(rows, encoding="utf-8", newline="")
    index = index_folder(folder / "labels.csv")
    assert [(image.path, index.class_names[image.label]) for image in index.images] == [
        ("pictures/000.jpg", "a"),
        ("pictures/001.jpg", "b"),
    ]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"": 3}, "No class folder"),
        ({"red": 3}, "Only one class"),
        ({"front/cat": 2, "front/dog": 2, "back/cat": 2, "back/dog": 2}, "under different parents"),
        ({"cat": 2, "pets/cat": 2, "pets/dog": 2}, "'cat' occurs twice"),
        ({"train/cat": 2, "train/dog": 2, "test/Cat": 1}, "hint: rename it to 'cat'"),
        ({"train/cat": 2, "train/dog": 2, "test/bird": 1}, "class 'bird' that the training part lacks"),
        ({"one/train/cat": 2, "one/test/cat": 2, "two/train/cat": 1}, "looks like a data set of its own"),
        ({"photos/cat": 2, "photos/dog": 2}, r"it holds cat, dog; .* give '.*photos'"),
        ({"photos/train/cat": 2, "photos/train/dog": 2}, r"it holds train; .* give '.*photos'"),
        ({"train/photos/cat": 2, "train/photos/dog": 2}, r"it holds cat, dog; .* give '.*photos'"),
        ({"val/cat": 2, "test/cat": 2}, "holds test, val but no training folder"),
        ({"train/cat": 2, "training/cat": 2}, "two train folders"),
    ],
)
def test_a_folder_that_cannot_be_understood_is_refused_with_the_fix(make_folder, counts, message):
    with pytest.raises(DatasetError, match=message) as caught:
        index_folder(make_folder(counts))
    assert "hint:" in str(caught.value)


@pytest.mark.parametrize("part", ["", "train/"])
def test_a_class_folder_without_pictures_is_said(make_folder, part):
    folder = make_folder({f"{part}red": 2, f"{part}blue": 2})
    (folder / part / "green").mkdir()
    (folder / part / "green" / "raw.cr2").touch()
    skipped = {(s.path, s.reason) for s in index_folder(folder).skipped}
    assert skipped == {(f"{part}green", "empty_folder"), (f"{part}green/raw.cr2", "not_a_picture")}
    with pytest.raises(DatasetError, match=f"Only one class, 'blue'.*no picture in {part}green"):
        index_folder(folder, exclude_classes=["red"])
    assert index_folder(folder, exclude_classes=["green"]).class_names == ("blue", "red")


def test_a_class_to_leave_out_that_is_not_there_is_refused_with_its_likeliest_name(make_folder):
    with pytest.raises(DatasetError, match=r"no class 'bleu'(?s:.)*did you mean 'blue'"):
        index_folder(make_folder({"red": 2, "blue": 2}), exclude_classes=["bleu"])


def test_a_list_beside_loose_pictures_is_pointed_at(make_folder):
    folder = make_folder({"": 2})
    (folder / "labels.csv").touch()
    with pytest.raises(DatasetError, match=r"or give the list '.*labels\.csv'"):
        index_folder(folder)


def test_pictures_to_score_on_are_asked_for_where_there_is_no_test_part(make_folder):
    folder = make_folder({"train/red": 2, "val/red": 2})
    with pytest.raises(DatasetError, match=r"no test part(?s:.)*give the part to score on, as '.*val'"):
        labelled_pictures(folder, ("blue", "red"))
    assert len(labelled_pictures(folder / "val", ("blue", "red")).images) == 2


def test_a_missing_folder_is_refused_with_its_likeliest_name(make_folder):
    folder = make_folder({"red": 1})
    with pytest.raises(DatasetError, match=r"did you mean .*dataset"):
        index_folder(folder.with_name("dataset-"))


def test_merge_subfolders_takes_the_upper_level_as_the_class(make_folder):
    folder = make_folder({"front/cat": 2, "front/dog": 2, "back/cat": 2, "back/dog": 2})
    assert index_folder(folder, merge_subfolders=True).class_names == ("back", "front")


def test_group_by_names_groups_and_refuses_an_expression_without_match(make_folder):
    folder = make_folder({"red": 2, "blue": 2})
    index = index_folder(folder, group_by=r"/(\d)\d\d")
    assert {image.group for image in index.images} == {"0"}
    with pytest.raises(DatasetError, match="matches none"):
        index_folder(folder, group_by="patient")


def test_evaluation_pictures_are_matched_by_class_name(make_folder):
    folder = make_folder({"red": 2})
    index = labelled_pictures(folder, ("blue", "green", "red"))
    assert [image.label for image in index.images] == [2, 2]
    with pytest.raises(DatasetError, match="does not know the class 'red'"):
        labelled_pictures(folder, ("blue", "green"))


def test_nothing_is_changed_in_the_folder(tiny_folder: Path):
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in tiny_folder.rglob("*")}
    index_folder(tiny_folder)
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in tiny_folder.rglob("*")}


def test_a_run_folder_in_the_data_is_no_class_and_its_figures_are_no_pictures(make_folder):
    root = make_folder({"red": 2, "blue": 2})
    for run in (root / "runs" / "dataset", root / "out"):
        (run / "figures").mkdir(parents=True)
        (run / "figures" / "loss.png").write_bytes((root / "red" / "000.jpg").read_bytes())
        for name in ("recipe.json", "index.json"):
            (run / name).write_text("{}", encoding="utf-8")
    index = index_folder(root)
    assert index.class_names == ("blue", "red") and len(index.images) == 4
    reasons = {skipped.path: skipped.message for skipped in index.skipped if skipped.reason == "not_a_picture"}
    assert reasons["out"] == reasons["runs/dataset"] == "a run folder; its figures are no pictures"
