from __future__ import annotations

from fieldguide.data.index import index_folder
from fieldguide.demonstration import write_digits
from fieldguide.workflow import audit


def test_the_digits_are_written_with_their_planted_faults(tmp_path):
    folder = write_digits(tmp_path / "digits")
    assert len(index_folder(folder).images) == 1797 + 3  # two copies and a leaked picture
    kinds = {finding.kind: finding for finding in audit(folder, progress=False, quick=True).findings}
    assert len(kinds["truncated"].paths) == 1 and len(kinds["copies"].paths) == 3
    # Of digits of 8 x 8 pixels some are near-copies by themselves, and so are counted beside the planted one.
    assert any(path.endswith("also-in-training.png") for path in kinds["leak"].paths)


def test_digits_that_are_there_are_left_alone(tmp_path):
    (tmp_path / "digits").mkdir()
    assert list(write_digits(tmp_path / "digits").iterdir()) == []
