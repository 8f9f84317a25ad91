"""The page a person reads after a run: one file that opens from disk and needs no network, and does without its script."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.evaluation import metrics
from fieldguide.evaluation.slices import Slices, slices_of
from fieldguide.records import PARTS, Audit, Evaluation, Run
from fieldguide.reporting import examples, explorer, figures, plots, templating, wording
from fieldguide.reporting.certainty import certainty_section
from fieldguide.reporting.findings import ordered_findings
from fieldguide.reporting.page_pictures import PagePictures
from fieldguide.reporting.rendering import to_svg
from fieldguide.storage import write_text

_MOST_EXAMPLES = 12  # of each kind
_MOST_LEAKS = 6
_MOST_PATHS = 100  # listed per finding; the rest is in audit.json
_MOST_CONFUSIONS = 30  # pairs of classes whose pictures are listed
_MOST_PATHS_PER_CONFUSION = 20
_LARGEST_TABLE = 30  # classes; more make a confusion table that nobody can read


def write_report(
    directory: Path,
    *,
    run: Run,
    audit: Audit,
    evaluations: Mapping[str, Evaluation | None],
    thumbnails: Mapping[str, bytes],
    suspects: Sequence[Mapping[str, Any]] = (),
    page: Callable[[], PagePictures | None] = lambda: None,
) -> Path:
    """Writes `report.html`, and its figures as PNG and CSV into `figures/` beside it.

    The same arguments give the same bytes. From `run.environment`, `dataset`, `date` and `command` go into the page's
    head where they are given; the rest is listed as it is.

    Args:
        directory: the run folder.
        run: what was trained, and how.
        audit: what was found in the folder.
        evaluations: by part, `train`, `val`, `test`; None or missing where there is none.
        thumbnails: small JPEG files by the path of their picture; `shown_paths` tells which are worth making.
        suspects: pictures whose label deserves a second look, most suspicious first: `path`, `label`, `suggested`,
            `probability` (of the suggested class).
        page: gives the pictures behind the numbers, or None. It is asked last, so that they may be made meanwhile.

    Returns:
        The path of the page.

    Raises:
        FieldguideError: if the folder cannot be written.
    """
    evaluation = most_telling(evaluations)
    figures.write_figures(directory / "figures", run=run, evaluation=evaluation)
    words = (wording.percent, wording.interval, wording.decimals, wording.number, wording.plain, wording.duration)
    environment = templating.environment(*words)
    verdict, caution = wording.verdict(evaluations)
    certainty = certainty_section(run, evaluations, evaluation) if evaluation else None
    training = _training(run)
    confusion = _confusion(evaluation) if evaluation else None
    pictures = page() if evaluation is not None else None
    slices = slices_of(evaluation, pictures.sizes, pictures.brightness) if evaluation and pictures else ()
    numbers = {path: i for i, path in enumerate(pictures.paths)} if pictures else {}
    text = environment.get_template("report.html.jinja").render(
        run=run,
        dataset=run.environment.get("dataset") or Path(run.directory).name,
        date=run.environment.get("date"),
        verdict=verdict,
        caution=caution,
        scores=_scores(evaluations),
        audit=audit,
        finding_groups=_finding_groups(audit),
        leaks=[[_picture(path, thumbnails) for path in pair] for pair in audit.leaks[:_MOST_LEAKS]],
        training=training,
        part_name=wording.PART_NAMES[evaluation.part] if evaluation else None,
        part=evaluation.part if evaluation else None,
        confusion=confusion,
        per_class=metrics.per_class(evaluation) if evaluation else (),
        averages=metrics.averages(evaluation) if evaluation else {},
        certainty=certainty,
        slices=[{"name": one.name, "number": i, "rows": one.rows(evaluation)} for i, one in enumerate(slices) if evaluation],
        galleries=_galleries(evaluation, thumbnails, numbers) if evaluation else [],
        suspects=[{**suspect, **_picture(suspect["path"], thumbnails, numbers)} for suspect in suspects[:_MOST_EXAMPLES]],
        explorer=_explorer(run, pictures, evaluations, evaluation, audit, slices, thumbnails)
        if evaluation and pictures
        else None,
        quoted_directory=shlex.quote(run.directory),
        python_directory=repr(run.directory),
        facts=_facts(run),
    )
    path = directory / "report.html"
    write_text(path, text)
    return path


def shown_paths(
    *, audit: Audit, evaluations: Mapping[str, Evaluation | None], suspects: Sequence[Mapping[str, Any]] = ()
) -> tuple[str, ...]:
    """The paths of the pictures that `write_report` shows, each once: those whose thumbnails it needs."""
    evaluation = most_telling(evaluations)
    paths = [path for pair in audit.leaks[:_MOST_LEAKS] for path in pair]
    paths += [suspect["path"] for suspect in suspects[:_MOST_EXAMPLES]]
    if evaluation is not None:
        paths += [evaluation.paths[i] for _, _, positions in _chosen(evaluation) for i in positions]
    return tuple(dict.fromkeys(paths))


def most_telling(evaluations: Mapping[str, Evaluation | None]) -> Evaluation | None:
    """The evaluation that the report tells of: that of the test part, else of the validation, else of the training part."""
    found = (evaluations.get(part) for part in reversed(PARTS))
    return next((evaluation for evaluation in found if evaluation is not None), None)


def _scores(evaluations: Mapping[str, Evaluation | None]) -> list[dict[str, Any]]:
    """One card per part. All intervals are drawn on one axis, from `axis_low` to 1."""
    summaries = {part: metrics.summarize(e) for part in PARTS if (e := evaluations.get(part)) is not None}
    lowest = min((summary["interval"][0] for summary in summaries.values()), default=0.0)
    axis_low = max(0.0, np.floor(20 * lowest - 0.2) / 20)
    cards: list[dict[str, Any]] = []
    for part in PARTS:
        evaluation = evaluations.get(part)
        card: dict[str, Any] = {"name": wording.PART_NAMES[part], "summary": summaries.get(part)}
        if evaluation is not None:
            bounds = [summaries[part][name] for name in ("accuracy", "interval")]
            dot, low, high = ((value - axis_low) / (1 - axis_low) for value in (bounds[0], *bounds[1]))
            card |= {"method": wording.method(evaluation), "axis_low": axis_low, "dot": dot, "low": low, "high": high}
            card["scored_before"] = wording.scored_before(evaluation.times_scored)
        cards.append(card)
    return cards


def _explorer(
    run: Run,
    page: PagePictures,
    evaluations: Mapping[str, Evaluation | None],
    shown: Evaluation,
    audit: Audit,
    slices: Sequence[Slices],
    thumbnails: Mapping[str, bytes],
) -> dict[str, Any]:
    """The script, its data, and what the page says of them."""
    source, digest = explorer.script()
    data = explorer.explorer_data(
        page,
        evaluations=evaluations,
        shown=shown,
        audit=audit,
        slices=slices,
        thumbnails=thumbnails,
        directory=shlex.quote(run.directory),
    )
    return {
        "script": source,
        "hash": digest,
        "data": data,
        "text": wording.pictures_on_page(shown, page.scored, len(page.mapped)),
    }


def _finding_groups(audit: Audit) -> list[dict[str, Any]]:
    """Findings by kind, errors first; of each at most so many paths."""
    groups: dict[str, dict[str, Any]] = {}
    for number, finding in enumerate(ordered_findings(audit)):
        name = finding.kind.replace("_", " ").replace("-", " ")
        title = name[:1].upper() + name[1:]
        group = groups.setdefault(finding.kind, {"name": title, "severity": finding.severity, "findings": []})
        paths = finding.paths[:_MOST_PATHS]
        told = {"number": number, "message": finding.message, "num_paths": len(finding.paths), "paths": paths}
        group["findings"].append(told)
    return list(groups.values())


def _training(run: Run) -> list[dict[str, Any]]:
    """Groups of figures: title, figures (svg, and reading: how to read it), text (what they show), table."""
    groups: list[dict[str, Any]] = []
    if figures.has_epochs(run):
        text = wording.curves(run, run.history[plots.best_epoch(run)])
        is_validated = "val_accuracy" in run.history[0]
        readings = wording.HOW_TO_READ_CURVES if is_validated else wording.HOW_TO_READ_CURVES_OF_TRAINING
        shown = [
            {
                "svg": to_svg(plots.curves(run, [panel]), name=f"curves-{panel}", title=f"{panel} by epoch", text=text),
                "reading": reading,
            }
            for panel, reading in readings.items()
        ]
        table = _table(run.history, figures.CURVE_COLUMNS)
        groups.append({"title": "Epoch by epoch", "figures": shown, "text": text, "table": table})
    if figures.has_path(run):
        text = wording.regularisation_path(run)
        shown = []
        for panel, reading in wording.HOW_TO_READ_PATH.items():
            figure = plots.regularisation_path(run, [panel])
            title = f"{panel} by strength of regularisation"
            shown.append({"svg": to_svg(figure, name=f"path-{panel}", title=title, text=text), "reading": reading})
        table = _table(run.history, figures.PATH_COLUMNS)
        groups.append({"title": "How strictly to regularise", "figures": shown, "text": text, "table": table})
    if run.learning_curve:
        text = wording.learning_curve(run)
        title = "accuracy by number of training pictures"
        svg = to_svg(plots.learning_curve(run), name="learning-curve", title=title, text=text)
        shown = [{"svg": svg, "reading": wording.HOW_TO_READ_LEARNING_CURVE}]
        table = _table(run.learning_curve, figures.LEARNING_CURVE_COLUMNS)
        groups.append({"title": "How many pictures it takes", "figures": shown, "text": text, "table": table})
    return groups


def _table(rows: Sequence[Mapping[str, Any]], columns: Iterable[str]) -> dict[str, Any]:
    present = [name for name in columns if any(row.get(name) is not None for row in rows)]
    titles = [name.replace("_", " ") for name in present]
    return {"columns": titles, "rows": [[row.get(name) for name in present] for row in rows]}


def _confusion(evaluation: Evaluation) -> dict[str, Any]:
    counts = metrics.confusion_matrix(evaluation)
    names = evaluation.class_names
    shares = plots.row_shares(counts)
    errors = counts * (1 - np.eye(len(counts), dtype=np.int64))
    # The largest first; of equals, in the order of the classes.
    order = np.argsort(-errors, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    pairs = [(int(i // len(counts)), int(i % len(counts))) for i in order if errors.flat[i]]
    confusions = [
        {
            "id": f"errors-{row}-{column}",
            "true": names[row],
            "predicted": names[column],
            "count": int(counts[row, column]),
            "share": float(shares[row, column]),
            "paths": [evaluation.paths[i] for i in _in_cell(evaluation, row, column)[:_MOST_PATHS_PER_CONFUSION]],
        }
        for row, column in pairs
    ]
    result = {"confusions": confusions, "num_pairs": int((errors > 0).sum()), "table": None, "svg": None}
    if len(counts) <= _LARGEST_TABLE:
        listed = {pair: f"errors-{pair[0]}-{pair[1]}" for pair in pairs}
        result["table"] = [
            {
                "name": names[row],
                "number": row,
                "total": int(counts[row].sum()),
                "cells": [
                    {
                        "count": int(counts[row, column]),
                        "share": float(shares[row, column]),
                        "is_right": row == column,
                        "link": listed.get((row, column)),
                    }
                    for column in range(len(counts))
                ],
            }
            for row in range(len(counts))
        ]
    else:
        largest = "; ".join(f"{c['true']} called {c['predicted']}: {c['count']}" for c in confusions[:10]) or "none"
        title = f"Confusion matrix of {len(counts)} classes"
        text = f"Rows are the true classes, columns the predicted ones. The largest confusions: {largest}."
        figure = plots.confusion_matrix(evaluation)
        result["svg"] = to_svg(figure, name="confusion-matrix", title=title, text=text)
    return result


def _in_cell(evaluation: Evaluation, row: int, column: int) -> NDArray[np.int64]:
    return np.flatnonzero((evaluation.labels == row) & (evaluation.predicted == column))


def _chosen(evaluation: Evaluation) -> list[tuple[str, str, NDArray[np.int64]]]:
    """Title, explanation and positions of each group of examples."""
    errors = examples.wrong(evaluation)
    worst, others = errors[:_MOST_EXAMPLES], examples.spread(errors[_MOST_EXAMPLES:], _MOST_EXAMPLES)
    shown = examples.right(evaluation, _MOST_EXAMPLES)
    return [
        ("The worst errors", "Least probability for the true class first. Look here for wrong labels, too.", worst),
        ("Other errors", "Evenly chosen from the rest, from the surest to the closest call.", others),
        ("Right answers", "Evenly chosen, from the surest to the closest call.", shown),
    ]


def _galleries(evaluation: Evaluation, thumbnails: Mapping[str, bytes], numbers: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {"title": title, "text": text, "examples": [_example(evaluation, int(i), thumbnails, numbers) for i in positions]}
        for title, text, positions in _chosen(evaluation)
        if len(positions)
    ]


def _example(
    evaluation: Evaluation, position: int, thumbnails: Mapping[str, bytes], numbers: Mapping[str, int]
) -> dict[str, Any]:
    label, predicted = int(evaluation.labels[position]), int(evaluation.predicted[position])
    probabilities = evaluation.probabilities[position]
    top = np.argsort(-probabilities, kind="stable")[:3].tolist()
    if label not in top:
        top[-1] = label
    return {
        **_picture(evaluation.paths[position], thumbnails, numbers),
        "true": evaluation.class_names[label],
        "predicted": evaluation.class_names[predicted],
        "is_right": label == predicted,
        "bars": [
            {"name": evaluation.class_names[c], "probability": float(probabilities[c]), "is_true": c == label} for c in top
        ],
    }


def _picture(path: str, thumbnails: Mapping[str, bytes], numbers: Mapping[str, int] | None = None) -> dict[str, Any]:
    content = thumbnails.get(path)
    encoded = base64.b64encode(content).decode("ascii") if content else None
    source = f"data:image/jpeg;base64,{encoded}" if encoded else None
    return {"path": path, "source": source, "number": (numbers or {}).get(path)}


def _facts(run: Run) -> list[tuple[str, Any]]:
    """What is needed to repeat the run, one row each; nested values are named `versions / keras`."""
    rows: list[tuple[str, Any]] = [
        ("recipe", run.recipe if run.chosen in ("", run.recipe) else f"{run.recipe}, which chose {run.chosen}"),
        ("seed", run.seed),
        ("layout", run.layout),
        ("data fingerprint", run.data_fingerprint),
    ]
    head = ("command", "date", "dataset")
    rows += _flat({name: value for name, value in run.environment.items() if name not in head})
    return rows


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        title = prefix + str(name).replace("_", " ")
        rows += _flat(value, f"{title} / ") if isinstance(value, Mapping) else [(title, value)]
    return rows
