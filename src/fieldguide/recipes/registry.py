"""The recipes by name. None is imported before it is asked for: `--help` names them all and has to be quick."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, NamedTuple, cast

from fieldguide.errors import RecipeError

if TYPE_CHECKING:
    from fieldguide.recipes.recipe import Recipe


class Entry(NamedTuple):
    """Where a recipe is, and what it is in a few words."""

    module: str
    class_name: str
    summary: str


RECIPES = {
    "auto": Entry("fieldguide.recipes.auto", "Auto", "transfer, then finetune where it will pay"),
    "transfer": Entry("fieldguide.recipes.transfer", "Transfer", "a pretrained network, seconds"),
    "finetune": Entry("fieldguide.recipes.finetune", "Finetune", "the pretrained network trained on, minutes"),
    "classic": Entry("fieldguide.recipes.classic", "Classic", "a CNN from scratch, in Keras, minutes"),
    "scratch": Entry("fieldguide.recipes.scratch", "Scratch", "a residual network from scratch, more minutes"),
}
DEFAULT_RECIPE = "auto"


def recipe_class(name: str) -> type[Recipe]:
    """The dataclass of the recipe of that name.

    Raises:
        RecipeError: if there is none.
    """
    if name not in RECIPES:
        raise RecipeError(f"There is no recipe {name!r}.\nhint: choose one of {', '.join(RECIPES)}.")
    entry = RECIPES[name]
    return cast("type[Recipe]", getattr(importlib.import_module(entry.module), entry.class_name))


def recipe_of(recipe: str | Recipe) -> Recipe:
    """The recipe of that name with its default settings; a recipe is given back as it is.

    Raises:
        RecipeError: if there is no recipe of that name.
    """
    return recipe_class(recipe)() if isinstance(recipe, str) else recipe
