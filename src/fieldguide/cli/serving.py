"""The verb that answers over HTTP: `serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from fieldguide.cli.options import Precision, Reject, RunPath
from fieldguide.cli.printing import say


def serve(
    run: RunPath,
    host: Annotated[str, typer.Option(help="Address to listen on; by default nobody but this computer can ask.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the token that clients must send; also taken from FIELDGUIDE_TOKEN."),
    ] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further name of this server, such as its proxy's; may repeat.")
    ] = None,
    collect: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep pictures that people give another class, for `train --also DIR`.")
    ] = None,
    max_upload: Annotated[int, typer.Option(min=1, metavar="MIB", help="Largest request.")] = 20,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decode; one a core, and at most 4, by default.")
    ] = None,
    reject: Reject = None,
    precision: Precision = "auto",
) -> None:
    """Answer over HTTP for RUN: a page at / and an API at /v1, until Ctrl-C."""
    from fieldguide.serving.server import serve as serve_run

    serve_run(
        run,
        host=host,
        port=port,
        token=_token(token_file),
        allow_hosts=allow_host or (),
        collect=collect,
        max_upload_mib=max_upload,
        num_workers=workers,
        reject=reject,
        precision=precision,
        say=say,
    )


def _token(file: Path | None) -> str | None:
    """The token; not an option of its own, since every user of a computer can read every command line."""
    if file is None:
        return os.environ.get("FIELDGUIDE_TOKEN") or None
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"the token cannot be read: {error}") from error
    if not text:
        raise typer.BadParameter(f"{file} is empty; it should hold the token")
    return text
