"""Makes a finished run of the current format, to be kept: `python -m tests.formats.make`.

For each format version there is one, tests/formats/VERSION; those of older versions are never made again, for they stand
for what users have. The network is as small as it can be.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import fieldguide
from fieldguide.storage import FORMAT_VERSION
from tests.conftest import HUES, noisy_picture

RECIPE = {"image_size": (16, 16), "filters": (4,), "units": 8, "epochs": 12, "min_steps": 60, "batch_size": 8}


def main() -> None:
    out = Path(__file__).parent / str(FORMAT_VERSION)
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "colors"
        for part, count in (("train", 16), ("test", 4)):
            for number in range(count * len(HUES)):
                name, color = list(HUES.items())[number % len(HUES)]
                (pictures / part / name).mkdir(parents=True, exist_ok=True)
                seed = number + (1000 if part == "test" else 0)
                noisy_picture(color, seed, (20, 24)).save(pictures / part / name / f"{number}.png")
        made = Path(fieldguide.train(pictures, out=Path(folder) / "run", recipe=fieldguide.Classic(**RECIPE)).directory)
        shutil.copytree(made, out, ignore=shutil.ignore_patterns("report.html", "figures"))  # made again from the others
        for path in out.rglob("*.json"):
            path.write_text(path.read_text(encoding="utf-8").replace(folder, "/data"), encoding="utf-8")
    print(sum(path.stat().st_size for path in out.rglob("*") if path.is_file()), "bytes in", out)


if __name__ == "__main__":
    main()
