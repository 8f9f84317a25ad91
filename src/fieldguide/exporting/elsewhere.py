"""Runs an exported file by its own runtime in a process of its own, as its users will: `answers_of` starts it.

`python -m fieldguide.exporting.elsewhere JOB.json` is that process. It loads neither TensorFlow nor the engine, unless the
format's runtime is one of them, and says whether it did.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fieldguide.data import decoding
from fieldguide.errors import EngineError
from fieldguide.exporting.formats import PICTURE, TENSOR
from fieldguide.records import Preprocessing

_BATCH = 8
_WARM_UP = 3
_FEWEST_SECONDS = 2.0  # a timing lasts as long, or as many repetitions as below
_MOST_REPETITIONS = 100
_LONGEST_SECONDS = 600
_NO_MEMORY = ", as the system does where memory runs out.\nhint: close other programs, or export on a larger computer"


@dataclass(frozen=True, eq=False)
class Answers:
    """What the exported file said."""

    outputs: Mapping[str, NDArray[Any]]  # by name, a row a picture
    is_tensorflow_loaded: bool
    seconds: Mapping[str, Any]  # cold start; and where asked for, per batch size p50 and p99 of a batch


def answers_of(
    directory: Path,
    module: str,
    paths: Sequence[Path],
    *,
    contracts: Sequence[str] = (TENSOR,),
    preprocessing: Preprocessing,
    most_at_once: int | None = None,
    shuffled: bool = False,
    timed: Sequence[int] = (),
) -> dict[str, Answers]:
    """Lets the files in a folder answer pictures, in a fresh process; the answers by contract.

    Args:
        directory: what the format's `write` wrote.
        module: the name of the format's module in this package.
        paths: of the pictures.
        contracts: "tensor" gets each picture resized by `fieldguide.data.decoding`, "picture" as it was decoded.
        preprocessing: of the network.
        most_at_once: pictures in a batch; None: any number.
        shuffled: each picture is cut into tiles that are put together anew: see `shuffled_tiles`.
        timed: sizes of batches to time.

    Raises:
        EngineError: if the process fails; the message holds what it said last.
    """
    with tempfile.TemporaryDirectory(prefix="fieldguide-export-") as folder:
        job = Path(folder, "job.json")
        values = {
            "directory": os.path.abspath(directory),
            "module": module,
            "contracts": list(contracts),
            "paths": [os.path.abspath(path) for path in paths],
            "image_size": list(preprocessing.image_size),
            "sixteen_bit_max": preprocessing.sixteen_bit_max,
            "most_at_once": most_at_once,
            "shuffled": shuffled,
            "timed": list(timed),
            "out": folder,
            "started": time.time(),
        }
        job.write_text(json.dumps(values), encoding="utf-8")
        command = [sys.executable, "-m", "fieldguide.exporting.elsewhere", str(job)]
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
        try:
            done = subprocess.run(
                command, env=quiet, capture_output=True, encoding="utf-8", timeout=_LONGEST_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise EngineError(f"The exported file ({module}) did not answer within {_LONGEST_SECONDS} seconds.") from error
        if done.returncode:
            last = "\n".join(done.stderr.strip().splitlines()[-3:])
            if done.returncode < 0:  # by a signal; it had no time to say anything
                last += f"its process was ended by signal {-done.returncode}" + (_NO_MEMORY if done.returncode == -9 else "")
            raise EngineError(f"The exported file ({module}) cannot be run: {last}")
        facts = json.loads(done.stdout.strip().splitlines()[-1])
        found = {}
        for contract in contracts:
            with np.load(Path(folder, f"{contract}.npz"), allow_pickle=False) as arrays:
                outputs = {name: arrays[name] for name in arrays.files}
            found[contract] = Answers(outputs, facts["is_tensorflow_loaded"], facts["seconds"])
        return found


def shuffled_tiles(pixels: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """A picture (height, width, 3) cut into 4 x 4 tiles in another order, drawn by its number: a stranger made of the known."""
    height, width = (side // 4 for side in pixels.shape[:2])
    order = np.random.default_rng(number).permutation(16)
    result = pixels.copy()
    for new, old in enumerate(order):
        (i, j), (k, m) = divmod(new, 4), divmod(int(old), 4)
        tile = pixels[k * height : (k + 1) * height, m * width : (m + 1) * width]
        result[i * height : (i + 1) * height, j * width : (j + 1) * width] = tile
    return result


def _main(job_path: str) -> None:
    job = json.loads(Path(job_path).read_text(encoding="utf-8"))
    module = importlib.import_module(f"fieldguide.exporting.{job['module']}")
    seconds: dict[str, Any] = {}
    for contract in job["contracts"]:
        run = module.load(Path(job["directory"]), contract)
        pixels = _pictures(job, contract)
        first = next(pixels)
        run(first[None])
        seconds.setdefault("cold_start", time.time() - job["started"])
        at_once = 1 if contract == PICTURE else job["most_at_once"] or _BATCH
        outputs = [run(np.stack(batch)) for batch in _batches(itertools.chain([first], pixels), at_once)]
        for size in job["timed"]:
            seconds[str(size)] = _timing(run, first, size, job["most_at_once"])
        arrays: dict[str, Any] = {name: np.concatenate([o[name] for o in outputs]) for name in outputs[0]}
        np.savez(Path(job["out"], f"{contract}.npz"), **arrays)
    print(json.dumps({"is_tensorflow_loaded": "tensorflow" in sys.modules, "seconds": seconds}))


def _pictures(job: Mapping[str, Any], contract: str) -> Iterator[NDArray[np.uint8]]:
    size, white = tuple(job["image_size"]), job["sixteen_bit_max"]
    for number, path in enumerate(job["paths"]):
        pixels = decoding.decode(decoding.read_file(path), cover=size, sixteen_bit_max=white).pixels
        if contract != PICTURE:
            pixels = decoding.shrink(pixels, size)
        yield shuffled_tiles(pixels, number) if job["shuffled"] else pixels


def _batches(pictures: Iterator[NDArray[np.uint8]], size: int) -> Iterator[list[NDArray[np.uint8]]]:
    batch: list[NDArray[np.uint8]] = []
    for picture in pictures:
        batch.append(picture)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _timing(run: Any, picture: NDArray[np.uint8], size: int, most_at_once: int | None) -> dict[str, float]:
    """Median and 99th percentile of the seconds that a batch takes; one by one where the format takes no batch."""
    at_once = min(size, most_at_once or size)
    batch = np.repeat(picture[None], at_once, axis=0)
    times: list[float] = []
    begun = time.perf_counter()
    while len(times) < _WARM_UP + _MOST_REPETITIONS and (
        len(times) < _WARM_UP + 10 or time.perf_counter() - begun < _FEWEST_SECONDS
    ):
        started = time.perf_counter()
        for _ in range(size // at_once):
            run(batch)
        times.append(time.perf_counter() - started)
    p50, p99 = np.percentile(times[_WARM_UP:], [50, 99])
    return {"p50": float(p50), "p99": float(p99)}


if __name__ == "__main__":
    _main(sys.argv[1])
