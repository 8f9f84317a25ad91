"""Every recipe in the registry keeps the protocol that the workflow relies on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fieldguide.errors import RecipeError
from fieldguide.recipes.registry import DEFAULT_RECIPE, RECIPES, recipe_class, recipe_of


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_called_as_the_registry_calls_it_and_its_settings_survive_json(name: str) -> None:
    recipe = recipe_of(name)
    assert recipe.name == name
    assert recipe_class(name).from_json(recipe.to_json()) == recipe  # type: ignore[attr-defined]
    assert "name" not in recipe.to_json() and "needs_val" not in recipe.to_json()


def test_a_recipe_with_settings_is_taken_as_it_is() -> None:
    recipe = recipe_of(DEFAULT_RECIPE)
    assert recipe_of(recipe) is recipe


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(RecipeError, match="choose one of auto, transfer, finetune, classic"):
        recipe_of("magic")


def test_the_names_cost_no_import_of_a_recipe() -> None:
    code = (
        "import sys, fieldguide.cli; assert not {'numpy', 'PIL', 'openvino', 'tensorflow'} & set(sys.modules)\n"
        "assert 'fieldguide.recipes.transfer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
