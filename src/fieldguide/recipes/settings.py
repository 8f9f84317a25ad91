"""A recipe's settings from text: `--set KEY=VALUE` on the command line, and `recipe.json`, which every run writes."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fieldguide.errors import RecipeError
from fieldguide.records import Record
from fieldguide.storage import read_json

if TYPE_CHECKING:
    from fieldguide.recipes.recipe import Recipe

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


class Plan(NamedTuple):
    """A recipe and the seed to train it with."""

    recipe: Recipe
    seed: int


def plan_of(recipe: str | os.PathLike[str] | Recipe, seed: int | None = None) -> Plan:
    """The plan that a name, the path of a `recipe.json`, or a recipe stands for.

    Args:
        recipe: a path is told from a name by its ending `.json`.
        seed: comes before the file's; 0 where there is neither.

    Raises:
        BundleError: if the file is missing or no JSON of ours.
        RecipeError: if there is no such recipe, or the file's settings are wrong.
    """
    from fieldguide.recipes.registry import recipe_of

    if isinstance(recipe, os.PathLike) or (isinstance(recipe, str) and recipe.endswith(".json")):
        found = read_plan(Path(recipe))
        return found if seed is None else Plan(found.recipe, seed)
    return Plan(recipe_of(recipe), seed or 0)


def read_plan(path: Path) -> Plan:
    """The plan that a `recipe.json` describes; what it leaves out has its default.

    Raises:
        BundleError: if the file is missing or no JSON of ours.
        RecipeError: if it names an unknown recipe or setting, or a value of another type.
    """
    from fieldguide.recipes.registry import recipe_class

    values = read_json(path)
    name, settings, seed = values.get("recipe"), values.get("settings", {}), values.get("seed", 0)
    if not isinstance(name, str) or not isinstance(settings, dict) or type(seed) is not int:
        raise RecipeError(
            f'{path} should hold {{"recipe": NAME, "settings": {{...}}, "seed": NUMBER}}.\n'
            "hint: every run folder has such a file, recipe.json."
        )
    return Plan(with_settings(recipe_class(name)(), settings), seed)


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """`["epochs=5", "image_size=96,96"]` -> `{"epochs": "5", "image_size": "96,96"}`.

    Raises:
        RecipeError: if one has no `=`.
    """
    pairs = [text.partition("=") for text in texts]
    for key, sign, _ in pairs:
        if not sign or not key.strip():
            raise RecipeError(f"A setting should be KEY=VALUE; received {key!r}.\nhint: as in `--set epochs=5`.")
    return {key.strip(): value.strip() for key, _, value in pairs}


def assignments_of(recipe: Recipe) -> tuple[str, ...]:
    """The settings in which a recipe of ours differs from its defaults, as `parse_assignments` takes them."""
    if not isinstance(recipe, Record):
        return ()
    values, defaults = recipe.to_json(), type(recipe)().to_json()
    return tuple(f"{name}={_text(value)}" for name, value in values.items() if value != defaults[name])


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(_text(item) for item in value)
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def with_settings(recipe: Recipe, settings: Mapping[str, Any]) -> Recipe:
    """The recipe with some of its settings changed.

    Args:
        recipe: a dataclass, as all of ours are.
        settings: by name; texts are read as what the setting is (`"5"`, `"true"`, `"96,96"` or `"96x96"`).

    Raises:
        RecipeError: if a name is unknown, or if a value is of another type or out of range.
    """
    if not settings:
        return recipe
    kinds = _kinds(recipe)
    for name in settings:
        if name not in kinds:
            close = difflib.get_close_matches(name, kinds, n=1)
            advice = f"did you mean {close[0]}?" if close else f"it has {', '.join(kinds) or 'none'}."
            raise RecipeError(f"The recipe {recipe.name} has no setting {name!r}.\nhint: {advice}")
    values = {name: _converted(name, value, kinds[name]) for name, value in settings.items()}
    return dataclasses.replace(recipe, **values)  # type: ignore[type-var]


def _kinds(recipe: Recipe) -> dict[str, Any]:
    if not dataclasses.is_dataclass(recipe):
        return {}
    hints = typing.get_type_hints(type(recipe))
    return {field.name: hints[field.name] for field in dataclasses.fields(recipe) if field.init}


def _converted(name: str, value: Any, kind: Any) -> Any:
    try:
        return _read(value, kind)
    except ValueError:
        raise RecipeError(
            f"{name} should be {_described(kind)}; received {value!r}.\nhint: leave {name} out for the default."
        ) from None


def _read(value: Any, kind: Any) -> Any:
    """The value as what it should be.

    Raises:
        ValueError: if it is something else.
    """
    if isinstance(kind, types.UnionType):  # as `int | None`
        kinds = typing.get_args(kind)
        if type(None) in kinds and (value is None or value == "none"):
            return None
        return _read(value, next(k for k in kinds if k is not type(None)))
    if typing.get_origin(kind) is tuple:
        of = typing.get_args(kind)
        items = re.split("[x,]" if of[0] is int else ",", value.strip("() ")) if isinstance(value, str) else value
        if not isinstance(items, list | tuple) or (of[-1] is not Ellipsis and len(items) != len(of)):
            raise ValueError
        return tuple(_read(item.strip() if isinstance(item, str) else item, of[0]) for item in items)
    if isinstance(value, str) and kind is not str:
        return _WORDS[value.lower()] if kind is bool and value.lower() in _WORDS else _number(value, kind)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):  # JSON, which keeps it, has no infinity
        raise ValueError
    return value


def _number(text: str, kind: Any) -> Any:
    if kind not in (int, float):
        raise ValueError
    return _read(kind(text), kind)


def _described(kind: Any) -> str:
    if isinstance(kind, types.UnionType):
        return " or ".join("none" if k is type(None) else _described(k) for k in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        of = typing.get_args(kind)
        each = _NAMES[of[0]].removeprefix("a ") + "s"
        return f"{each} with commas between them" if of[-1] is Ellipsis else f"{len(of)} {each}, as 96,96"
    return _NAMES.get(kind, str(kind))
