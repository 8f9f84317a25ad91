"""Faults put into fieldguide on purpose, and what became of the work: the figures of reliability.md.

    python benchmarks/reliability.py kills [COUNT [RECIPE]]  kill -9 at COUNT (50) random moments, over the recipes in turn
    python benchmarks/reliability.py faults                  the tests of broken files, disks, caches, bundles, interruptions
    python benchmarks/reliability.py fuzz [MINUTES]          mutated files into every reader (see fuzzing.py), 10 minutes in all
    python benchmarks/reliability.py page                    writes reliability.md from the results

Each kill is a row in results/kills.csv; the command goes on where it was cut off. A run of some seconds on pictures made on
the spot is killed, taken up again by the same command, and compared with a run that nobody killed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from measure import add_row, read_rows
from PIL import Image

CHECKPOINT_SECONDS = 1.0  # in place of 30: the runs are that much shorter
RECIPES = {
    "transfer": "Transfer()",
    "classic": "Classic(image_size=(32, 32), filters=(8, 16), units=16, epochs=60, min_steps=0, batch_size=4)",
    "scratch": (
        "Scratch(image_size=(32, 32), grow_from=0.5, filters=(8, 16), blocks=(1, 1), epochs=30, min_steps=0, batch_size=4)"
    ),
    "finetune": "Finetune(image_size=(64, 64), epochs=3, min_steps=0, batch_size=8, precision='f32')",
}
COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
FAULTS = {
    "test_corpus": "broken and hostile pictures, names and folders",
    "test_foreign_bundles": "bundles from strangers",
    "test_full_disk": "full and read-only disks, at every stage",
    "test_faults": "damaged runs and caches, two trainings at once, clocks that jump",
    "test_resume": "kills, signals, other plans and other pictures",
}
TRAIN = f"""
import sys
import fieldguide
from fieldguide.training import checkpoint
from fieldguide.workflow.provenance import Stages
checkpoint.INTERVAL_SECONDS = {CHECKPOINT_SECONDS}
original = Stages.time
def time(self, name):
    print(name, flush=True)
    return original(self, name)
Stages.time = time
folder, out, recipe = sys.argv[1:]
run = fieldguide.train(folder, out=out, recipe=eval("fieldguide." + recipe), progress=False)
print("done", flush=True)
"""


def kills(count: str = "50", only: str | None = None) -> None:
    """Kills and resumes until there are `count` rows."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        dataset = make_pictures(work / "pictures")
        references: dict[str, tuple[Path, float]] = {}
        while (number := len(read_rows("kills"))) < int(count):
            recipe = only or list(RECIPES)[number % len(RECIPES)]
            if recipe not in references:
                started = time.perf_counter()
                out = work / "unkilled" / recipe
                finish(dataset, out, recipe, work / "caches" / recipe)
                references[recipe] = out, time.perf_counter() - started
            add_row("kills", kill_and_resume(number, recipe, dataset, work, *references[recipe]))


def kill_and_resume(number: int, recipe: str, dataset: Path, work: Path, reference: Path, seconds: float) -> dict[str, Any]:
    """One run, killed once or twice at random moments and taken up again."""
    chance = random.Random(number)
    out, cache = work / "killed" / str(number), work / "caches" / str(number)
    stages: list[str] = []
    moments: list[str] = []
    while not stages or (len(stages) < 2 and chance.random() < 0.3):
        moment = chance.uniform(0.02, 0.95) * seconds
        stage = _start_and_kill(dataset, out, recipe, cache, moment)
        if stage is None:  # it was done before: another moment, in a new folder
            out, cache, stages, moments = out.with_name(f"{out.name}a"), cache.with_name(f"{cache.name}a"), [], []
            seconds *= 0.8
            continue
        stages.append(stage)
        moments.append(f"{moment:.1f}")
    started = time.perf_counter()
    outcome = finish(dataset, out, recipe, cache) or _difference(reference, out)
    values = json.loads((out / "run.json").read_text(encoding="utf-8")) if (out / "run.json").is_file() else {}
    done = values.get("work") or {}
    return {
        "number": number,
        "recipe": recipe,
        "killed_after_seconds": " ".join(moments),
        "stage": " ".join(stages),
        "outcome": outcome or "equal to the bit",
        "steps": done.get("steps", ""),
        "repeated_steps": done.get("repeated_steps", ""),
        "resumed_seconds": round(time.perf_counter() - started, 1),
        "unkilled_seconds": round(seconds, 1),
    }


