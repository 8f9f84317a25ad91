"""The audit's own pass: embeddings by the default recipe's network, copies, and what classifiers make of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.auditing.audit import audit_scan
from fieldguide.auditing.content import audit_content
from fieldguide.data.copies import Copies, find_copies
from fieldguide.data.neighbours import Space, principal_space
from fieldguide.data.scan import Scan, take
from fieldguide.records import Audit, ImageIndex


@dataclass(frozen=True, eq=False)
class Looked:
    """An audit, and what it was made from."""

    audit: Audit
    copies: Copies
    groups: NDArray[np.int64]  # (num_images,); equal for copies and for pictures of one group of the user's
    space: Space | None  # the embeddings in few dimensions; None for a look without them


def look_at(index: ImageIndex, scanned: Scan, embeddings: NDArray[Any] | None, *, seed: int, with_test: bool = True) -> Looked:
    """Audits a scanned folder.

    Args:
        index: what was scanned.
        scanned: its usable pictures.
        embeddings: (num_images, embedding_size); None for a look without them.
        seed: of the folds by which labels are judged.
        with_test: whether the labels of the test part are judged as well; a training leaves them alone.
    """
    space = principal_space(embeddings) if embeddings is not None else None
    copies = find_copies(scanned, space)
    keys = [f"group {image.group}" if image.group else key for image, key in zip(scanned.images, copies.keys, strict=True)]
    groups = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    content = None
    if embeddings is not None:
        positions = np.array([i for i, image in enumerate(scanned.images) if with_test or image.part != "test"], np.int64)
        images = [scanned.images[i] for i in positions]
        content = audit_content(images, index.class_names, take(embeddings, positions), groups[positions], seed=seed)
    return Looked(audit_scan(index, scanned, copies, content), copies, groups, space)
