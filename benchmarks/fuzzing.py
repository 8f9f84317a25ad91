"""Feeds one target of tests/fuzz_targets.py for some seconds, in a process of its own: `fuzzing.py TARGET SECONDS FOLDER`.

Guided by coverage with atheris where it is installed (`pip install atheris`: Linux and macOS, CPython 3.11 to 3.13), else by
mutation alone. What breaks a target lies in FOLDER afterwards; the last line printed is a JSON object with the counts.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))


def main(target_name: str, seconds: float, folder: Path) -> None:
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is None:
        from tests.fuzz_targets import TARGETS, seeds
    else:
        # Our own readers and those written in Python below them; what is compiled (libjpeg, OpenVINO) gives no coverage.
        with atheris.instrument_imports(include=["PIL", "fieldguide", "safetensors", "zipfile", "csv", "json"]):
            from tests.fuzz_targets import TARGETS, seeds
    for content in seeds(target_name):  # warms up what is loaded once
        TARGETS[target_name](content)
    folder.mkdir(parents=True, exist_ok=True)
    begun, counts = time.monotonic(), {"runs": 0, "findings": 0}

    def once(content: bytes) -> None:
        counts["runs"] += 1
        try:
            TARGETS[target_name](content)
        except Exception:
            counts["findings"] += 1
            (folder / f"{target_name}-{counts['findings']}").write_bytes(content)
            (folder / f"{target_name}-{counts['findings']}.txt").write_text(traceback.format_exc(), encoding="utf-8")
        if time.monotonic() - begun > seconds:
            answer = {"engine": "atheris" if atheris else "mutation", "seconds": round(time.monotonic() - begun), **counts}
            print(json.dumps(answer), flush=True)
            os._exit(0)  # libFuzzer would go on

    if atheris is None:
        chance = random.Random(0)
        while True:
            once(_mutated(chance.choice(seeds(target_name)), chance))
    corpus = folder / f"seeds-{target_name}"
    corpus.mkdir(exist_ok=True)
    for number, content in enumerate(seeds(target_name)):
        (corpus / str(number)).write_bytes(content)
    atheris.Setup([sys.argv[0], str(corpus), "-rss_limit_mb=4096", "-timeout=60", "-max_len=50000", "-verbosity=0"], once)
    atheris.Fuzz()


def _mutated(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(max(len(changed), 1))
        match chance.randrange(4):
            case 0 if changed:
                changed[at] = chance.randrange(256)
            case 1:
                del changed[at : at + chance.randint(1, 64)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randint(1, 16))
            case 3:
                changed[at : at + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\0\x80"))
    return bytes(changed)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
