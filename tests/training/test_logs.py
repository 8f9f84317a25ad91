"""Each epoch's numbers can be watched from outside while training goes on."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from fieldguide import training

training.import_tensorflow()

import tensorflow as tf  # noqa: E402

from tests.recipes.test_classic import fit  # noqa: E402


def test_the_csv_file_and_the_event_file_say_what_the_history_says(tmp_path: Path) -> None:
    fitted = fit(history=tmp_path / "history.csv", tensorboard=tmp_path / "tensorboard")
    with (tmp_path / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == list(fitted.history)
    events = [str(path) for path in (tmp_path / "tensorboard").iterdir()]
    found = {}
    for record in tf.data.TFRecordDataset(events).as_numpy_iterator():
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    expected = {(name, row["epoch"]): value for row in fitted.history for name, value in row.items() if name != "epoch"}
    assert found == pytest.approx(expected)


def test_whoever_watches_is_called_with_all_rows_after_each_epoch() -> None:
    seen: list[int] = []
    fitted = fit(watch=lambda history: seen.append(len(history)))
    assert seen == [1, 2, 3] == list(range(1, len(fitted.history) + 1))


def test_a_disk_without_room_for_the_log_costs_no_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert len(fit(history=tmp_path / "file" / "history.csv").history) == 3
