"""The main job, measured from outside: whole commands, from process start to finished report.

    python benchmarks/main_job.py transfer DATASET [RUNS]    empty cache, then a full one, RUNS (3) times
    python benchmarks/main_job.py classic DATASET [SEED ...] from scratch, with each of the seeds (0 1 2); `again` before them
                                                             measures those that have their row as well
    python benchmarks/main_job.py scratch DATASET [SEED ...] likewise
    python benchmarks/main_job.py predict DATASET [RUNS]     one picture from a cold process; the whole test part
    python benchmarks/main_job.py scan DATASET               index + scan + split without embedding (as `audit`)
    python benchmarks/main_job.py large [COUNT]              decode + shrink generated 12-megapixel JPEGs
    python benchmarks/main_job.py precision DATASET          share of test pictures with the same top answer in f32 and bf16

A row per run goes to results/main-job.csv; a `note` there says why a time is not that of the machine. `classic` and `scratch`
may be stopped: the same command goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from measure import add_row, read_rows, run_command

from fieldguide.recipes.registry import recipe_of

FIELDGUIDE = [sys.executable, "-m", "fieldguide"]


def _train(
    dataset: str,
    what: str,
    recipe: str,
    seed: int,
    cache: str,
    *,
    folder: Path | None = None,
    more: Mapping[str, str] | None = None,
) -> None:
    before = os.times()
    with contextlib.ExitStack() as stack:
        out = Path(folder or stack.enter_context(tempfile.TemporaryDirectory()), "run")
        command = [*FIELDGUIDE, "train", dataset, "--out", str(out), "--recipe", recipe, "--seed", str(seed), "--json"]
        seconds, peak, output = run_command(command, FIELDGUIDE_CACHE=cache)
        starts = json.loads((out / "run.json").read_text("utf-8")).get("work", {}).get("starts", 1)
    after = os.times()
    values = json.loads(output)
    add_row(
        "main-job",
        {
            "what": what,
            "dataset": Path(dataset).name,
            "seed": seed,
            "seconds": round(seconds, 2),
            "peak_mb": round(peak),
            "val_accuracy": (values["val"] or {}).get("accuracy"),
            "test_accuracy": (values["test"] or {}).get("accuracy"),
            "num_test": (values["test"] or {}).get("num_images"),
            "detail": json.dumps({k: round(v, 2) for k, v in values["seconds"].items()}),
            "train_accuracy": values["train"]["accuracy"],
            "num_train": values["train"]["num_images"],
            "num_val": (values["val"] or {}).get("num_images"),
            "cpu_seconds": round(after.children_user + after.children_system - before.children_user - before.children_system),
            "starts": starts,  # of processes; seconds and cpu_seconds are of the last
            **(more or {}),
        },
    )


def _row(what: str, dataset: str, seconds: float, peak: float, detail: str) -> None:
    empty = dict.fromkeys(("seed", "val_accuracy", "test_accuracy", "num_test"), "")
    add_row(
        "main-job",
        {
            "what": what,
            "dataset": dataset,
            "seed": empty["seed"],
            "seconds": round(seconds, 2),
            "peak_mb": round(peak),
            **{k: empty[k] for k in ("val_accuracy", "test_accuracy", "num_test")},
            "detail": detail,
        },
    )


def _transfer(dataset: str, runs: int) -> None:
    for number in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            _train(dataset, "transfer, empty cache", "transfer", number, cache)
            _train(dataset, "transfer, cached embeddings", "transfer", number, cache)


def _from_scratch(recipe: str, dataset: str, seeds: Sequence[int], again: bool) -> None:
    """A seed that has its row with these settings is left out; one that was cut off goes on, and its row says so."""
    settings = json.dumps(recipe_of(recipe).to_json())
    for seed in seeds:
        key = {"what": recipe, "dataset": Path(dataset).name, "seed": str(seed), "settings": settings}
        if not again and any(all(row.get(name) == value for name, value in key.items()) for row in read_rows("main-job")):
            print(f"seed {seed} has its row with these settings; `again` measures it once more")
            continue
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir(), "fieldguide-main-job", digest)
        _train(dataset, recipe, recipe, seed, str(folder / "cache"), folder=folder, more={"settings": settings})
        shutil.rmtree(folder)


def _predict(dataset: str, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder, "run"))
        run_command([*FIELDGUIDE, "train", dataset, "--out", run, "--json"])
        picture = next(str(p) for p in sorted(Path(dataset).rglob("*.jpg")))
        test = str(next(p for p in Path(dataset).iterdir() if p.name.startswith("test")))
        for number in range(runs):
            empty = str(Path(folder, f"cache-{number}"))
            command = [*FIELDGUIDE, "predict", run, picture, "--json"]
            seconds, peak, _ = run_command(command, FIELDGUIDE_CACHE=empty)
            _row("predict one picture, cold process", Path(dataset).name, seconds, peak, "")
            seconds, peak, output = run_command([*FIELDGUIDE, "predict", run, test, "--json"], FIELDGUIDE_CACHE=empty)
            count = len(output.splitlines())
            rate = f"{count / seconds:.0f} images/s over {count}"
            _row("predict the test part", Path(dataset).name, seconds, peak, rate)


def _scan(dataset: str) -> None:
    with tempfile.TemporaryDirectory() as cache:
        command = [*FIELDGUIDE, "audit", dataset, "--quick", "--json"]
        seconds, peak, _ = run_command(command, FIELDGUIDE_CACHE=cache)
        _row("index + scan + audit", Path(dataset).name, seconds, peak, "without embedding")


def _large(count: int) -> None:
    import numpy as np
    from PIL import Image

    from fieldguide.data.decoding import load, read_file
    from fieldguide.data.parallel import in_order

    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        paths = []
        for number in range(20):  # twenty different pictures, written often enough
            small = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            image = Image.fromarray(small).resize((4000, 3000), Image.Resampling.BICUBIC)
            path = Path(folder, f"{number}.jpg")
            image.save(path, quality=90)
            paths += [path] * (count // 20)
        started = time.perf_counter()
        shrunk = in_order(
            lambda some: [load(read_file(p), (224, 224)).shape for p in some],
            paths,
            num_workers=os.cpu_count() or 1,
            items_per_task=4,
        )
        done = sum(1 for _ in shrunk)
        seconds = time.perf_counter() - started
    _row("decode + shrink 12-megapixel JPEGs", f"{done} generated", seconds, 0, f"{1000 * seconds / done:.1f} ms each")


def _precision(dataset: str) -> None:
    import numpy as np

    import fieldguide

    test = Path(dataset, next(p.name for p in Path(dataset).iterdir() if p.name.startswith("test")))
    with tempfile.TemporaryDirectory() as folder:
        run = fieldguide.train(dataset, out=Path(folder, "run"))
        started = time.perf_counter()
        answers = {
            precision: [p.probabilities for p in fieldguide.predict(run.directory, test, precision=precision)]
            for precision in ("f32", "bf16")
        }
        seconds = time.perf_counter() - started
    f32, bf16 = (np.array([list(p.values()) for p in answers[name]]) for name in ("f32", "bf16"))
    same = f32.argmax(axis=1) == bf16.argmax(axis=1)
    detail = (
        f"{same.sum()} of {len(same)} ({same.mean():.2%}); largest difference of a probability {np.abs(f32 - bf16).max():.3f}"
    )
    _row("same top answer in f32 and bf16", Path(dataset).name, seconds, 0, detail)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "precision":
        _precision(rest[0])
    elif what == "large":
        _large(int(rest[0]) if rest else 2000)
    elif what == "scan":
        _scan(rest[0])
    elif what in ("classic", "scratch"):
        seeds = [int(word) for word in rest[1:] if word != "again"] or [0, 1, 2]
        _from_scratch(what, rest[0], seeds, again="again" in rest[1:])
    else:
        {"transfer": _transfer, "predict": _predict}[what](rest[0], int(rest[1]) if rest[1:] else 3)
