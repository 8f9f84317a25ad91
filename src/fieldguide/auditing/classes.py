"""Classes by their numbers: imbalance, and classes too small to judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from fieldguide.records import Finding, ImageIndex, LabeledImage

_IMBALANCE_NOTED, _IMBALANCE_WARNED = 4.0, 20.0  # largest by smallest class
_FEWEST_LEARNED = 20
_FEWEST_SCORED = 30  # one picture more or less changes the score by 3 points


def class_findings(index: ImageIndex, images: Sequence[LabeledImage]) -> Iterable[Finding]:
    """Findings `imbalance` and `small_class`."""
    learned = Counter(image.label for image in images if image.part != "test")
    scored = Counter(image.label for image in images if image.part == "test")
    counts = {name: learned[label] for label, name in enumerate(index.class_names)}
    if len(counts) > 1 and min(counts.values()) > 0:
        most, fewest = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
        ratio = counts[most] / counts[fewest]
        if ratio >= _IMBALANCE_NOTED:
            severity = "warning" if ratio >= _IMBALANCE_WARNED else "note"
            text = (
                f"{most!r} has {counts[most]:,} pictures to learn from, {fewest!r} {counts[fewest]:,}: a ratio of {ratio:.0f}. "
                "The rare class is named too seldom, and accuracy hides it: look at its recall"
            )
            yield Finding("imbalance", severity, (), text, score=ratio)
    small = [f"{name!r} ({count})" for name, count in counts.items() if 0 < count < _FEWEST_LEARNED]
    if small:
        text = f"Fewer than {_FEWEST_LEARNED} pictures to learn from in {_listed(small)}: what is said of them is uncertain"
        yield Finding("small_class", "warning", (), text)
    few = [f"{name!r} ({scored[i]})" for i, name in enumerate(index.class_names) if 0 < scored[i] < _FEWEST_SCORED]
    if few:
        text = f"Fewer than {_FEWEST_SCORED} test pictures in {_listed(few)}: their scores have wide intervals"
        yield Finding("small_class", "note", (), text)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
