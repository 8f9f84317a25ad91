"""The real command: on a socket, in a process of its own, until SIGTERM."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from fieldguide.errors import FieldguideError, MissingExtraError
from fieldguide.serving.server import serve
from tests.conftest import cli

SNIPPETS = Path(__file__).parents[2] / "docs" / "snippets"
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can handle")


class Server:
    """A server that was started, and where it is."""

    def __init__(self, process: subprocess.Popen[str], address: str, seconds: float, lines: list[str]) -> None:
        self.process, self.address, self.seconds, self.lines = process, address, seconds, lines
        self.port = int(address.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


def _read_all(stream: IO[str], lines: list[str]) -> None:
    lines.extend(line.rstrip() for line in stream)


@pytest.fixture
def server(run_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """With the parameter "collect" it keeps corrections in `tmp_path / "collected"`."""
    collect = ["--collect", str(tmp_path / "collected")] if getattr(request, "param", None) == "collect" else []
    code = (
        "import sys, threading, time\n"
        "from fieldguide.cli import main\n"
        "def loaded():\n"
        "    time.sleep(0.5)\n"
        "    sys.stdin.readline()\n"
        "    print([n for n in ('tensorflow', 'keras', 'sklearn', 'matplotlib') if n in sys.modules], flush=True)\n"
        "threading.Thread(target=loaded, daemon=True).start()\n"
        f"main(['serve', {str(run_folder)!r}, '--port', '0', '--workers', '1', *{collect!r}])\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    with process:
        line = process.stderr.readline()
        seconds = time.perf_counter() - started
        lines = [line.rstrip()]
        found = re.match(r"(http://\S+) answers for ", line)
        threading.Thread(target=_read_all, args=(process.stderr, lines), daemon=True).start()
        try:
            assert found, line + (process.communicate(timeout=5)[1] or "")
            yield Server(process, found.group(1), seconds, lines)
        finally:
            if process.poll() is None:
                process.kill()


def post(body: bytes) -> bytes:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Reads one answer with a Content-Length."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE).group(1))  # type: ignore[union-attr]
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split()[1]), json.loads(body)


def test_an_answer_does_not_wait_for_the_client_to_confirm_its_head():
    import asyncio

    from uvicorn.server import ServerState

    from fieldguide.serving.protocol import Protocol
    from fieldguide.serving.server import _config, _listen

    made: list[int] = []

    class Watched(Protocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    async def connect() -> None:
        config = _config(lambda: None)
        config.load()
        loop, listening = asyncio.get_running_loop(), _listen("127.0.0.1", 0)
        server = await loop.create_server(lambda: Watched(config, ServerState(), {}), sock=listening)
        async with server:
            _, writer = await asyncio.open_connection(*listening.getsockname())
            while not made:
                await asyncio.sleep(0.01)
            writer.close()
            await writer.wait_closed()

    asyncio.run(asyncio.wait_for(connect(), 30))
    assert made[0] != 0


@posix_only
def test_sigterm_answers_what_is_under_way_and_ends_with_nothing_left(server, red):
    with server.connect() as connection:
        request = post(red)
        connection.sendall(request[:-100])
        time.sleep(0.3)  # until the head is read, so that the request is under way
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError):  # nobody new is let in
            server.connect().close()
        connection.sendall(request[-100:])
        status, values = answer(connection)
    assert (status, values["predictions"][0]["class_name"]) == (200, "red")
    assert server.process.wait(timeout=20) == 0
    time.sleep(0.1)
    assert server.lines[1:] == ["ended; what was under way has been answered"]


@posix_only
def test_the_process_holds_no_tensorflow_and_starts_fast(server, red, tmp_path):
    request = urllib.request.Request(f"{server.address}/v1/predict", red, {"Content-Type": "image/jpeg"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert json.load(response)["predictions"][0]["class_name"] == "red"
    server.process.stdin.write("\n")
    server.process.stdin.flush()
    assert server.process.stdout.readline() == "[]\n"
    assert not any(tmp_path.iterdir())  # no client id of anybody's telemetry
    # Two seconds on an idle machine (benchmarks/serve.py measures); tests share theirs.
    assert server.seconds < 20
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=20) == 0


@posix_only
def test_clients_that_say_nothing_or_nonsense_are_sent_away(run_folder, red, monkeypatch, caplog):
    from fieldguide.serving import server as module
    from fieldguide.serving.limits import Limits

    monkeypatch.setattr(Limits, "header_seconds", 0.3)
    lines: list[str] = []
    thread = threading.Thread(target=serve, args=(run_folder,), kwargs={"port": 0, "num_workers": 1, "say": lines.append})
    servers = []
    original = module._signals_end
    monkeypatch.setattr(module, "_signals_end", lambda server: servers.append(server) or original(server))
    thread.start()
    while not lines:
        time.sleep(0.02)
    port = int(re.search(r":(\d+) ", lines[0]).group(1))  # type: ignore[union-attr]
    try:
        for beginning in (b"", b"POST /v1/pre", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: "):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as silent:
                silent.sendall(beginning)
                assert silent.recv(1000) == b""  # closed, where uvicorn alone would wait for ever
        with socket.create_connection(("127.0.0.1", port), timeout=10) as babbling:
            babbling.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")
            assert babbling.recv(1000).startswith(b"HTTP/1.1 400 ")
        with socket.create_connection(("127.0.0.1", port), timeout=10) as gone:
            gone.sendall(post(red)[:-100])
            time.sleep(0.2)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as polite:
            for _ in range(2):  # keep-alive
                polite.sendall(post(red))
                assert answer(polite)[0] == 200
            polite.sendall(post(red)[:200])
            time.sleep(0.6)  # a body may take longer than a head
            polite.sendall(post(red)[200:])
            assert answer(polite)[0] == 200
    finally:
        servers[0].should_exit = True
        thread.join(20)
    assert not thread.is_alive()
    assert caplog.records == []  # the one who went away in the middle is no error of ours


def test_a_port_that_is_taken_is_an_error_with_a_hint(run_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(FieldguideError, match=r"Cannot listen on 127\.0\.0\.1 port \d+: (.|\n)*--port"):
            serve(run_folder, port=taken.getsockname()[1])


def test_without_the_extra_the_error_names_the_command(run_folder, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("fieldguide.serving.app")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(MissingExtraError, match=r"pip install fieldguide\[serve\]"):
        serve(run_folder, port=0)


def test_an_empty_token_file_is_a_matter_of_usage(run_folder, tmp_path, capsys):
    (tmp_path / "token").write_text("\n")
    assert cli("serve", str(run_folder), "--token-file", str(tmp_path / "token")) == 2
    assert "is empty" in " ".join(capsys.readouterr().err.replace("│", " ").split())


@posix_only
@pytest.mark.skipif(shutil.which("curl") is None or shutil.which("sh") is None, reason="the snippet is written for curl")
def test_the_snippets_of_the_page_get_answers(server, red, tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/cats-0.jpg", "photos/dogs-0.jpg"):
        (tmp_path / name).write_bytes(red)
    answers = []
    for name, command in (("serve_curl.sh", ["sh", "-e", "-c"]), ("serve_client.py", [sys.executable, "-c"])):
        text = (SNIPPETS / name).read_text(encoding="utf-8").replace("http://127.0.0.1:8000", server.address)
        done = subprocess.run([*command, text], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
        answers.append(done.stdout)
    assert answers[0].count('"class_name":"red"') == 3
    assert '"class_names":["blue","green","red"]' in answers[0]
    assert answers[1].startswith("red ")
