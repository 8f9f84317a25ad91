"""Verbs that take a finished run elsewhere: `export`, `bench-export`, `card`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fieldguide.cli.options import Json, Reject, RunPath
from fieldguide.cli.printing import print_json, say
from fieldguide.exporting.formats import FORMATS

if TYPE_CHECKING:
    from fieldguide.exporting.parity import Parity

Data = Annotated[
    str | None, typer.Option(metavar="DIR", help="Labelled pictures to compare on, instead of the run's own test part.")
]
_FORMATS = "|".join(FORMATS)


def export(
    run: RunPath,
    format: Annotated[str, typer.Option(metavar=f"<{_FORMATS}>", help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the files; RUN/exports/FORMAT by default.")
    ] = None,
    data: Data = None,
    reject: Reject = None,
    as_json: Json = False,
) -> None:
    """Write RUN as a file for other programs, after it has answered real pictures as the engine does."""
    from fieldguide import workflow

    _known(format)
    say(f"writing {format}, then comparing it with the engine on real pictures")
    done = workflow.export(run, format, out=out, data=data, reject=reject)
    if as_json:
        print_json(done.to_json())
        return
    print(f"{done.format + ':':9} {', '.join(done.files)} ({done.size_bytes / 1e6:.1f} MB)")
    print(_parity_line("tensor", done.parity))
    if done.picture_parity is not None:
        print(_parity_line("picture", done.picture_parity))
    print(f"files:    {done.directory}")


def bench_export(
    run: RunPath,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar=f"<{_FORMATS}>", help="May be given several times; all by default."),
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Export RUN in every format, prove each, and time it on this machine: one table; nothing is kept."""
    from fieldguide import workflow

    for name in formats or ():
        _known(name)
    rows = workflow.bench_export(run, formats=formats or (), data=data, say=say)
    if as_json:
        print_json([row.to_json() for row in rows])
        return
    width = max(len(row.format) for row in rows)
    print(f"{'':{width}}      MB  cold start    1: p50    p99   32: p50    p99  accuracy  largest difference")
    for row in rows:
        if row.error is not None:
            print(f"{row.format:{width}}  {row.error.splitlines()[0]}")
            continue
        times = [row.batch_1_p50_seconds, row.batch_1_p99_seconds, row.batch_32_p50_seconds, row.batch_32_p99_seconds]
        p50, p99, many_p50, many_p99 = (f"{1000 * (seconds or 0):.1f}" for seconds in times)
        line = f"{(row.size_bytes or 0) / 1e6:8.1f}  {row.cold_start_seconds:8.2f} s"
        line += f"  {p50:>9} {p99:>6}  {many_p50:>8} {many_p99:>6}"
        if row.parity is not None and row.parity.accuracy_after is not None:
            line += f"  {row.parity.accuracy_after:8.2%}  {row.parity.max_abs_diff:.1e} (n = {row.parity.num_images:,})"
        print(f"{row.format:{width}}{line}")
    print("times are milliseconds a batch, of 1 and of 32 pictures; LiteRT takes the 32 one after the other")


def card(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there; printed by default.")] = None,
) -> None:
    """Write the model card of RUN in Markdown: data, scores, limits; the intended use is for you to fill in."""
    from fieldguide import workflow

    text = workflow.card(run, out=out)
    print(out if out is not None else text, end="\n" if out is not None else "")


def _known(format: str) -> None:
    if format not in FORMATS:
        raise typer.BadParameter(f"there is no format {format!r}; choose one of {', '.join(FORMATS)}")


def _parity_line(contract: str, parity: Parity) -> str:
    line = (
        f"{contract + ':':9} the top class agrees for {parity.top1_agreement:.2%} of {parity.num_images:,} pictures; "
        f"largest difference of a probability {parity.max_abs_diff:.1e}"
    )
    if parity.accuracy_before is not None and parity.accuracy_after is not None:
        line += f"; accuracy {parity.accuracy_before:.2%} -> {parity.accuracy_after:.2%}"
    if parity.auroc_before is not None and parity.auroc_after is not None:
        line += f"; area under ROC of novelty {parity.auroc_before:.3f} -> {parity.auroc_after:.3f}"
    return f"{line} ({parity.runtime})"
