from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from fieldguide.auditing.audit import audit_scan
from fieldguide.auditing.review import proposed
from fieldguide.data import scan as scan_module
from fieldguide.data.cache import Cache
from fieldguide.data.copies import find_copies
from fieldguide.data.index import index_folder
from fieldguide.data.scan import Consumer, keep_pixels, scan, thumbnails
from fieldguide.data.split import fold_numbers, refuse_unsplittable, split_images, stratified_sample
from fieldguide.errors import DatasetError, FieldguideError
from fieldguide.records import ImageIndex, LabeledImage, Preprocessing
from tests.conftest import as_bytes, noisy_picture

SIZE = Preprocessing((16, 16))


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as opened:
        yield opened


def test_every_file_is_used_or_left_out_with_its_reason(tiny_folder, cache):
    red = tiny_folder / "training_set" / "red"
    (red / "empty.jpg").touch()
    (red / "page.jpg").write_text("<html>not found</html>")
    content = as_bytes(noisy_picture((1, 2, 3), 0, (300, 300)), "JPEG")
    (red / "cut.jpg").write_bytes(content[: len(content) // 2])
    index = index_folder(tiny_folder)
    scanned = scan(index, SIZE, cache=cache)
    assert len(scanned.images) + len(scanned.skipped) == len(index.images)
    assert {s.path.split("/")[-1]: s.reason for s in scanned.skipped} == {
        "empty.jpg": "empty",
        "page.jpg": "not_an_image",
        "cut.jpg": "truncated",
    }


def test_a_second_scan_decodes_nothing_and_a_new_picture_costs_only_itself(tiny_folder, cache, monkeypatch):
    index = index_folder(tiny_folder)
    first = scan(index, SIZE, cache=cache, consumer=keep_pixels(SIZE))
    assert first.num_decoded == len(index.images)
    calls = []
    original = scan_module.decode
    monkeypatch.setattr(scan_module, "decode", lambda *a, **k: calls.append(1) or original(*a, **k))
    second = scan(index, SIZE, cache=cache, consumer=keep_pixels(SIZE))
    assert calls == [] and np.array_equal(first.values, second.values)
    noisy_picture((1, 2, 3), 99).save(tiny_folder / "training_set" / "red" / "new.jpg")
    scan(index_folder(tiny_folder), SIZE, cache=cache, consumer=keep_pixels(SIZE))
    assert calls == [1]


SLOW_SCAN = """
import sys, time
from pathlib import Path
from fieldguide.data.cache import Cache
from fieldguide.data.index import index_folder
from fieldguide.data.scan import Consumer, scan
from fieldguide.records import Preprocessing

def means(batches):
    for tag, pixels in batches:
        time.sleep(0.02)
        yield tag, pixels.mean(axis=(1, 2))

with Cache(Path(sys.argv[2])) as cache:
    scan(index_folder(sys.argv[1]), Preprocessing((16, 16)), cache=cache, consumer=Consumer("means", (3,), "float32", means))
"""


def test_a_scan_that_was_killed_goes_on_where_it_was(make_folder, tmp_path):
    folder = make_folder({"train/red": 300, "train/blue": 300})
    process = subprocess.Popen([sys.executable, "-c", SLOW_SCAN, str(folder), str(tmp_path / "cache")])
    deadline, num_kept = time.monotonic() + 60, 0
    while num_kept < 200 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(tmp_path / "cache" / "cache.sqlite")) as file,
        ):
            num_kept = file.execute("SELECT COUNT(*) FROM entries JOIN kinds ON kind = id WHERE name = 'means'").fetchone()[0]
    process.kill()
    process.communicate()
    assert 200 <= num_kept < 600
    seen = []

    def means(batches):
        for tag, pixels in batches:
            seen.extend(range(len(pixels)))
            yield tag, pixels.mean(axis=(1, 2))

    consumer, index = Consumer("means", (3,), "float32", means), index_folder(folder)
    with Cache(tmp_path / "cache") as cache:
        resumed = scan(index, SIZE, cache=cache, consumer=consumer)
    assert 0 < len(seen) <= 600 - num_kept
    with Cache(tmp_path / "another") as cache:
        whole = scan(index, SIZE, cache=cache, consumer=consumer)
    assert resumed.facts == whole.facts and resumed.digests == whole.digests
    np.testing.assert_array_equal(resumed.values, whole.values)


