"""Pictures that are the same, exactly or nearly: what must stay on one side of a split, and what leaks across the given one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from fieldguide.data.near_copies import linked, near_copy_groups
from fieldguide.data.neighbours import Space
from fieldguide.data.scan import Scan
from fieldguide.records import LabeledImage


@dataclass(frozen=True)
class Copies:
    """Sets of two or more positions of a scan.

    Attributes:
        exact: pictures whose decoded pixels are equal.
        groups: exact and near-copies together; each exact set lies within one of these.
        num_images: of the scan.
    """

    exact: tuple[tuple[int, ...], ...]
    groups: tuple[tuple[int, ...], ...]
    num_images: int

    @property
    def keys(self) -> list[str]:
        """One per picture, equal where they are copies or near-copies: what `split_images` takes."""
        keys = [str(i) for i in range(self.num_images)]
        for group in self.groups:
            for i in group:
                keys[i] = str(group[0])
        return keys

    def leaks(self, images: Sequence[LabeledImage]) -> list[tuple[int, int]]:
        """Each test picture that has a copy or near-copy in the training or validation part of the layout, with that copy.

        An exact copy comes before others.
        """
        set_of = {i: k for k, positions in enumerate(self.exact) for i in positions}
        pairs = []
        for group in self.groups:
            learned = [i for i in group if images[i].part in ("train", "val")]
            for i in group if learned else ():
                if images[i].part == "test":
                    same = [j for j in learned if i in set_of and set_of[i] == set_of.get(j)]
                    pairs.append((i, (same or learned)[0]))
        return pairs


def find_copies(scanned: Scan, space: Space | None = None) -> Copies:
    """Compares all pictures of a scan.

    Args:
        scanned: with hashes of pixels, and sketches.
        space: the embeddings, with which cropped copies are found as well.
    """
    by_hash: dict[str, list[int]] = defaultdict(list)
    for i, facts in enumerate(scanned.facts):
        by_hash[facts.pixel_hash].append(i)
    exact = [positions for positions in by_hash.values() if len(positions) > 1]
    near = near_copy_groups([facts.sketch for facts in scanned.facts], space)
    pairs = [(group[0], i) for group in (*exact, *near) for i in group[1:]]
    groups = linked(len(scanned.facts), pairs)
    return Copies(tuple(map(tuple, exact)), tuple(map(tuple, groups)), len(scanned.facts))
