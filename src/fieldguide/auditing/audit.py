"""The audit of a scanned folder: files left out, copies, leaks, and what looks like a mistake."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from fieldguide.data.scan import Scan, is_misnamed
from fieldguide.records import Audit, Finding, ImageIndex, LabeledImage

_LARGE_GROUP = 0.20  # of a class: such a group makes the split, and every score, depend on chance
_SEVERITY = {"not_a_picture": "note"}  # of files left out; a warning otherwise


def audit_scan(index: ImageIndex, scanned: Scan) -> Audit:
    """Looks at what a scan found.

    Finding kinds: `empty`, `truncated`, `not_an_image`, `unsupported`, `too_large`, `unreadable`, `needs_heic`,
    `not_a_picture`, `empty_folder` (left out); `misnamed`, `animated`, `sixteen_bit` (used all the same); `copies`,
    `copy_conflict`, `leak`; `large_group`; `missing_class` (no picture of a class in the test part).
    """
    counts = Counter(image.label for image in scanned.images)
    copies = _copies(scanned)
    leaks = _leaks(scanned, copies)
    findings = [
        *_left_out(scanned),
        *_unusual_files(scanned),
        *_copy_findings(index, scanned, copies, leaks),
        *_large_groups(index, scanned.images),
        *_missing_classes(index, scanned.images),
    ]
    return Audit(
        findings=tuple(findings),
        num_images=len(scanned.images),
        class_names=index.class_names,
        images_per_class={name: counts[label] for label, name in enumerate(index.class_names)},
        groups=tuple(tuple(scanned.images[i].path for i in group) for group in copies),
        leaks=tuple((scanned.images[i].path, scanned.images[j].path) for i, j in leaks),
    )


def leaked_positions(scanned: Scan) -> Mapping[int, int]:
    """Position of each test picture that has a copy in the training part, and the position of that copy."""
    return dict(_leaks(scanned, _copies(scanned)))


def _copies(scanned: Scan) -> list[list[int]]:
    by_hash: dict[str, list[int]] = defaultdict(list)
    for i, facts in enumerate(scanned.facts):
        by_hash[facts.pixel_hash].append(i)
    return [positions for positions in by_hash.values() if len(positions) > 1]


def _leaks(scanned: Scan, copies: list[list[int]]) -> list[tuple[int, int]]:
    pairs = []
    for positions in copies:
        learned = [i for i in positions if scanned.images[i].part in ("train", "val")]
        if learned:
            pairs += [(i, learned[0]) for i in positions if scanned.images[i].part == "test"]
    return pairs


def _left_out(scanned: Scan) -> Iterable[Finding]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    messages: dict[str, Counter[str]] = defaultdict(Counter)
    for skipped in scanned.skipped:
        by_reason[skipped.reason].append(skipped.path)
        messages[skipped.reason][skipped.message] += 1
    for reason, paths in sorted(by_reason.items()):
        common, _ = messages[reason].most_common(1)[0]
        detail = common if len(messages[reason]) == 1 else f"for the most part: {common}"
        what = _folders(len(paths)) if reason == "empty_folder" else _files(len(paths))
        text = f"{what} left out ({reason.replace('_', ' ')}); {detail}"
        yield Finding(reason, _SEVERITY.get(reason, "warning"), tuple(paths), text)


def _unusual_files(scanned: Scan) -> Iterable[Finding]:
    both = list(zip(scanned.images, scanned.facts, strict=True))
    misnamed = tuple(image.path for image, facts in both if is_misnamed(image.path, facts.format))
    if misnamed:
        text = f"{_files(len(misnamed))} with an extension of another format; read by content, and used"
        yield Finding("misnamed", "note", misnamed, text)
    animated = tuple(image.path for image, facts in both if facts.is_animated)
    if animated:
        yield Finding("animated", "note", animated, f"{_files(len(animated))} with several frames; the first is used")
    deep = [(image, facts.brightest) for image, facts in both if facts.brightest is not None]
    brightest = max((value for _, value in deep if value is not None), default=65535)
    if deep and brightest <= 16383:  # 14 bits or fewer in a 16-bit file
        bits = max(brightest.bit_length(), 8)
        text = (
            f"{_files(len(deep))} with 16 bits whose largest value is {brightest}: they hold {bits} bits and come out "
            f"nearly black; give --sixteen-bit-max {2**bits - 1}"
        )
        yield Finding("sixteen_bit", "warning", tuple(image.path for image, _ in deep), text)


def _copy_findings(
    index: ImageIndex, scanned: Scan, copies: list[list[int]], leaks: Sequence[tuple[int, int]]
) -> Iterable[Finding]:
    for positions in copies:
        labels = sorted({scanned.images[i].label for i in positions})
        if len(labels) > 1:
            names = " and ".join(index.class_names[label] for label in labels)
            paths = tuple(scanned.images[i].path for i in positions)
            yield Finding("copy_conflict", "error", paths, f"The same picture is labelled {names}; one of them is wrong")
    if leaks:
        paths = tuple(scanned.images[k].path for pair in leaks for k in pair)
        text = f"{len(leaks)} test picture(s) are copies of training pictures: the test score is given with and without them"
        yield Finding("leak", "warning", paths, text)
    leaked = {i for i, _ in leaks}
    rest = [[i for i in positions if i not in leaked] for positions in copies]
    paths = tuple(scanned.images[i].path for positions in rest if len(positions) > 1 for i in positions)
    if paths:
        num_sets = sum(len(positions) > 1 for positions in rest)
        text = f"{len(paths)} pictures form {num_sets} set(s) of exact copies; a set stays on one side of every split"
        yield Finding("copies", "note", paths, text)


def _large_groups(index: ImageIndex, images: Sequence[LabeledImage]) -> Iterable[Finding]:
    per_class = Counter(image.label for image in images)
    members: dict[tuple[str, int], list[str]] = defaultdict(list)
    for image in images:
        if image.group is not None:
            members[image.group, image.label].append(image.path)
    for (group, label), paths in sorted(members.items()):
        share = len(paths) / per_class[label]
        if share > _LARGE_GROUP and len(paths) > 1:
            text = (
                f"Group {group!r} holds {share:.0%} of class {index.class_names[label]!r}; with groups this large the "
                "scores depend on which side it falls"
            )
            yield Finding("large_group", "warning", tuple(paths), text)


def _missing_classes(index: ImageIndex, images: Sequence[LabeledImage]) -> Iterable[Finding]:
    for part in ("val", "test"):
        present = {image.label for image in images if image.part == part}
        missing = [name for label, name in enumerate(index.class_names) if label not in present]
        if present and missing:
            text = f"The {part} part has no picture of {', '.join(missing)}: nothing is known of their accuracy"
            yield Finding("missing_class", "warning", (), text)


def _folders(count: int) -> str:
    return f"{count:,} folder{'s' if count != 1 else ''}"


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"
