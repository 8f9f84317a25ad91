"""An audit in few lines: findings that come one to a picture, or one to a set, are told together."""

from __future__ import annotations

from collections.abc import Sequence

from fieldguide.auditing.audit import STAYS
from fieldguide.records import Finding


def summarised(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings with all `label_error` in one, and all `near_copy` in one; in the order in which they first come."""
    result: dict[object, Finding] = {}
    for i, finding in enumerate(findings):
        if finding.kind not in _TOLD_TOGETHER:
            result[i] = finding
        elif finding.kind not in result:
            alike = [other for other in findings if other.kind == finding.kind]
            paths = tuple(path for other in alike for path in other.paths)
            result[finding.kind] = Finding(finding.kind, finding.severity, paths, _TOLD_TOGETHER[finding.kind](alike))
    return tuple(result.values())


def _labels(findings: Sequence[Finding]) -> str:
    count, expected = len(findings), sum(finding.score or 0.0 for finding in findings)
    text = f"{count:,} label{'s' if count != 1 else ''} to look at first; by estimate about {expected:.0f} of them are wrong"
    if expected < 0.6 * count:
        text += ". The others are right, of pictures that the network finds hard"
    return text


def _near_copies(findings: Sequence[Finding]) -> str:
    count = sum(len(finding.paths) for finding in findings)
    stays = "; a set stays on one side of every split" if all(f.message.endswith(STAYS) for f in findings) else ""
    return f"{count:,} pictures form {len(findings):,} set(s) of near-copies{stays}"


_TOLD_TOGETHER = {"label_error": _labels, "near_copy": _near_copies}