def _start(dataset: Path, out: Path, recipe: str, cache: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", TRAIN, str(dataset), str(out), RECIPES[recipe]]
    environment = {**os.environ, "FIELDGUIDE_CACHE": str(cache)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def _start_and_kill(dataset: Path, out: Path, recipe: str, cache: Path, moment: float) -> str | None:
    """The stage it was in, with a dash for a space; None if it was done before that moment."""
    process = _start(dataset, out, recipe, cache)
    timer = threading.Timer(moment, process.send_signal, [getattr(signal, "SIGKILL", signal.SIGTERM)])
    timer.start()
    lines = process.communicate()[0].split("\n")[:-1]
    timer.cancel()
    return None if "done" in lines else (lines[-1] if lines else "start").replace(" ", "-")


def finish(dataset: Path, out: Path, recipe: str, cache: Path) -> str:
    """What went wrong, or nothing."""
    process = _start(dataset, out, recipe, cache)
    _, error = process.communicate(timeout=1800)
    if process.returncode:
        return f"ended with {process.returncode}: {error.strip().splitlines()[-1][:200] if error.strip() else ''}"
    return ""


def _difference(reference: Path, run: Path) -> str:
    """Which of what must be equal is not."""
    one, other = _kept(reference), _kept(run)
    return "differs: " + " ".join(sorted(n for n in {*one, *other} if one.get(n) != other.get(n))) if one != other else ""


def _kept(run: Path) -> dict[str, str]:
    """The bundle, the split, the findings, every prediction, and the history without its times, as hashes."""
    found = [*(run / "bundle").iterdir(), *(run / "evaluation").glob("*.safetensors"), run / "split.json", run / "audit.json"]
    kept = {path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
    history = json.loads((run / "run.json").read_text(encoding="utf-8"))["history"]
    rows = [{name: value for name, value in row.items() if "seconds" not in name} for row in history]
    return {**kept, "history": hashlib.sha256(json.dumps(rows).encode()).hexdigest()}


def fuzz(minutes: str = "10") -> None:
    """A process for each target, one after the other; a row each, with what was found."""
    targets = ("picture", "csv_list", "folder_names", "manifest", "bundle_file", "zip_of_bundle", "record")
    for target in targets:
        with tempfile.TemporaryDirectory() as folder:
            seconds = float(minutes) * 60 / len(targets)
            command = [sys.executable, str(Path(__file__).with_name("fuzzing.py")), target, f"{seconds:.0f}", folder]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
            found = [path.read_text(encoding="utf-8").strip().splitlines()[-1] for path in Path(folder).glob("*.txt")]
            if done.returncode:  # what takes a whole process down is the worst of all
                found.append(f"the process ended with {done.returncode}: {done.stderr.strip()[-300:]}")
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            counts = json.loads(lines[-1]) if lines else {"engine": "", "seconds": "", "runs": "", "findings": ""}
            add_row("fuzz", {"target": target, **counts, "findings": len(found), "what": " | ".join(sorted(set(found)))[:500]})


def faults() -> None:
    """Runs the tests that inject faults, and counts them by file."""
    root = Path(__file__).parent.parent
    for name, what in FAULTS.items():
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            marks = ["-m", "slow or not slow"]
            command = [sys.executable, "-m", "pytest", "-q", "-n0", *marks, f"tests/{name}.py", f"--junitxml={report}"]
            subprocess.run(command, cwd=root, check=False, stdout=subprocess.DEVNULL)
            suite = ElementTree.parse(report).getroot()[0].attrib  # our own file
        tried, lost = int(suite["tests"]) - int(suite["skipped"]), int(suite["failures"]) + int(suite["errors"])
        add_row("faults", {"what": what, "tests": name, "tried": tried, "survived": tried - lost, "lost": lost})


def page() -> None:
    """Writes reliability.md."""
    Path(__file__).with_name("reliability.md").write_text(page_text(), encoding="utf-8")


def page_text() -> str:
    """What `page` writes."""
    killed, fuzzed = read_rows("kills"), read_rows("fuzz")
    latest = {row["tests"]: row for row in read_rows("faults")}
    lost = [row for row in killed if row["outcome"] != "equal to the bit"]
    moments = sum(len(row["stage"].split()) for row in killed)
    lines = [
        "# What was broken on purpose, and what was lost",
        "",
        "Made by `python benchmarks/reliability.py page` from `results/kills.csv`, `results/faults.csv` and",
        "`results/fuzz.csv`. Zero lost is the only pass.",
        "",
        "## Killed",
        "",
        f"`kill -9` at {moments} random moments in {len(killed)} runs, then the same command: {len(killed) - len(lost)} equal",
        "to the bit to a run that nobody killed (every file of the bundle, the split, the audit, every prediction, the history",
        f"without its times); {len(lost)} lost.",
        "",
        "| recipe | runs | kills | equal to the bit | most steps repeated, of | stages in which it was killed |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in dict.fromkeys(row["recipe"] for row in killed):
        rows = [row for row in killed if row["recipe"] == recipe]
        equal = sum(row["outcome"] == "equal to the bit" for row in rows)
        steps = max((int(row["repeated_steps"] or 0) for row in rows), default=0)
        total = next((row["steps"] for row in rows if row["steps"]), "")
        stages = Counter(stage for row in rows for stage in row["stage"].split())
        named = ", ".join(f"{stage.replace('-', ' ')} {count}" for stage, count in stages.most_common())
        repeated = f"{steps} of {total}" if total else "trains no network"
        lines.append(f"| {recipe} | {len(rows)} | {sum(stages.values())} | {equal} | {repeated} | {named} |")
    lines += [
        "",
        f"Checkpoints were {CHECKPOINT_SECONDS:g} s apart; they are 30 s apart outside of this benchmark.",
        "",
        "## Broken files, disks, caches and bundles",
        "",
        "| what | tried | survived | lost |",
        "|---|---|---|---|",
        *(f"| {row['what']} | {row['tried']} | {row['survived']} | {row['lost']} |" for row in latest.values()),
        "",
        "## Fuzzed",
        "",
        "| reader | engine | minutes | inputs | findings |",
        "|---|---|---|---|---|",
    ]
    for target in dict.fromkeys(row["target"] for row in fuzzed):
        rows = [row for row in fuzzed if row["target"] == target]
        minutes = sum(float(row["seconds"] or 0) for row in rows) / 60
        engine = ", ".join(dict.fromkeys(row["engine"] for row in rows if row["engine"]))
        found = "; ".join(row["what"] for row in rows if row["what"]) or "none"
        inputs = sum(int(row["runs"] or 0) for row in rows)
        lines.append(f"| {target.replace('_', ' ')} | {engine} | {minutes:.1f} | {inputs:,} | {found} |")
    return "\n".join(lines) + "\n"


def make_pictures(folder: Path) -> Path:
    """Three colors with noise, 40 pictures each."""
    for label, (name, color) in enumerate(COLORS.items()):
        (folder / name).mkdir(parents=True)
        for number in range(40):
            noise = np.random.default_rng(1000 * label + number).normal(0, 25, (72, 72, 3))
            Image.fromarray(np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


if __name__ == "__main__":
    what, *options = sys.argv[1:] or ["help"]
    actions = {"kills": kills, "faults": faults, "fuzz": fuzz, "page": page}
    if what not in actions:
        raise SystemExit(__doc__)
    actions[what](*options)
