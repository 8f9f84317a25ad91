"""Settings come from text with their types, and a slip of the pen is answered with what was meant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fieldguide.errors import RecipeError
from fieldguide.recipes.classic import Classic
from fieldguide.recipes.scratch import Scratch
from fieldguide.recipes.settings import assignments_of, parse_assignments, plan_of, read_plan, with_settings
from fieldguide.recipes.transfer import Transfer
from fieldguide.records import Record


@dataclass(frozen=True)
class Anything(Record):
    """A recipe with a setting of every kind."""

    name: ClassVar[str] = "anything"
    needs_val: ClassVar[bool] = True
    count: int = 1
    rate: float = 0.5
    is_on: bool = False
    word: str = "x"
    size: tuple[int, int] = (1, 2)
    rates: tuple[float, ...] = (0.1,)
    limit: int | None = None


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("count=5", 5),
        ("rate=1e-3", 0.001),
        ("rate=2", 2.0),
        ("is_on=true", True),
        ("is_on=No", False),
        ("word=a=b", "a=b"),
        ("size=3,4", (3, 4)),
        ("size=3x4", (3, 4)),
        ("size=(3, 4)", (3, 4)),
        ("rates=1,2.5,3", (1.0, 2.5, 3.0)),
        ("limit=7", 7),
        ("limit=none", None),
    ],
)
def test_a_setting_is_read_as_what_it_is(assignment: str, value: Any) -> None:
    changed = with_settings(Anything(limit=3), parse_assignments([assignment]))  # type: ignore[type-var]
    found = getattr(changed, assignment.split("=")[0])
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": "5.5"}, "count should be a whole number; received '5.5'"),
        ({"count": True}, "count should be a whole number; received True"),
        ({"rate": "fast"}, "rate should be a number; received 'fast'"),
        ({"rate": "inf"}, "rate should be a number; received 'inf'"),
        ({"rate": float("nan")}, "rate should be a number; received nan"),
        ({"rates": "1,-inf"}, "rates should be numbers"),
        ({"is_on": "maybe"}, "is_on should be true or false"),
        ({"size": "3"}, "size should be 2 whole numbers, as 96,96; received '3'"),
        ({"size": [1, 2, 3]}, "size should be 2 whole numbers"),
        ({"rates": "1,x"}, "rates should be numbers with commas between them"),
        ({"limit": "many"}, "limit should be a whole number or none"),
        ({"counts": 2}, "no setting 'counts'.\nhint: did you mean count?"),
        ({"zzz": 2}, "hint: it has count, rate, is_on, word, size, rates, limit."),
    ],
)
def test_a_wrong_setting_is_refused_with_what_was_expected(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        with_settings(Anything(), settings)  # type: ignore[type-var]
    assert message in str(caught.value)


def test_a_warm_up_takes_at_most_half_of_the_epochs_that_there_are() -> None:
    assert with_settings(Scratch(), {"epochs": "1"}) == Scratch(epochs=1)
    assert [Scratch()._settings(epochs).warmup_epochs for epochs in (1, 3, 4, 190)] == [0.5, 1.5, 2.0, 2.0]
    with pytest.raises(RecipeError, match="warmup_epochs should be in"):
        with_settings(Scratch(), {"epochs": "1", "warmup_epochs": "3"})
    with pytest.raises(RecipeError, match="epochs should be a whole number >= 1; received 0"):
        with_settings(Scratch(), {"epochs": "0"})


def test_ranges_are_checked_by_the_recipe_itself() -> None:
    with pytest.raises(RecipeError, match=r"dropout should be in \[0, 1\)"):
        with_settings(Classic(), {"dropout": "1.5"})


@pytest.mark.parametrize("text", ["epochs", "=5", "--epochs"])
def test_an_assignment_without_a_key_or_a_value_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="KEY=VALUE"):
        parse_assignments([text])


@pytest.mark.parametrize("recipe", [Classic(epochs=7, filters=(4, 8)), Transfer(num_folds=3)])
def test_what_a_run_writes_is_read_again(tmp_path: Path, recipe: Any) -> None:
    path = tmp_path / "recipe.json"
    plan = {"format_version": 1, "recipe": recipe.name, "settings": recipe.to_json(), "seed": 3}
    path.write_text(json.dumps(plan))
    assert read_plan(path) == plan_of(path) == plan_of(str(path)) == (recipe, 3)
    assert plan_of(path, 5) == plan_of(recipe, 5) == (recipe, 5)
    assert plan_of(recipe) == (recipe, 0)


@pytest.mark.parametrize("recipe", [Classic(), Classic(epochs=7, filters=(4, 8), horizontal_flip=False, learning_rate=1e-5)])
def test_what_differs_from_the_defaults_can_be_given_on_the_command_line(recipe: Classic) -> None:
    assignments = assignments_of(recipe)
    assert with_settings(Classic(), parse_assignments(assignments)) == recipe
    assert assignments_of(Anything(limit=3, is_on=True, size=(5, 6))) == ("is_on=true", "size=5,6", "limit=3")  # type: ignore[arg-type]
    assert bool(assignments) == (recipe != Classic())


def test_a_file_by_hand_may_leave_out_what_it_does_not_change(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text('{"format_version": 1, "recipe": "classic", "settings": {"learning_rate": 1}}')
    assert read_plan(path) == (Classic(learning_rate=1.0), 0)
    for content, message in (
        ('{"format_version": 1, "recipe": "classic", "settings": {"epoch": 1}}', "did you mean epochs"),
        ('{"format_version": 1, "recipe": "magic"}', "There is no recipe 'magic'"),
        ('{"format_version": 1, "settings": {}}', "should hold"),
    ):
        path.write_text(content)
        with pytest.raises(RecipeError, match=message):
            read_plan(path)
