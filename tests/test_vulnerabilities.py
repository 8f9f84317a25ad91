"""What `make audit` says and with which status, without a network."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def script() -> Any:
    path = Path(__file__).parent.parent / "benchmarks" / "vulnerabilities.py"
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def answer(monkeypatch: pytest.MonkeyPatch, stdout: str, stderr: str = "") -> None:
    done = SimpleNamespace(stdout=stdout, stderr=stderr, returncode=1)
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: done)


def test_a_database_that_cannot_be_asked_is_said_and_passes(script: Any, monkeypatch: Any, capsys: Any):
    answer(monkeypatch, "", "ERROR: Could not connect to the service\n")
    assert script.main() == 0
    assert "nothing is known: ERROR: Could not connect" in capsys.readouterr().out


def test_packages_that_were_not_found_count_as_unknown(script: Any, monkeypatch: Any, capsys: Any):
    answer(monkeypatch, json.dumps({"dependencies": [{"name": "numpy", "skip_reason": "Dependency not found"}]}))
    assert script.main() == 0
    assert "1 of 1 packages could not be asked for, so nothing is known of them: numpy" in capsys.readouterr().out


def test_a_vulnerability_fails_unless_it_is_accepted_with_a_reason(script: Any, monkeypatch: Any, capsys: Any):
    found = {"id": "PYSEC-1", "aliases": ["CVE-2026-1"], "fix_versions": ["13.0.1"]}
    answer(monkeypatch, json.dumps({"dependencies": [{"name": "pillow", "version": "13.0.0", "vulns": [found]}]}))
    assert script.main() == 1
    assert "pillow 13.0.0: PYSEC-1 CVE-2026-1; fixed in 13.0.1" in capsys.readouterr().out
    monkeypatch.setattr(script, "ACCEPTED", {"CVE-2026-1": "we do not use that part"})
    assert script.main() == 0
    assert "accepted: we do not use that part" in capsys.readouterr().out
