from __future__ import annotations

import numpy as np
import pytest

from fieldguide.auditing.artefacts import artefacts
from fieldguide.auditing.classes import class_findings
from fieldguide.auditing.quality import oddities
from fieldguide.auditing.summary import summarised
from fieldguide.data.looks import Looks, look
from fieldguide.data.scan import Facts
from fieldguide.records import Finding, ImageIndex, LabeledImage
from tests.conftest import noisy_picture


def facts(seed: int, **changes: object) -> Facts:
    rng = np.random.default_rng(seed)
    light = rng.uniform(0.35, 0.65)
    looks = {
        "brightness": light,
        "contrast": rng.uniform(0.15, 0.3),
        "darkest": light / 3,
        "brightest": min(1.5 * light, 1.0),
        "sharpness": rng.uniform(0.3, 0.7),
        "entropy": rng.uniform(6, 8),
        "border": 0.0,
    }
    looks |= {name: changes.pop(name) for name in list(changes) if name in looks}
    size = (int(rng.integers(200, 400)), int(rng.integers(200, 400)))
    known = {"format": "JPEG", "size": size, "num_bytes": int(rng.integers(10_000, 40_000))} | changes
    return Facts(looks=Looks(**looks), **known)


def test_no_artefact_where_the_numbers_do_not_depend_on_the_class():
    for seed in range(5):
        everything = [facts(1000 * seed + i) for i in range(300)]
        assert artefacts(everything, np.arange(300) % 3, 3) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"brightest": 0.3}, "brightest pixels"),
        ({"format": "PNG"}, "file format"),
        ({"camera": "Maker X"}, "camera"),
        ({"border": 0.2}, "frame"),
        ({"size": (300, 900)}, "aspect"),
        ({"num_bytes": 400_000}, "bytes per pixel"),
    ],
)
def test_what_one_class_has_and_the_others_have_not_is_named(change, words):
    labels = np.arange(300) % 3
    found = artefacts([facts(i, **(change if label == 1 else {})) for i, label in enumerate(labels)], labels, 3)
    assert found[0].label == 1 and any(words in artefact.feature for artefact in found)
    assert found[0].accuracy > 0.9


def test_odd_pictures_are_found_and_what_all_pictures_are_is_not_odd():
    usual = [facts(i) for i in range(40)]
    odd = {
        "dark": facts(90, brightest=0.1),
        "bright": facts(91, darkest=0.9),
        "blurred": facts(92, sharpness=0.04),
        "low_information": facts(93, contrast=0.0),
        "tiny": facts(94, size=(20, 30)),
        "aspect": facts(95, size=(200, 900)),
    }
    found = {oddity.kind: oddity.positions for oddity in oddities([*usual, *odd.values()])}
    assert found == {kind: (40 + i,) for i, kind in enumerate(odd)}
    assert [oddity.kind for oddity in oddities([facts(i, sharpness=0.04) for i in range(40)])] == []
    assert list(oddities([])) == []


def test_a_real_picture_is_not_odd():
    picture = np.asarray(noisy_picture((200, 50, 40), 0, (120, 160)))
    looks, sketch = look(picture)
    assert list(oddities([Facts("JPEG", (120, 160), looks=looks, sketch=sketch)])) == []


def test_imbalance_and_small_classes_are_said_with_their_numbers():
    counts = {"a": 200, "b": 100, "c": 8}
    images = tuple(LabeledImage(f"{i}/{k}", i, "train") for i, n in enumerate(counts.values()) for k in range(n))
    images += tuple(LabeledImage(f"t{k}", 0, "test") for k in range(10))
    index = ImageIndex("", "", tuple(counts), images)
    findings = list(class_findings(index, images))
    assert [f.kind for f in findings] == ["imbalance", "small_class", "small_class"]
    assert "'a' has 200" in findings[0].message and findings[0].severity == "warning" and findings[0].score == 25
    assert "'c' (8)" in findings[1].message and "'a' (10)" in findings[2].message


def test_labels_and_near_copies_are_summarised_to_one_line_each():
    labels = [Finding("label_error", "note", (f"{i}",), "", suggested="b", score=0.25) for i in range(8)]
    copies = [Finding("near_copy", "note", ("x", "y"), ""), Finding("near_copy", "note", ("u", "v", "w"), "")]
    other = Finding("dark", "note", ("d",), "dark")
    merged = summarised([*labels, other, *copies])
    assert [f.kind for f in merged] == ["label_error", "dark", "near_copy"]
    assert "8 labels" in merged[0].message and "about 2 of them are wrong" in merged[0].message
    assert "5 pictures form 2 set(s)" in merged[2].message and merged[1] is other
