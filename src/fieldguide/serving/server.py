"""`fieldguide.serve`: the app on a socket, until Ctrl-C or SIGTERM, with what is under way answered first."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fieldguide.classifier import load
from fieldguide.errors import FieldguideError, MissingExtraError, RecipeError
from fieldguide.serving.limits import MIB, Limits

if TYPE_CHECKING:
    import uvicorn

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_DRAIN_SECONDS = 30
_BACKLOG = 1024


def serve(
    run: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    allow_hosts: Sequence[str] = (),
    collect: str | os.PathLike[str] | None = None,
    max_upload_mib: int = 20,
    num_workers: int | None = None,
    reject: float | None = None,
    precision: str = "auto",
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Answers over HTTP for a trained classifier, until Ctrl-C or SIGTERM. What is under way then is answered first.

    Args:
        run: a run folder, a bundle folder, or a zip of one.
        host: the address to listen on; with the default nobody but this computer can ask.
        port: 0 takes a free one, which is said.
        token: what clients must send as `Authorization: Bearer TOKEN`; None lets everybody ask.
        allow_hosts: further names by which the server may be called, and whose pages may send it pictures.
        collect: folder for pictures that people gave another class (`train DIR --also FOLDER`); None keeps none.
        max_upload_mib: of one request.
        num_workers: processes that decode; one a core, and at most 4, when None.
        reject: as in `fieldguide.load`.
        precision: as in `fieldguide.load`.
        say: called with a line when it listens, and when it has ended.

    Raises:
        MissingExtraError: without `pip install fieldguide[serve]`.
        BundleError: if the classifier is missing or damaged.
        FieldguideError: if the address cannot be listened on.
    """
    if max_upload_mib < 1:
        raise RecipeError(f"max_upload_mib must be 1 or more; received {max_upload_mib}.")
    try:
        import uvicorn

        from fieldguide.serving.app import create_app
    except ImportError as error:
        raise MissingExtraError(
            "The server needs FastAPI and uvicorn, which are an optional part.\nhint: pip install fieldguide[serve]"
        ) from error
    listening = _listen(host, port)
    with contextlib.closing(listening):
        classifier = load(run, precision=precision, reject=reject)
        is_local = host in ("127.0.0.1", "localhost", "::1")
        app = create_app(
            classifier,
            limits=Limits(max_body_bytes=max_upload_mib * MIB),
            token=token,
            hosts=(*LOOPBACK, *allow_hosts) if is_local or allow_hosts else (),
            sites=allow_hosts,
            collect=collect,
            num_workers=num_workers,
        )
        if not is_local and token is None:
            say(f"warning: {host} can be reached by others, and no token is asked for (--token-file)")
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                if self.started:
                    say(f"{address} answers for {os.fspath(run)} ({', '.join(classifier.class_names[:8])}); Ctrl-C ends it")

        server = Server(_config(app))
        with _signals_end(server):
            server.run(sockets=[listening])
    if not server.started:
        raise FieldguideError("The server could not start; the lines above say why.")
    say("ended; what was under way has been answered")


def _config(app: Any) -> uvicorn.Config:
    import uvicorn

    from fieldguide.serving.protocol import Protocol

    # Requests that are no HTTP would each be a line; what a request brought down is still said.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=Limits.max_connections,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise FieldguideError(
            f"Cannot listen on {host} port {port}: {getattr(error, 'strerror', None) or error}.\n"
            "hint: another program may have that port; choose one with --port, or 0 for a free one."
        ) from error


@contextlib.contextmanager
def _signals_end(server: uvicorn.Server) -> Iterator[None]:
    """Until uvicorn takes Ctrl-C and SIGTERM, and when it hands them on after it has drained, they do no more than end it."""

    def end(number: int, frame: Any) -> None:
        server.should_exit = True

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
