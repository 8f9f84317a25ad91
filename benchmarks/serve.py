"""The server under load: latency, throughput, memory, hostile requests.

    python benchmarks/serve.py start RUN                  seconds until it answers, three times
    python benchmarks/serve.py load RUN PICTURES [SECONDS]   p50 and p99 at concurrency 1; throughput at 16, beside `predict`
    python benchmarks/serve.py soak RUN PICTURES MINUTES  memory of all its processes under load, minute by minute
    python benchmarks/serve.py hostile RUN [COUNT]        damaged pictures and broken requests; counts of statuses

The load generator is `wrk` (in C), with the raw body and keep-alive; its own share of the processor is in each row, for it
works on the same cores. Pictures are sent in turn. Rows go to results/serve.csv.
"""

from __future__ import annotations

import contextlib
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
from measure import add_row

from fieldguide.classifier import find_pictures

_MANY = 64  # pictures that are sent in turn
_LUA = """
local number, pictures = 0, {}
for line in io.lines("LIST") do
  local file = io.open(line, "rb"); pictures[#pictures + 1] = file:read("*a"); file:close()
end
wrk.method = "POST"
wrk.headers["Content-Type"] = "image/jpeg"
request = function()
  number = number % #pictures + 1
  return wrk.format(nil, nil, nil, pictures[number])
end
done = function(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout
  io.write(string.format("RESULT %f %f %f %d %d\\n", latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    summary.requests / (summary.duration / 1e6), summary.requests, failed))
end
"""


@contextlib.contextmanager
def server(run: str, *options: str) -> Iterator[tuple[psutil.Process, str, float]]:
    """A started server: its process, its address, and the seconds until it listened."""
    command = [sys.executable, "-m", "fieldguide", "serve", run, "--port", "0", *options]
    started = time.perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline() if process.stderr else ""
        seconds = time.perf_counter() - started
        found = re.match(r"(http://\S+) ", line)
        if not found:
            process.kill()
            raise SystemExit(f"the server did not start: {line}")
        threading.Thread(target=_read_all, args=(process.stderr,), daemon=True).start()
        try:
            yield psutil.Process(process.pid), found.group(1), seconds
        finally:
            process.terminate()
            process.wait(40)


def _read_all(stream: IO[str] | None) -> None:
    """What the server says is shown: it says little, and a pipe that nobody reads would stop it."""
    for line in stream or ():
        print(line, end="", file=sys.stderr)


def family(process: psutil.Process) -> list[psutil.Process]:
    """The server and its workers."""
    return [process, *process.children(recursive=True)]


def memory_mb(process: psutil.Process) -> float:
    """Of the server and its workers, without the pages of files, which other programs may share and then not share any more."""
    return sum(info.rss - info.shared for info in (p.memory_info() for p in family(process))) / 1e6


