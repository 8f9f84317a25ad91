"""What the benchmarks share: timing a whole command with its memory, and rows of results that say where they come from."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from fieldguide.evaluation.metrics import wilson_interval

Row = dict[str, str]

RESULTS = Path(__file__).parent / "results"


def run_command(command: list[str], **environment: str) -> tuple[float, float, str]:
    """Runs a command; returns wall seconds, peak memory in MB (summed PSS of its process tree), and its stdout."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    peak = [0.0]
    watcher = threading.Thread(target=_watch, args=(process.pid, peak), daemon=True)
    watcher.start()
    output, _ = process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return seconds, peak[0], output


def add_row(name: str, row: dict[str, Any]) -> None:
    """Appends a row to results/NAME.csv, with machine, versions, commit and the load beside it."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    row = {
        **row,
        "date": date.today().isoformat(),
        "machine": _machine(),
        "versions": " ".join(f"{n}={version(n)}" for n in ("tensorflow", "keras", "openvino", "pillow", "numpy")),
        "commit": commit,
        "load_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else "",
    }
    path = RESULTS / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    rows = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    # A column that older rows lack comes last and is empty in them.
    columns = list(dict.fromkeys([*(rows[0] if rows else ()), *row]))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([*rows, row])
    print(row, flush=True)


def accuracy_cell(accuracy: float, count: int, *, more: str = "") -> str:
    """An accuracy as the README's tables give it: with its 95 % interval and the number of pictures."""
    low, high = wilson_interval(round(accuracy * count), count)
    return f"**{accuracy:.2%}** ({low:.2%} to {high:.2%}, n = {count:,}{more})"


def newest_of_each_seed(rows: Iterable[Row]) -> list[Row]:
    """Rows of one measurement, oldest first: the last one of each seed."""
    by_seed: dict[str, Row] = {}
    for row in rows:
        by_seed.pop(row["seed"], None)
        by_seed[row["seed"]] = row
    return list(by_seed.values())


def timed(rows: Sequence[Row]) -> list[Row]:
    """Those whose time is that of the machine and of the newest code among them: no `note`, and the last commit."""
    whole = [row for row in rows if not row.get("note")]
    return [row for row in whole if row["commit"] == whole[-1]["commit"]]


def read_rows(name: str) -> list[Row]:
    """The rows of results/NAME.csv; none where there is no such file."""
    path = RESULTS / f"{name}.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _watch(pid: int, peak: list[float]) -> None:
    while True:
        try:
            parent = psutil.Process(pid)
            if parent.status() == psutil.STATUS_ZOMBIE:
                return
            total = sum(p.memory_full_info().pss for p in [parent, *parent.children(recursive=True)])
            peak[0] = max(peak[0], total / 1e6)
        except psutil.Error:
            if not psutil.pid_exists(pid):
                return
        time.sleep(0.5)  # reading PSS holds up the process that is measured


def _machine() -> str:
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    flags = ""
    if info.exists():
        text = info.read_text()
        model = next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")), model)
        flags = " bf16" if "avx512_bf16" in text or "amx_bf16" in text else " avx512" if "avx512f" in text else " avx2"
    return f"{os.cpu_count()} cores {model}{flags}"
