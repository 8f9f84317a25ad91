"""Runs the guide's commands and records what they print, for the pages to show.

    python docs/record_outputs.py

Writes `snippets/NAME.txt` beside `snippets/NAME.sh` or `NAME.py`. A test (marked slow) runs the same and compares.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

SNIPPETS = Path(__file__).parent / "snippets"
RECORDED = ("demo.sh", "demo_audit.sh", "demo_predict.sh", "demo_predict_json.sh", "interval.py")  # in the order of the guide


def run(snippet: Path, directory: Path, **environment: str) -> str:
    """What a snippet prints on both streams, run as a reader would, in `directory`."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, str(snippet)] if snippet.suffix == ".py" else ["sh", "-eu", str(snippet)]
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, "PATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{snippet.name} ended with {done.returncode}:\n{done.stdout}")
    progress = r"^([\w +]+|epoch [\d/]+ step [\d/]+): [\d,]+ (%,.* left.*|(pictures|images) in [\d:]+.*)\n"
    output = re.sub(progress, "", done.stdout, flags=re.MULTILINE)
    return output.replace(str(directory.resolve()), "/home/you")


def record() -> dict[str, str]:
    """What each recorded snippet prints, run one after the other in one empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder, "cache"))
        return {name: run(SNIPPETS / name, Path(folder), FIELDGUIDE_CACHE=cache) for name in RECORDED}


if __name__ == "__main__":
    for name, output in record().items():
        (SNIPPETS / name).with_suffix(".txt").write_text(output.strip("\n") + "\n", encoding="utf-8")
