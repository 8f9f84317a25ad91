"""The reference pages, made from the code at build time: commands from `--help`, the rest from docstrings and fields."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import re
import subprocess
import sys
import textwrap
import tokenize
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fieldguide
from fieldguide.evaluation import metrics


def write(directory: Path) -> None:
    """Writes the pages that `reference/*.md` include."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in (("commands", commands_page), ("python", python_page)):
        path, text = directory / f"{name}.md", make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:  # the same text keeps its date: nothing to rebuild
            path.write_text(text, encoding="utf-8")


def commands_page() -> str:
    """Every command with its arguments and options, as Typer tells them."""
    command = [sys.executable, "-m", "typer", "fieldguide.cli", "utils", "docs", "--name", "fieldguide"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    general, *commands = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    usage = general.split("\n", 1)[1].split("**Commands**:")[0]  # the list of commands is this page's table of contents
    return "## `fieldguide`\n" + usage + "".join(commands)


def python_page() -> str:
    """Every public name, in the groups a reader looks for."""
    groups: dict[str, list[str]] = {title: [] for title in ("Functions", "Recipes", "Classes and records", "Errors")}
    for name in fieldguide.__all__:
        value = getattr(fieldguide, name)
        if inspect.isfunction(value):
            groups["Functions"].append(_directive("autofunction", f"fieldguide.{name}"))
        elif inspect.isclass(value) and issubclass(value, Exception):
            groups["Errors"].append(_directive("autoexception", f"fieldguide.{name}"))
        elif inspect.isclass(value):
            title = "Recipes" if value.__module__.startswith("fieldguide.recipes") else "Classes and records"
            groups[title].append(_class(name, value))
    figures = _functions(
        fieldguide.plots, lambda f: f.__annotations__.get("return") == "Figure" and not f.__module__.endswith(".style")
    )
    groups["Figures"] = [_directive("autofunction", f"fieldguide.plots.{name}") for name in figures]
    groups["Metrics"] = [
        _directive("autofunction", f"fieldguide.evaluation.metrics.{name}")
        for name in _functions(metrics, lambda f: f.__module__ == metrics.__name__)
    ]
    introductions = {
        "Recipes": "Frozen dataclasses: give one to `fieldguide.train(..., recipe=...)` with the settings you want.",
        "Classes and records": "Records are frozen dataclasses; `to_json()` and `from_json()` take them to files and back.",
        "Figures": 'Functions of `fieldguide.plots`. Each makes a `matplotlib.figure.Figure`: `figure.savefig("name.png")`.',
        "Metrics": "Functions of an `Evaluation`, in `fieldguide.evaluation.metrics`.",
    }
    return "\n".join(
        "\n".join([f"## {title}\n", introductions.get(title, ""), "", *entries]) for title, entries in groups.items() if entries
    )


def _directive(kind: str, name: str, *options: str) -> str:
    lines = [f".. {kind}:: {name}", *(f"   {option}" for option in options)]
    return "\n".join(["```{eval-rst}", *lines, "```", ""])


def _class(name: str, cls: type) -> str:
    if not dataclasses.is_dataclass(cls):
        return _directive("autoclass", f"fieldguide.{name}", ":members:")
    entries = [_directive("autoclass", f"fieldguide.{name}"), *_fields(cls), ""]
    if not cls.__module__.startswith("fieldguide.recipes"):  # a recipe's methods are for the workflow
        properties = [name for name, value in vars(cls).items() if isinstance(value, property)]
        entries += [_directive("autoproperty", f"fieldguide.{name}.{of_class}") for of_class in properties]
    return "\n".join(entries)


def _fields(cls: type) -> list[str]:
    """The fields of a dataclass as a list, with the comment that stands behind each in the source."""
    source = textwrap.dedent(inspect.getsource(cls))
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    names = {field.name for field in dataclasses.fields(cls)}
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.AnnAssign)]
    return [
        f"- `{_declaration(node)}`" + (f": {comments[line]}" if (line := node.end_lineno or node.lineno) in comments else "")
        for node in nodes
        if isinstance(node.target, ast.Name) and node.target.id in names
    ]


def _declaration(node: ast.AnnAssign) -> str:
    """`name: type = default`, without a default that is made by a function."""
    is_plain = node.value is not None and not isinstance(node.value, ast.Call)
    return ast.unparse(node) if is_plain else f"{ast.unparse(node.target)}: {ast.unparse(node.annotation)}"


def _functions(module: Any, is_wanted: Callable[[Any], bool]) -> list[str]:
    functions = {name: value for name, value in vars(module).items() if inspect.isfunction(value) and not name.startswith("_")}
    return [name for name, value in functions.items() if is_wanted(value)]


def escape_docstring(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Our docstrings are plain text with `code`: elsewhere `*` and `|` mean themselves, and `code`s may take an ending."""
    for number, line in enumerate(lines):
        pieces = line.split("`")
        pieces[::2] = [re.sub(r"([*|])", r"\\\1", piece) for piece in pieces[::2]]
        pieces[2::2] = [re.sub(r"^(?=\w)", r"\\ ", piece) for piece in pieces[2::2]]
        lines[number] = "`".join(pieces)


def hide_fields(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str | None, result: str | None
) -> tuple[str, None] | None:
    """A dataclass is shown without its arguments: its fields are listed, with what they mean."""
    return ("", None) if dataclasses.is_dataclass(value) else None
