"""Options that several verbs share, so that they are spelled and explained alike."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from fieldguide.recipes.registry import RECIPES

Source = Annotated[str, typer.Argument(metavar="DIR", help="Folder of class folders, or a CSV file.")]
RunPath = Annotated[str, typer.Argument(metavar="RUN", help="Run folder, bundle folder, or zip of one.")]
Out = Annotated[Path | None, typer.Option(help="Run folder; runs/NAME by default. Never overwritten.")]
Review = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="review.csv of an audit, as you edited it: what to leave out, what to relabel."),
]
Seed = Annotated[int | None, typer.Option(min=0, max=2**32 - 1, help="Same seed, same machine, same bytes; 0 by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output.")]
GroupBy = Annotated[
    str | None,
    typer.Option(help="Regular expression on the path; what it matches names the group, kept on one side of a split."),
]
ExcludeClass = Annotated[list[str] | None, typer.Option(help="Class folder to leave out; may be given several times.")]
MergeSubfolders = Annotated[
    bool, typer.Option("--merge-subfolders", help="Subfolders belong to the class above, even where names repeat.")
]
SixteenBitMax = Annotated[
    int | None, typer.Option(min=1, max=65535, help="The value of white in 16-bit pictures (4095 for 12 bits).")
]

Precision = Annotated[Literal["auto", "f32", "bf16"], typer.Option(help="Of the engine.")]

Reject = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.5,
        metavar="SHARE",
        show_default="0.01 in training, then as trained",
        help='Share of pictures like yours that may be answered "none of these"; 0: none is.',
    ),
]


def _known_recipe(name: str) -> str:
    if name not in RECIPES and not name.endswith(".json"):
        raise typer.BadParameter(f"there is no recipe {name!r}; choose one of {', '.join(RECIPES)}, or give a recipe.json")
    return name


Recipe = Annotated[
    str,
    typer.Option(
        parser=_known_recipe,
        metavar=f"<{'|'.join(RECIPES)}|FILE.json>",
        help="; ".join(f"{name}: {entry.summary}" for name, entry in RECIPES.items()) + "; or a run's recipe.json.",
    ),
]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the recipe; may be given several times.")
]


def _seconds(text: str) -> float:
    """`90`, `90s`, `10m`, `1.5h` -> seconds."""
    units = {"s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        seconds = float(text[:-1]) * units[text[-1]] if text and text[-1] in units else float(text)
    except ValueError:
        seconds = math.nan
    if not 1 <= seconds < math.inf:
        raise typer.BadParameter(f"a time is a number with s, m or h behind it, as 10m; received {text!r}")
    return seconds


Time = Annotated[
    float | None,
    typer.Option("--time", parser=_seconds, metavar="10m", help="When the training of a network ends, with the best so far."),
]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Write each epoch's numbers for TensorBoard as well, into RUN/tensorboard.")
]
