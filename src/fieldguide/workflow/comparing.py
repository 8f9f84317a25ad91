"""Two finished runs on the same pictures."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path

from fieldguide.bundle import read_tensors
from fieldguide.data import decoding
from fieldguide.data.index import labelled_pictures
from fieldguide.errors import BundleError, DatasetError, DecodeError
from fieldguide.evaluation.compare import Comparison
from fieldguide.evaluation.compare import compare as compare_evaluations
from fieldguide.reporting.comparison import shown_flips, write_comparison
from fieldguide.storage import read_json
from fieldguide.workflow.finished import evaluate

_THUMBNAIL_COVER = (192, 192)


def compare(
    run_a: str | os.PathLike[str],
    run_b: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    html: str | os.PathLike[str] | None = None,
    precision: str = "auto",
) -> Comparison:
    """Whether run B is better than run A: their answers on the same pictures, pair by pair.

    Args:
        run_a: a run folder; with `data` also a bundle folder or a zip.
        run_b: the same.
        data: labelled pictures to score both on, as in `evaluate`; their own test parts when None.
        html: where to write a page that shows the comparison and the pictures that flipped; nowhere when None.
        precision: of the engine, with `data`.

    Raises:
        BundleError: if a run is not finished.
        DatasetError: if the two were scored on different pictures, or know different classes; the message says how.
    """
    a, b = (evaluate(run, data=data, precision=precision) for run in (run_a, run_b))
    names = (os.fspath(run_a), os.fspath(run_b))
    if a.part != b.part:
        raise DatasetError(
            f"{names[0]!r} was scored on its {a.part} part and {names[1]!r} on its {b.part} part.\n"
            "hint: score both on the same pictures with `--data DIR`."
        )
    result = dataclasses.replace(compare_evaluations(a, b, names=names), skipped=a.skipped)
    if html is not None:
        paths = [flip.path for flip in shown_flips(result)]
        thumbnails: dict[str, bytes] = {}
        if data is not None:
            thumbnails = _decoded(Path(labelled_pictures(data, a.class_names).root), paths)
        else:
            for run in (run_a, run_b):
                thumbnails |= _of_run(Path(run).expanduser(), [path for path in paths if path not in thumbnails])
        write_comparison(Path(html).expanduser(), result, thumbnails)
    return result


def _of_run(run: Path, paths: list[str]) -> dict[str, bytes]:
    """Those that the run kept; others from the pictures themselves, where they still are where they were."""
    kept = run / "evaluation" / "thumbnails.safetensors"
    found = {path: jpeg.tobytes() for path, jpeg in read_tensors(kept).items()} if kept.is_file() else {}
    try:
        root = Path(read_json(run / "index.json")["root"])
    except (BundleError, KeyError):
        return found
    return found | _decoded(root, [path for path in paths if path not in found])


def _decoded(root: Path, paths: list[str]) -> dict[str, bytes]:
    found = {}
    for path in paths:
        with contextlib.suppress(DecodeError, OSError):  # moved or deleted since: the page says its name
            content = decoding.read_file(root / path)
            found[path] = decoding.thumbnail(decoding.decode(content, cover=_THUMBNAIL_COVER).pixels)
    return found
