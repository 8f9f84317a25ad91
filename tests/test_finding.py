"""Which pictures a path, a folder or a pattern stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from fieldguide.classifier import find_pictures


@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_pattern_gives_each_picture_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    for name in ("a.jpg", "sub/b.jpg", "sub/below/c.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).touch()
    monkeypatch.chdir(tmp_path)
    expected = ["pictures/a.jpg", "pictures/sub/b.jpg", "pictures/sub/below/c.png"]
    for pattern in ("pictures/**", "pictures*", "pictures/**/*"):
        found = [Path(name).as_posix() for name in find_pictures([prefix + pattern])]
        assert sorted(found) == expected
    assert len(list(find_pictures(["pictures", "pictures"]))) == 6  # what is given twice is asked for twice
