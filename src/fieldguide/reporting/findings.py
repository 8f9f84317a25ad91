"""The findings of an audit in the order in which pages tell them."""

from __future__ import annotations

from fieldguide.auditing.summary import summarised
from fieldguide.records import Audit, Finding

SEVERITIES = ("error", "warning", "note")


def ordered_findings(audit: Audit) -> tuple[Finding, ...]:
    """Errors first; those that come one to a picture are told together."""

    def severity(finding: Finding) -> int:
        return SEVERITIES.index(finding.severity) if finding.severity in SEVERITIES else len(SEVERITIES)

    return tuple(sorted(summarised(audit.findings), key=severity))