def test_facts_of_an_older_kind_are_made_anew_without_asking_the_consumer_again(tiny_folder, cache, monkeypatch):
    seen = []

    def mean_color(batches):
        for tag, pixels in batches:
            seen.append(len(pixels))
            yield tag, pixels.mean(axis=(1, 2)).astype(np.float32)

    consumer = Consumer("mean", (3,), "float32", mean_color)
    first = scan(index_folder(tiny_folder), SIZE, cache=cache, consumer=consumer)
    monkeypatch.setattr(scan_module, "LOOKS_VERSION", "newer")
    second = scan(index_folder(tiny_folder), SIZE, cache=cache, consumer=consumer)
    assert sum(seen) == len(first.images) and np.array_equal(first.values, second.values)
    assert second.num_decoded == len(first.images) and second.facts == first.facts
    assert scan(index_folder(tiny_folder), SIZE, cache=cache, consumer=consumer).num_decoded == 0


def test_the_consumer_sees_each_picture_once_and_in_order(tiny_folder, cache):
    seen = []

    def mean_color(batches):
        for tag, pixels in batches:
            seen.append(len(pixels))
            yield tag, pixels.mean(axis=(1, 2)).astype(np.float32)

    consumer = Consumer("mean", (3,), "float32", mean_color, batch_size=32)
    scanned = scan(index_folder(tiny_folder), SIZE, cache=cache, consumer=consumer)
    assert sum(seen) == len(scanned.images) and max(seen) == 32
    for image, value in zip(scanned.images, scanned.values, strict=True):
        hue = ("blue", "green", "red")[image.label]
        assert value.argmax() == {"red": 0, "green": 1, "blue": 2}[hue]


def test_left_out_pictures_leave_no_gap_in_the_values(tiny_folder, cache):
    (tiny_folder / "training_set" / "blue" / "000.jpg").write_bytes(b"")
    index = index_folder(tiny_folder)
    scanned = scan(index, SIZE, cache=cache, consumer=keep_pixels(SIZE))
    assert len(scanned.values) == len(scanned.images) == len(index.images) - 1
    last = scanned.images[-1].path
    expected = scan_module.shrink(scan_module.decode((tiny_folder / last).read_bytes(), cover=(16, 16)).pixels, (16, 16))
    assert np.array_equal(scanned.values[-1], expected)


def test_a_folder_without_one_readable_picture_is_an_error(make_folder, cache):
    folder = make_folder({"red": 1, "blue": 1})
    for path in folder.rglob("*.jpg"):
        path.write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="None of the 2 files"):
        scan(index_folder(folder), SIZE, cache=cache)


def test_thumbnails_are_jpegs_also_when_the_cache_is_gone(tiny_folder, cache, tmp_path):
    index = index_folder(tiny_folder)
    scanned = scan(index, SIZE, cache=cache)
    kept = thumbnails(tiny_folder, scanned, [0, 1], SIZE, cache)
    with Cache(tmp_path / "other") as empty:
        made = thumbnails(tiny_folder, scanned, [0, 1], SIZE, empty)
    assert list(kept) == [scanned.images[0].path, scanned.images[1].path]
    assert all(content.startswith(b"\xff\xd8") for content in (*kept.values(), *made.values()))


def test_a_damaged_cache_value_counts_as_missing(tmp_path):
    with Cache(tmp_path) as cache:
        cache.put("kind", {b"a": b"one", b"b": b"two"})
    with sqlite3.connect(tmp_path / "cache.sqlite") as connection:
        connection.execute("UPDATE entries SET value = X'00' WHERE key = ?", (b"a",))
    connection.close()
    with Cache(tmp_path) as cache:
        assert cache.get("kind", [b"a", b"b"]) == {b"b": b"two"}


def test_a_cache_file_that_is_no_database_is_made_anew(tmp_path, caplog):
    (tmp_path / "cache.sqlite").write_bytes(b"garbage" * 1000)
    with Cache(tmp_path) as cache:
        cache.put("kind", {b"a": b"one"})
        assert cache.get("kind", [b"a"]) == {b"a": b"one"}
    assert "made anew" in caplog.text


