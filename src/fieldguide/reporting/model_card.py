"""The model card of a run, in Markdown: what it was made from, how good it is, what is known against it.

What only its maker can say, such as the intended use, is marked as to be filled in. No path of this machine is in it.

Source: Mitchell et al. 2019, https://arxiv.org/abs/1810.03993
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fieldguide.auditing.summary import summarised
from fieldguide.evaluation import metrics
from fieldguide.records import PARTS, Audit, Evaluation, Run
from fieldguide.reporting.templating import environment
from fieldguide.reporting.wording import decimals, duration, interval, number, percent, plain

_MOST_CONFUSIONS = 3
_PART_NAMES = {"train": "training", "val": "validation", "test": "test"}


def model_card(
    *,
    name: str,
    run: Run,
    audit: Audit,
    evaluations: Mapping[str, Evaluation | None],
    image_size: tuple[int, int],
    model_hash: str = "",
) -> str:
    """The card as Markdown.

    Args:
        name: its title.
        run: what was trained.
        audit: what was found in the folder; errors and warnings become limits.
        evaluations: by part; the test part is shown, else the validation part.
        image_size: (height, width) that the network takes.
        model_hash: names the classifier.
    """
    part = next((p for p in ("test", "val") if evaluations.get(p) is not None), None)
    shown = evaluations[part] if part else None
    score = run.scores[part] if part else None
    template = environment(percent, interval, number, decimals, duration, text, autoescape=False).get_template(
        "model_card.md.jinja"
    )
    rendered = template.render(
        name=name,
        run=run,
        model_hash=model_hash,
        score=score,
        part_name=_PART_NAMES[part] if part else "",
        how=", by models that had not seen them" if shown is not None and shown.method == "out-of-fold" else "",
        counts=_counts(run.class_names, evaluations),
        parts=[{"name": _PART_NAMES[p], "score": run.scores[p]} for p in PARTS if run.scores.get(p)],
        per_class=metrics.per_class(shown) if shown is not None else (),
        confusions=_confusions(shown) if shown is not None else (),
        num_bins=metrics.NUM_BINS,
        findings=[
            finding for finding in summarised(audit.findings) if finding.severity != "note" or finding.kind == "label_error"
        ],
        label_noise=audit.label_noise,
        leaked=score["num_leaked"] if score else 0,
        image_size=image_size,
        settings=[(key.replace("_", " "), plain(value)) for key, value in run.settings.items()],
    )
    return re.sub(r"\n{3,}", "\n\n", rendered).strip() + "\n"


def text(value: str) -> str:
    r"""A name or a sentence as it is, whatever Markdown would make of its characters.

    >>> text("cats_and|dogs *1* <b>")
    'cats\\_and\\|dogs \\*1\\* &lt;b>'
    """
    one_line = " ".join(str(value).split())
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", one_line.replace("&", "&amp;").replace("<", "&lt;"))


def _counts(class_names: Sequence[str], evaluations: Mapping[str, Evaluation | None]) -> list[dict[str, Any]]:
    """Pictures of each class in each part; out-of-fold validation has none of its own."""
    rows: list[dict[str, Any]] = [{"name": name} for name in class_names]
    for part in PARTS:
        found = evaluations.get(part)
        is_own = found is not None and found.method != "out-of-fold"
        counted = np.bincount(found.labels, minlength=len(class_names)).tolist() if found is not None and is_own else []
        for label, row in enumerate(rows):
            row[part] = counted[label] if counted else None
    return rows


def _confusions(evaluation: Evaluation) -> Sequence[tuple[str, str, int]]:
    counts = metrics.confusion_matrix(evaluation)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CONFUSIONS].tolist()
    names = evaluation.class_names
    pairs = [divmod(cell, len(names)) for cell in order]
    return [(names[row], names[column], int(counts[row, column])) for row, column in pairs if counts[row, column]]
