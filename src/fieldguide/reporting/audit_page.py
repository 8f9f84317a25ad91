"""The page of an audit: contact sheets of what was found, in one file that needs no network and holds no script."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fieldguide.records import Audit, Finding
from fieldguide.reporting import templating, wording
from fieldguide.reporting.findings import ordered_findings

_MOST_PICTURES = 48  # of a kind of finding
_MOST_FILES = 100  # of a kind of finding whose pictures are not shown
_MOST_SETS = 24  # of near-copies
_MOST_PER_SET = 6
_IN_SETS = ("near_copy", "copy_conflict", "leak")  # pictures that belong together are shown together

_TITLES = {
    "label_error": "Labels to look at first",
    "near_copy": "Near-copies",
    "copy_conflict": "One picture, two labels",
    "leak": "Test pictures that training has seen",
    "copies": "Exact copies",
    "dark": "Dark",
    "bright": "Bright",
    "blurred": "Blurred",
    "low_information": "Nearly empty",
    "tiny": "Tiny",
    "aspect": "Long and narrow",
    "stranger": "Strangers: like no class",
    "outlier": "Unlike their class",
    "artefact": "What gives a class away",
    "confusable_classes": "Classes that look alike",
    "imbalance": "Imbalance",
    "small_class": "Small classes",
}


def audit_page(audit: Audit, *, name: str, thumbnails: Mapping[str, bytes]) -> str:
    """The page as HTML; the same arguments give the same text.

    Args:
        audit: what was found.
        name: of the folder.
        thumbnails: small JPEG files by the path of their picture; `shown_in_audit` tells which are worth making.
    """
    environment = templating.environment(wording.percent, wording.number, wording.interval)
    counts = audit.images_per_class
    return environment.get_template("audit.html.jinja").render(
        audit=audit,
        name=name,
        quoted_name=shlex.quote(name),
        largest=max(counts.values(), default=1) or 1,
        sections=[_section(finding, audit, thumbnails) for finding in ordered_findings(audit)],
    )


def shown_in_audit(audit: Audit) -> tuple[str, ...]:
    """The paths of the pictures that `audit_page` shows, each once."""
    shown = (entry for finding in ordered_findings(audit) for group in _sheets(finding, audit) for entry in group)
    return tuple(dict.fromkeys(path for path, _ in shown))


def _section(finding: Finding, audit: Audit, thumbnails: Mapping[str, bytes]) -> dict[str, Any]:
    title = _TITLES.get(finding.kind, finding.kind.replace("_", " ").capitalize())
    groups = [[_picture(path, words, thumbnails) for path, words in group] for group in _sheets(finding, audit)]
    shown = sum(map(len, groups))
    listed = () if groups else finding.paths[:_MOST_FILES]
    return {
        "title": title,
        "severity": finding.severity,
        "message": finding.message,
        "groups": groups,
        "is_in_sets": finding.kind in _IN_SETS,
        "num_more": len(finding.paths) - (shown or len(listed)),
        "paths": listed,
    }


def _sheets(finding: Finding, audit: Audit) -> list[list[tuple[str, str]]]:
    """Groups of (path, words below the picture); none for files that were left out, which nobody can show."""
    usable_kinds = _TITLES.keys() - {"copies"}
    if finding.kind not in usable_kinds or not finding.paths:
        return []
    if finding.kind == "label_error":
        alike = sorted((f for f in audit.findings if f.kind == "label_error"), key=lambda f: -(f.score or 0.0))
        return [[(f.paths[0], f"looks like {f.suggested}, {wording.percent(f.score)}") for f in alike[:_MOST_PICTURES]]]
    if finding.kind == "leak":
        return [[(test, "test"), (learned, "training")] for test, learned in audit.leaks[:_MOST_SETS]]
    if finding.kind == "near_copy":
        sets: Sequence[tuple[str, ...]] = [f.paths for f in audit.findings if f.kind == "near_copy"]
        return [[(path, "") for path in paths[:_MOST_PER_SET]] for paths in sets[:_MOST_SETS]]
    if finding.kind == "copy_conflict":
        return [[(path, "") for path in finding.paths[:_MOST_PER_SET]]]
    return [[(path, "") for path in finding.paths[:_MOST_PICTURES]]]


def _picture(path: str, words: str, thumbnails: Mapping[str, bytes]) -> dict[str, Any]:
    content = thumbnails.get(path)
    encoded = base64.b64encode(content).decode("ascii") if content else None
    return {"path": path, "words": words, "source": f"data:image/jpeg;base64,{encoded}" if encoded else None}
