"""The learning-rate finder finds what one would choose by eye."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import fieldguide
from fieldguide import training

training.import_tensorflow()

from fieldguide.cli import main  # noqa: E402
from fieldguide.errors import RecipeError  # noqa: E402
from fieldguide.training.lr_find import Sweep, smooth  # noqa: E402

SMALL = fieldguide.Classic(image_size=(32, 32), filters=(8, 8), units=16, batch_size=16)


def test_the_smoothed_loss_is_the_average_of_what_came_with_the_newest_counting_most() -> None:
    assert smooth([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert smooth([1.0, 2.0]) == pytest.approx([1.0, (0.09 * 1.0 + 0.1 * 2.0) / 0.19])


def test_the_suggestion_is_where_the_loss_falls_steepest_before_its_lowest_point() -> None:
    rates = np.geomspace(1e-5, 1.0, 51)
    curve = 2.0 - 1.0 / (1.0 + (1e-3 / rates) ** 2) + 100.0 * rates**3  # falls fastest at 0.001, explodes near 0.1
    assert Sweep(tuple(rates), tuple(curve), tuple(curve)).suggestion == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_noise_from_batch_to_batch_hardly_moves_the_suggestion(seed: int) -> None:
    rates = np.geomspace(1e-6, 1.0, 120)
    noise = np.random.default_rng(seed).normal(0, 0.2, 120)
    losses = (2.0 - 1.0 / (1.0 + (1e-3 / rates) ** 2) + 100.0 * rates**3 + noise).tolist()
    assert 2e-4 < Sweep(tuple(rates), tuple(losses), tuple(smooth(losses))).suggestion < 1e-2


def test_it_learns_from_the_training_part_says_a_rate_and_draws_it(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = fieldguide.lr_find(tiny_folder, recipe=SMALL, num_batches=40, progress=False)
    assert 1e-6 <= found.suggestion <= 1.0
    assert len(found.learning_rates) == len(found.losses) == len(found.smoothed) <= 40
    assert list(found.learning_rates) == sorted(found.learning_rates)
    fieldguide.plots.lr_find(found).savefig(tmp_path / "rates.png")
    again = fieldguide.lr_find(tiny_folder, recipe=SMALL, num_batches=40, progress=False)
    assert again == found
    capsys.readouterr()
    settings = [word for name in ("image_size=32,32", "filters=4,4", "units=8") for word in ("--set", name)]
    with pytest.raises(SystemExit) as caught:
        main(["lr-find", str(tiny_folder), *settings, "--json", "--plot", str(tmp_path / "cli.png")])
    assert not caught.value.code
    assert json.loads(capsys.readouterr().out)["suggestion"] > 0
    assert (tmp_path / "cli.png").stat().st_size > 1000


def test_a_recipe_without_a_rate_and_a_range_that_is_none_are_refused(tiny_folder: Path) -> None:
    with pytest.raises(RecipeError, match="transfer has no learning rate"):
        fieldguide.lr_find(tiny_folder, recipe="transfer")
    with pytest.raises(RecipeError, match="below highest"):
        fieldguide.lr_find(tiny_folder, lowest=1.0, highest=0.1)
