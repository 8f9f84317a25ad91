"""The audit of a scanned folder: files left out, copies, leaks, odd pictures, and what looks like a mistake."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from fieldguide.auditing.artefacts import artefacts
from fieldguide.auditing.classes import class_findings
from fieldguide.auditing.content import Content
from fieldguide.auditing.quality import oddities
from fieldguide.data.copies import Copies
from fieldguide.data.index import ALSO
from fieldguide.data.scan import Scan, is_misnamed
from fieldguide.records import Audit, Finding, ImageIndex, LabeledImage

STAYS = "; they stay on one side of every split"
_LARGE_GROUP = 0.20  # of a class: such a group makes the split, and every score, depend on chance
_SEVERITY = {"not_a_picture": "note", "excluded": "note"}  # of files left out; a warning otherwise


def audit_scan(index: ImageIndex, scanned: Scan, copies: Copies, content: Content | None = None) -> Audit:
    """Looks at what a scan found.

    Finding kinds: `empty`, `truncated`, `not_an_image`, `unsupported`, `too_large`, `unreadable`, `needs_heic`,
    `not_a_picture`, `empty_folder`, `excluded` (left out); `misnamed`, `animated`, `sixteen_bit` (used all the same); `copies`,
    `near_copy`, `copy_conflict`, `leak`; `dark`, `bright`, `blurred`, `low_information`, `tiny`, `aspect` (odd pictures);
    `artefact` (what gives a class away); `large_group`; `missing_class` (no picture of a class in the test part), `imbalance`,
    `small_class`. With `content` also what only embeddings show: see there.
    """
    counts = Counter(image.label for image in scanned.images)
    leaks = copies.leaks(scanned.images)
    findings = [
        *_left_out(scanned),
        *_unusual_files(scanned),
        *_copy_findings(index, scanned, copies, leaks),
        *(content.findings if content else ()),
        *_artefacts(index, scanned),
        *class_findings(index, scanned.images),
        *_large_groups(index, scanned.images),
        *_missing_classes(index, scanned.images),
        *_odd_pictures(scanned),
    ]
    return Audit(
        findings=tuple(findings),
        num_images=len(scanned.images),
        class_names=index.class_names,
        images_per_class={name: counts[label] for label, name in enumerate(index.class_names)},
        groups=tuple(tuple(scanned.images[i].path for i in group) for group in copies.groups),
        leaks=tuple((scanned.images[i].path, scanned.images[j].path) for i, j in leaks),
        label_noise=content.label_noise if content else None,
    )


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


def _copy_findings(index: ImageIndex, scanned: Scan, copies: Copies, leaks: Sequence[tuple[int, int]]) -> Iterable[Finding]:
    def paths_of(positions: Iterable[int]) -> tuple[str, ...]:
        return tuple(scanned.images[i].path for i in positions)

    set_of = {i: k for k, positions in enumerate(copies.exact) for i in positions}
    for group in copies.groups:
        labels = sorted({scanned.images[i].label for i in group})
        is_exact = len({set_of.get(i, -1 - i) for i in group}) == 1
        if len(labels) > 1:
            names = " and ".join(index.class_names[label] for label in labels)
            same = "The same picture" if is_exact else "Nearly the same picture"
            text = f"{same} is labelled {names}; one of them is wrong"
            yield Finding("copy_conflict", "error", paths_of(group), text)
    if leaks:
        num_exact = sum(i in set_of and set_of[i] == set_of.get(j) for i, j in leaks)
        kinds = "copies" if num_exact == len(leaks) else "near-copies" if not num_exact else "copies or near-copies"
        text = f"{len(leaks)} test picture(s) are {kinds} of training pictures: the test score is given with and without them"
        yield Finding("leak", "warning", paths_of(k for pair in leaks for k in pair), text)

    def straddles(positions: Sequence[int]) -> bool:
        """Whether the layout puts them into several parts; pictures that are learned from as well follow the others."""
        return len({scanned.images[i].part for i in positions} - {ALSO}) > 1

    seen = [
        i for group in copies.groups for i in group if scanned.images[i].part == "val" and _has_part(scanned, group, "train")
    ]
    if seen:
        text = (
            f"{len(seen)} validation picture(s) are copies or near-copies of training pictures: the validation score is too "
            "good, and tells little of what was chosen by it"
        )
        yield Finding("leak", "warning", paths_of(seen), text)
    leaked = {i for i, _ in leaks}
    exact = [[i for i in positions if i not in leaked] for positions in copies.exact]
    exact = [positions for positions in exact if len(positions) > 1]
    if exact:
        paths = paths_of(i for positions in exact for i in positions)
        stays = "" if any(map(straddles, exact)) else "; a set stays on one side of every split"
        yield Finding("copies", "note", paths, f"{len(paths)} pictures form {len(exact)} set(s) of exact copies{stays}")
    for group in copies.groups:
        if len({set_of.get(i, -1 - i) for i in group}) > 1:
            stays = "" if straddles(group) else STAYS
            yield Finding("near_copy", "note", paths_of(group), f"{len(group)} pictures are near-copies of each other{stays}")


def _has_part(scanned: Scan, positions: Iterable[int], part: str) -> bool:
    return any(scanned.images[i].part == part for i in positions)


def _artefacts(index: ImageIndex, scanned: Scan) -> Iterable[Finding]:
    labels = np.array([image.label for image in scanned.images], np.int64)
    for found in artefacts(scanned.facts, labels, len(index.class_names)):
        name = index.class_names[found.label]
        text = (
            f"{found.feature.capitalize()} alone tells {name!r} from the other classes: right in {found.accuracy:.0%} where "
            f"chance is right in 50 % ({name}: {found.typical}; the others: {found.typical_of_others}). A network may be "
            "learning that instead of what the pictures show"
        )
        yield Finding("artefact", "warning" if found.is_of_file else "note", (), text, score=found.accuracy)


def _odd_pictures(scanned: Scan) -> Iterable[Finding]:
    for oddity in oddities(scanned.facts):
        count = len(oddity.positions)
        text = f"{count:,} picture{'s' if count != 1 else ''} {oddity.text}"
        yield Finding(oddity.kind, "note", tuple(scanned.images[i].path for i in oddity.positions), text)


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