def test_the_cache_keeps_to_its_limit_and_drops_the_longest_unused(tmp_path):
    with Cache(tmp_path, limit_bytes=10**9) as cache:
        cache.put("old", {bytes([i]): bytes(10_000) for i in range(50)})
        cache._connection.execute("UPDATE entries SET used = 1")
        cache._connection.commit()
        cache.put("new", {bytes([i]): bytes(10_000) for i in range(50)})
    with Cache(tmp_path, limit_bytes=700_000):
        pass
    with Cache(tmp_path) as cache:
        assert len(cache.get("new", [bytes([i]) for i in range(50)])) == 50
        assert len(cache.get("old", [bytes([i]) for i in range(50)])) < 25
        assert (tmp_path / "cache.sqlite").stat().st_size < 900_000


@pytest.mark.parametrize("text", ["10GB", "-1", "nan", ""])
def test_a_limit_that_is_no_number_is_said(tmp_path, monkeypatch, text):
    monkeypatch.setenv("FIELDGUIDE_CACHE_GB", text)
    with pytest.raises(FieldguideError, match="FIELDGUIDE_CACHE_GB should be a number of gigabytes"):
        Cache(tmp_path)


def test_threads_and_connections_share_one_cache(tmp_path):
    def work(number: int) -> None:
        with Cache(tmp_path) as cache:
            for i in range(20):
                cache.put("kind", {bytes([number, i]): bytes([number, i])})
                cache.count("runs")

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Cache(tmp_path) as cache:
        assert len(cache.get("kind", [bytes([n, i]) for n in range(4) for i in range(20)])) == 80
        assert cache.count("runs") == 81


def images_of(labels, *, groups=None, part=None):
    groups = groups or [None] * len(labels)
    return [LabeledImage(f"{i}.jpg", label, part, group) for i, (label, group) in enumerate(zip(labels, groups, strict=True))]


def hashes(count):
    return [str(i) for i in range(count)]


@pytest.mark.parametrize("seed", range(5))
def test_a_flat_folder_is_split_70_15_15_within_each_class(seed):
    labels = [0] * 100 + [1] * 40
    split = split_images(images_of(labels), ["a", "b"], pixel_hashes=hashes(140), seed=seed)
    counts = [np.bincount(split.labels[part]).tolist() for part in (split.train, split.val, split.test)]
    assert counts == [[70, 28], [15, 6], [15, 6]]
    assert sorted(np.concatenate([split.train, split.val, split.test])) == list(range(140))


