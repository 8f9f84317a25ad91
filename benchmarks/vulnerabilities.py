"""Known vulnerabilities of the packages that constraints.txt pins: what `make audit` runs.

Exit status 1 where one is known that is not in `ACCEPTED`; 0 where none is, and where the database cannot be asked: then that
is said, for nothing is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parent.parent / "constraints.txt"
ACCEPTED: Mapping[str, str] = {}  # name of a vulnerability -> why it does not reach us


def main() -> int:
    options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "15", "--format", "json"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"The database could not be asked, so nothing is known: {reason}")
        return 0
    lines, num_open = judged(packages)
    print("\n".join(lines))
    return int(num_open > 0)


def judged(packages: list[dict[str, Any]]) -> tuple[list[str], int]:
    """What to say of pip-audit's answer, and how many vulnerabilities are not accepted."""
    asked = [package for package in packages if "vulns" in package]
    skipped = [package for package in packages if "vulns" not in package]
    lines, num_open = [], 0
    for package in asked:
        for found in package["vulns"]:
            names = [found["id"], *found.get("aliases", ())]
            reason = next((ACCEPTED[name] for name in names if name in ACCEPTED), None)
            num_open += reason is None
            fixed = ", ".join(found.get("fix_versions", ())) or "no version"
            what = f"accepted: {reason}" if reason else f"fixed in {fixed}"
            lines.append(f"{package['name']} {package['version']}: {' '.join(names)}; {what}")
    if skipped:
        lines.append(
            f"{len(skipped)} of {len(packages)} packages could not be asked for, so nothing is known of them: "
            + ", ".join(package["name"] for package in skipped[:5])
            + (", ..." if len(skipped) > 5 else "")
        )
    lines.append(f"{len(asked)} packages asked for, {num_open} open vulnerabilities")
    return lines, num_open


if __name__ == "__main__":
    raise SystemExit(main())
