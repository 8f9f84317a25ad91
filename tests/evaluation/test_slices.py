"""Ways to divide scored pictures, against counts by hand."""

from __future__ import annotations

import numpy as np

from fieldguide.evaluation.slices import slices_of
from fieldguide.records import Evaluation


def evaluation_of(paths: list[str], labels: np.ndarray, predicted: np.ndarray) -> Evaluation:
    return Evaluation("test", ("a", "b"), labels, np.eye(2, dtype=np.float32)[predicted], tuple(paths))


def test_pictures_are_cut_into_quarters_and_shapes_with_their_accuracy():
    count = 80
    labels = np.arange(count) % 2
    brightness = (np.arange(count) / 100).astype(np.float32)
    predicted = np.where(brightness < 0.2, 1 - labels, labels)  # the darkest quarter is all wrong
    sizes = np.array([(100, 100), (300, 100)] * (count // 2))
    found = {
        s.name: s for s in slices_of(evaluation_of([f"x/{i}.jpg" for i in range(count)], labels, predicted), sizes, brightness)
    }
    assert set(found) == {"brightness", "size", "shape"}  # all in one folder: that says nothing
    evaluation = evaluation_of([f"x/{i}.jpg" for i in range(count)], labels, predicted)
    rows = found["brightness"].rows(evaluation)
    assert [row["num_images"] for row in rows] == [20, 20, 20, 20]
    assert [row["num_wrong"] for row in rows] == [20, 0, 0, 0]
    assert rows[0]["title"] == "0\xa0% to 19\xa0%"
    assert rows[0]["accuracy"] == 0.0
    assert [row["title"] for row in found["size"].rows(evaluation)] == ["100\xa0px", "300\xa0px"]
    assert [row["title"] for row in found["shape"].rows(evaluation)] == ["tall (narrower than 4:5)", "nearly square"]


def test_folders_count_where_they_are_not_the_classes():
    labels = np.array([0, 0, 1, 1])
    square, grey = np.full((4, 2), 10), np.full(4, 0.5, np.float32)
    by_class = evaluation_of(["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"], labels, labels)
    assert slices_of(by_class, square, grey) == ()
    by_camera = evaluation_of(["a/one/1.jpg", "a/two/2.jpg", "b/one/1.jpg", "b/two/2.jpg"], labels, labels)
    (folders,) = slices_of(by_camera, square, grey)
    assert folders.titles == ("a/one", "a/two", "b/one", "b/two")


def test_many_folders_are_the_twelve_largest_and_the_others():
    names = [f"{number:02d}/{i}.jpg" for number in range(20) for i in range(number + 1)]
    labels = np.arange(len(names)) % 2
    (folders,) = slices_of(
        evaluation_of(names, labels, labels), np.full((len(names), 2), 10), np.full(len(names), 0.5, np.float32)
    )
    assert len(folders.titles) == 13
    assert folders.titles[-1] == "other folders"
    assert (folders.members == 12).sum() == sum(range(1, 9))
