"""Verbs that take a finished run elsewhere: `export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldguide.cli.options import Json, Reject, RunPath
from fieldguide.cli.printing import print_json, say
from fieldguide.exporting.formats import FORMATS

if TYPE_CHECKING:
    from fieldguide.exporting.parity import Parity

_FORMATS = "|".join(FORMATS)


def export(
    run: RunPath,
    format: Annotated[str, typer.Option(metavar=f"<{_FORMATS}>", help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the files; RUN/exports/FORMAT by default.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="DIR", help="Labelled pictures to compare on, instead of the run's own test part.")
    ] = None,
    reject: Reject = None,
    as_json: Json = False,
) -> None:
    """Write RUN as a file for other programs, after it has answered real pictures as the engine does."""
    from fieldguide import workflow

    if format not in FORMATS:
        raise typer.BadParameter(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")
    say(f"writing {format}, then comparing it with the engine on real pictures")
    done = workflow.export(run, format, out=out, data=data, reject=reject)
    if as_json:
        print_json(done.to_json())
        return
    print(f"{done.format + ':':9}{', '.join(done.files)} ({done.size_bytes / 1e6:.1f} MB)")
    print(_parity_line("tensor", done.parity))
    if done.picture_parity is not None:
        print(_parity_line("picture", done.picture_parity))
    print(f"files:   {done.directory}")


def _parity_line(contract: str, parity: Parity) -> str:
    line = (
        f"{contract + ':':9}the top class agrees for {parity.top1_agreement:.2%} of {parity.num_images:,} pictures; "
        f"largest difference of a probability {parity.max_abs_diff:.1e}"
    )
    if parity.accuracy_before is not None and parity.accuracy_after is not None:
        line += f"; accuracy {parity.accuracy_before:.2%} -> {parity.accuracy_after:.2%}"
    if parity.auroc_before is not None and parity.auroc_after is not None:
        line += f"; area under ROC of novelty {parity.auroc_before:.3f} -> {parity.auroc_after:.3f}"
    return f"{line} ({parity.runtime})"