def load(address: str, pictures: list[str], *, connections: int, seconds: float) -> dict[str, float]:
    """Lets wrk ask; returns milliseconds, requests and wrk's own processor seconds a second."""
    with tempfile.TemporaryDirectory() as folder:
        listed, script = Path(folder, "list"), Path(folder, "ask.lua")
        listed.write_text("\n".join(pictures))
        script.write_text(_LUA.replace("LIST", str(listed)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s", "-s", str(script)]
        done = subprocess.run([*command, f"{address}/v1/predict"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    values = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+) (\d+)", done.stdout)
    if values is None:
        raise SystemExit(done.stdout + done.stderr)
    p50, p99, rate, count, failed = map(float, values.groups())
    own = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / seconds
    return {"p50_ms": p50, "p99_ms": p99, "per_second": rate, "requests": count, "failed": failed, "generator_cores": own}


def _row(what: str, run: str, **values: object) -> None:
    rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}
    add_row("serve", {"what": what, "run": Path(run).name, **rounded})


def start(run: str) -> None:
    """Cold starts: three processes one after the other."""
    for _ in range(3):
        with server(run) as (process, _, seconds):
            _row("start", run, seconds=seconds, memory_mb=memory_mb(process))


def measure_load(run: str, folder: str, seconds: float) -> None:
    """Latency alone, throughput together, and what `predict` does with as many pictures."""
    found = list(find_pictures([folder]))
    pictures = found[:: max(1, len(found) // _MANY)][:_MANY]
    with server(run) as (_, address, _):
        load(address, pictures, connections=16, seconds=3)  # warm
        _row("one at a time", run, connections=1, **load(address, pictures, connections=1, seconds=seconds))
        together = load(address, pictures, connections=16, seconds=seconds)
    offline = _offline(run, found[: int(together["requests"])])
    _row(
        "sixteen at a time",
        run,
        connections=16,
        **together,
        offline_per_second=offline,
        of_offline=together["per_second"] / offline,
    )


def _offline(run: str, pictures: list[str]) -> float:
    """Pictures a second of the command `predict`, without its start: that of one picture is taken off."""
    command = [sys.executable, "-m", "fieldguide", "predict", run, "-"]

    def seconds(paths: list[str]) -> float:
        started = time.perf_counter()
        subprocess.run(command, input="\n".join(paths), stdout=subprocess.DEVNULL, text=True, check=True)
        return time.perf_counter() - started

    few = min(seconds(pictures[:1]) for _ in range(2))
    return (len(pictures) - 1) / (min(seconds(pictures) for _ in range(2)) - few)


def soak(run: str, folder: str, minutes: float) -> None:
    """Memory at the beginning, after a tenth and at the end of a long load."""
    pictures = list(find_pictures([folder]))[:_MANY]
    with server(run) as (process, address, _):
        load(address, pictures, connections=16, seconds=10)
        first = memory_mb(process)
        readings, requests, failed = [], 0.0, 0.0
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            found = load(address, pictures, connections=16, seconds=min(60, max(1, end - time.monotonic())))
            requests, failed = requests + found["requests"], failed + found["failed"]
            readings.append(memory_mb(process))
            print(f"{readings[-1]:.1f} MB", flush=True)
        _row(
            "soak", run, minutes=minutes, requests=requests, failed=failed, memory_mb=readings[-1], memory_first_mb=first,
            memory_highest_mb=max(readings),
        )  # fmt: skip


def hostile(run: str, count: int) -> None:
    """Requests that no decent client sends, from eight clients at once; a 500 or a dead server ends it."""
    from concurrent.futures import ThreadPoolExecutor

    with server(run) as (process, address, _):
        port = int(address.rpartition(":")[2])
        before = memory_mb(process)
        with ThreadPoolExecutor(8) as pool:
            statuses = Counter(pool.map(lambda seed: _ask(port, _hostile_request(random.Random(seed))), range(count)))
        alive = (
            process.is_running()
            and _ask(port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") == "200"
        )
        metrics = _get(port, "/metrics")
        replaced = float(re.search(r"^fieldguide_decoders_replaced (\S+)", metrics, re.MULTILINE).group(1))  # type: ignore[union-attr]
        _row(
            "hostile", run, requests=count, statuses=" ".join(f"{k}:{v}" for k, v in sorted(statuses.items())),
            answers_500=statuses.get("500", 0), ready_after=alive, workers_replaced=replaced, memory_first_mb=before,
            memory_mb=memory_mb(process),
        )  # fmt: skip


def _hostile_request(rng: random.Random) -> bytes:
    """One request: a picture with bytes changed, cut, doubled; a form that is broken; a head that lies."""
    content = bytearray(rng.choice(_seeds()))
    for _ in range(rng.choice((0, 1, 3, 30))):
        kind, at = rng.random(), rng.randrange(len(content))
        if kind < 0.5:
            content[at] = rng.randrange(256)
        elif kind < 0.7:
            del content[at : at + rng.randrange(1, 200)]
        elif kind < 0.85:
            content[at:at] = rng.randbytes(rng.randrange(1, 200))
        else:
            content[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)))
        content = content or bytearray(b"x")
    body, kind = bytes(content), "image/jpeg"
    if rng.random() < 0.35:
        kind = "multipart/form-data; boundary=b"
        names = (b'name="f"; filename="../../x"', b'name="f"', b"", b'name="\xff\x00"; filename="y"')
        parts = (
            b"--b\r\nContent-Disposition: form-data; " + rng.choice(names) + b"\r\n\r\n" + body + b"\r\n" for _ in range(3)
        )
        body = b"".join(parts) + rng.choice((b"--b--\r\n", b"--b", b""))
    path = rng.choice(
        ("/v1/predict",) * 6 + ("/v1/predict?heatmap=true", "/v1/predict?heatmap=x", "/v1/correct?class_name=%00", "/../")
    )
    length = rng.choice((len(body),) * 48 + (len(body) // 2, 10**12, -1))
    kind = rng.choice((kind,) * 8 + ("application/json", "image/\xe9", ""))
    lines = (
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {kind}",
        f"Content-Length: {length}",
        "Connection: close",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _seeds(found: list[bytes] = []) -> list[bytes]:  # noqa: B006 - made once
    if not found:
        import io

        import numpy as np
        from PIL import Image

        pixels = np.random.default_rng(0).integers(0, 256, (80, 90, 3), np.uint8)
        for mode in ("RGB", "L", "P", "RGBA", "CMYK", "I;16"):
            for name in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "TGA", "PPM"):
                buffer = io.BytesIO()
                with contextlib.suppress(OSError, ValueError, KeyError):
                    Image.fromarray(pixels).convert(mode).save(buffer, name)
                    found.append(buffer.getvalue())
    return found


def _ask(port: int, request: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(request)
        try:
            answer = connection.recv(65536)
        except ConnectionResetError:
            return "reset"
    return answer.split()[1].decode() if answer.startswith(b"HTTP/") else "closed"


def _get(port: int, path: str) -> str:
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as response:
        return str(response.read().decode())


if __name__ == "__main__":
    what, *given = sys.argv[1:]
    if what != "hostile" and what != "start" and shutil.which("wrk") is None:
        raise SystemExit("this needs wrk: apt-get install wrk")
    if what == "start":
        start(given[0])
    elif what == "load":
        measure_load(given[0], given[1], float(given[2]) if len(given) > 2 else 20.0)
    elif what == "soak":
        soak(given[0], given[1], float(given[2]))
    elif what == "hostile":
        hostile(given[0], int(given[1]) if len(given) > 1 else 10_000)
    else:
        raise SystemExit(__doc__)