@pytest.mark.parametrize("seed", range(5))
def test_copies_and_groups_never_straddle_a_split(seed):
    labels = [i % 2 for i in range(120)]
    pixel_hashes = [str(i // 3) for i in range(60)] + [f"x{i}" for i in range(60)]
    groups = [None] * 60 + [f"patient {i // 5}" for i in range(60)]
    split = split_images(images_of(labels, groups=groups), ["a", "b"], pixel_hashes=pixel_hashes, seed=seed)
    side = np.empty(120, int)
    for number, part in enumerate((split.train, split.val, split.test)):
        side[part] = number
    for values in (np.array(pixel_hashes), np.array([g or f"none {i}" for i, g in enumerate(groups)])):
        for value in np.unique(values):
            assert len(set(side[values == value])) == 1


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    images, names = images_of([0, 1] * 50), ["a", "b"]
    first, again, other = (split_images(images, names, pixel_hashes=hashes(100), seed=s).val.tolist() for s in (1, 1, 2))
    assert first == again != other


def test_three_pictures_a_class_give_one_to_each_part():
    split = split_images(images_of([0, 0, 0, 1, 1, 1]), ["a", "b"], pixel_hashes=hashes(6), seed=0)
    assert [len(part) for part in (split.train, split.val, split.test)] == [2, 2, 2]


def test_error_names_the_class_and_the_fix():
    with pytest.raises(DatasetError, match=r"(?s)Class 'b' has 2 pictures to learn from.*--exclude-class b"):
        split_images(images_of([0] * 9 + [1, 1]), ["a", "b"], pixel_hashes=hashes(11), seed=0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (images_of([0] * 9 + [1, 1]), "Class 'b' has 2 pictures to learn from; a train/val/test split needs at least 3"),
        (images_of([0] * 9 + [1], part="train"), "Class 'b' has 1 picture to learn from; a train/val split"),
        (images_of([0] * 9 + [1], part="train") + images_of([0, 1, 1], part="val"), "Class 'b' has 1 picture.*; training"),
        (images_of([0] * 9 + [1] * 9, groups=[None] * 9 + ["g"] * 9), "Class 'b' has 9 pictures in 1 group"),
        ([LabeledImage("1", 0, "train", "g"), LabeledImage("2", 0, "test", "g")] * 9, "Group 'g' has pictures in train and"),
    ],
)
def test_what_cannot_be_split_is_refused_before_a_picture_is_opened(images, message):
    class_names = ("a", "b") if max(image.label for image in images) else ("a",)
    with pytest.raises(DatasetError, match=message):
        refuse_unsplittable(ImageIndex("nowhere", "flat folder", class_names, tuple(images)))


def test_a_group_in_two_parts_of_the_layout_is_refused():
    images = [LabeledImage("1", 0, "train", "g"), LabeledImage("2", 0, "test", "g")]
    with pytest.raises(DatasetError, match="Group 'g' has pictures in train and in test"):
        split_images(images, ["a"], pixel_hashes=["1", "2"], seed=0)


def test_validation_is_carved_from_training_and_test_is_left_alone():
    images = images_of([0, 1] * 40, part="train") + images_of([0, 1] * 10, part="test")
    split = split_images(images, ["a", "b"], pixel_hashes=hashes(100), seed=0)
    assert len(split.val) == 12 and set(split.test) == set(range(80, 100)) and not split.val_is_given


@pytest.mark.parametrize("seed", range(3))
def test_folds_are_stratified_and_keep_groups_whole(seed):
    labels, groups = np.arange(60) % 3, np.arange(60) // 2
    folds = fold_numbers(labels, groups, num_folds=5, seed=seed)
    assert all(len(set(folds[groups == g])) == 1 for g in range(30))
    assert all(set(labels[folds == f]) == {0, 1, 2} for f in range(5))


@pytest.mark.parametrize("sizes", [(2, 2, 2), (4, 4, 4), (5, 5, 1), (4, 4, 4, 4), (10, 10, 10, 10)])
def test_three_groups_of_a_class_are_enough_whatever_their_sizes(sizes):
    images = [
        LabeledImage(f"{label}/{g}-{i}.jpg", label, group=f"{label}-{g}")
        for label in (0, 1)
        for g, size in enumerate(sizes)
        for i in range(size)
    ]
    split = split_images(images, ("a", "b"), pixel_hashes=[image.path for image in images], seed=0)
    for part in (split.train, split.val, split.test):
        assert {images[i].label for i in part} == {0, 1}
    assert len(split.train) >= max(len(split.val), len(split.test))


def test_a_sample_holds_every_class_and_whole_groups():
    labels = np.concatenate([np.arange(2000) % 4, np.full(6, 4), np.full(40, 5)])
    groups = np.concatenate([np.arange(2000), np.arange(2000, 2006), np.repeat(np.arange(3000, 3010), 4)])
    sample = stratified_sample(labels, groups, at_most=100, fewest=5, seed=0)
    chosen = labels[sample]
    assert 95 <= (chosen < 4).sum() <= 110 and (chosen == 4).sum() == 5 and (chosen == 5).sum() == 20
    is_in = np.isin(np.arange(len(labels)), sample)
    assert all(is_in[groups == group].all() for group in set(groups[sample].tolist()))
    assert np.array_equal(stratified_sample(labels, groups, at_most=5000, fewest=5, seed=0), np.arange(len(labels)))


def test_a_cache_that_fails_in_one_thread_is_empty_for_the_others(tmp_path):
    cache = Cache(tmp_path)
    cache.put("kind", {b"key": b"value"})
    errors: list[BaseException] = []
    start = threading.Barrier(8)

    def ask(number: int) -> None:
        start.wait()
        try:
            if number == 0:
                with cache._using():
                    raise sqlite3.DatabaseError("damaged")
            cache.get(f"kind {number}", [b"key"])
            cache.put(f"kind {number}", {b"key": b"value"})
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and cache.get("kind", [b"key"]) == {} and cache.count("times") == 1


def audited(index, cache):
    scanned = scan(index, SIZE, cache=cache)
    return audit_scan(index, scanned, find_copies(scanned))


def test_audit_finds_copies_leaks_conflicts_and_odd_files(tiny_folder, cache):
    train, test = tiny_folder / "training_set", tiny_folder / "test_set"
    picture = (train / "red" / "000.jpg").read_bytes()
    (test / "red" / "leak.jpg").write_bytes(picture)
    (train / "red" / "twin.jpg").write_bytes((train / "red" / "001.jpg").read_bytes())
    (train / "blue" / "conflict.jpg").write_bytes((train / "red" / "002.jpg").read_bytes())
    (train / "green" / "wrong-name.png").write_bytes(as_bytes(noisy_picture((9, 9, 9), 7), "JPEG"))
    index = index_folder(tiny_folder)
    scanned = scan(index, SIZE, cache=cache)
    audit = audit_scan(index, scanned, find_copies(scanned))
    kinds = {finding.kind: finding for finding in audit.findings}
    assert audit.leaks == (("test_set/red/leak.jpg", "training_set/red/000.jpg"),)
    assert kinds["copy_conflict"].severity == "error" and "blue and red" in kinds["copy_conflict"].message
    assert "training_set/red/twin.jpg" in kinds["copies"].paths
    assert kinds["misnamed"].paths == ("training_set/green/wrong-name.png",)
    assert audit.images_per_class == {"blue": 27, "green": 27, "red": 28}
    leaked = dict(find_copies(scanned).leaks(scanned.images))
    assert [scanned.images[i].path for i in leaked] == ["test_set/red/leak.jpg"]


def test_every_training_copy_of_a_test_picture_is_proposed_for_exclusion(tiny_folder, cache):
    train, test = tiny_folder / "training_set", tiny_folder / "test_set"
    picture = (train / "red" / "000.jpg").read_bytes()
    for path in (test / "red" / "a.jpg", test / "red" / "b.jpg", train / "red" / "twin.jpg"):
        path.write_bytes(picture)
    audit = audited(index_folder(tiny_folder), cache)
    assert proposed(audit).excluded == {"training_set/red/000.jpg", "training_set/red/twin.jpg"}
    assert len(audit.leaks) == 2 and next(f for f in audit.findings if f.kind == "leak").message.startswith("2 test picture(s)")


def test_copies_of_training_pictures_in_a_given_validation_part_are_a_leak(make_folder, cache):
    root = make_folder({f"{part}/{hue}": 6 for part in ("train", "val", "test") for hue in ("red", "blue")})
    for number in (0, 1, 2):
        (root / "val" / "red" / f"copy-{number}.jpg").write_bytes((root / "train" / "red" / f"00{number}.jpg").read_bytes())
    (root / "train" / "blue" / "twin.jpg").write_bytes((root / "train" / "blue" / "000.jpg").read_bytes())
    audit = audited(index_folder(root), cache)
    (leak,) = [f for f in audit.findings if f.kind == "leak"]
    assert leak.severity == "warning" and leak.message.startswith("3 validation picture(s) are copies")
    assert leak.paths == tuple(f"val/red/copy-{number}.jpg" for number in (0, 1, 2)) and audit.leaks == ()
    (copies,) = [f for f in audit.findings if f.kind == "copies"]
    assert copies.message == "8 pictures form 4 set(s) of exact copies"  # of which three do not stay on one side


def test_a_png_copy_of_a_jpeg_is_found_by_its_pixels(tiny_folder, cache):
    from PIL import Image

    source = tiny_folder / "training_set" / "red" / "000.jpg"
    Image.open(source).save(tiny_folder / "test_set" / "red" / "same.png")
    index = index_folder(tiny_folder)
    assert audited(index, cache).leaks == (("test_set/red/same.png", "training_set/red/000.jpg"),)


def test_a_large_group_and_twelve_bits_are_reported(make_folder, cache):
    from PIL import Image

    folder = make_folder({"red": 10, "blue": 10})
    dark = Image.fromarray(np.full((8, 8), 4095, np.uint16))
    dark.save(folder / "red" / "deep.tif")
    index = index_folder(folder, group_by=r"red/00[0-4]")
    kinds = {f.kind: f for f in audited(index, cache).findings}
    assert "--sixteen-bit-max 4095" in kinds["sixteen_bit"].message
    index = index_folder(folder, group_by=r"(blue)/")
    kinds = {f.kind: f for f in audited(index, cache).findings}
    assert "holds 100% of class 'blue'" in kinds["large_group"].message
