"""What stands before the app: who may ask, how much, how long; and the headers that every answer carries."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import time
from collections.abc import Callable, Collection, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fieldguide.serving.limits import Limits

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # and the page, which holds nothing of the model
_DRAIN_SECONDS = 2.0  # a client hears a refusal only when it has sent what it wanted to send
RETRY_AFTER = {"Retry-After": "1"}

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware around the app.

    Args:
        app: what to protect.
        limits: of one request and of all.
        token: what `Authorization: Bearer` must hold; None lets everybody ask.
        hosts: names by which the server may be called; empty lets it be called by any. It keeps a web page that had its own
            name point here (DNS rebinding) from asking.
        sites: names of sites whose pages may send pictures, besides the one by which the server was called.
        page_paths: what a browser may load without a token.
        observe: called with path, status and seconds of each answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        token: str | None = None,
        hosts: Collection[str] = (),
        sites: Collection[str] = (),
        page_paths: Collection[str] = (),
        observe: Callable[[str, int, float], None] = lambda path, status, seconds: None,
    ) -> None:
        self._app, self._limits, self._token, self._observe = app, limits, token, observe
        self._hosts, self._sites = (frozenset(name.lower() for name in names) for names in (hosts, sites))
        self._open = OPEN_PATHS | frozenset(page_paths)
        self.num_requests = 0  # at work
        self.num_bytes = 0  # of bodies that are held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or lets the app answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, started = Headers(scope=scope), time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._observe(scope["path"], message["status"], time.perf_counter() - started)
                given = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    given.setdefault(name, value)
                given.setdefault("Cache-Control", "no-store")
            await send(message)

        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(refusal, headers, receive, send_with_headers, self._limits.max_body_bytes)
            return
        is_counted = scope["method"] == "POST"
        body = _Body(self, receive, self._limits, headers)
        self.num_requests += is_counted
        try:
            await self._app(scope, body.receive if is_counted else receive, send_with_headers)
        except ClientDisconnect:
            pass  # it is gone before all of its request came: nobody waits for an answer
        finally:
            self.num_requests -= is_counted
            self.num_bytes -= body.num_bytes

    def _refusal(self, scope: Scope, headers: Headers) -> HTTPException | None:
        """Why this request is not answered, as far as its head tells; None if it is."""
        host = headers.get("host", "")
        if self._hosts and _name(host) not in self._hosts:
            message = f"This server is not called {_name(host)[:100]!r}; start it with --allow-host to let it be."
            return HTTPException(421, message)
        if scope["path"] not in self._open and not self._knows(headers.get("authorization", "")):
            return HTTPException(
                401, "A token is needed: send `Authorization: Bearer TOKEN`.", headers={"WWW-Authenticate": "Bearer"}
            )
        if scope["method"] != "POST":
            return None
        origin = headers.get("origin")
        if origin is not None and not self._is_same_site(origin, host):
            return HTTPException(403, "Pages of other sites may not send pictures here.")
        if self.num_requests >= self._limits.max_requests or self.num_bytes >= self._limits.max_waiting_bytes:
            return HTTPException(503, "Too much to do at once; try again in a second.", headers=RETRY_AFTER)
        return None

    def _knows(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        content = given.strip(" \t").encode("latin-1")  # the bytes that were sent: Starlette reads a field as Latin-1
        return scheme.lower() == "bearer" and any([hmac.compare_digest(content, token) for token in _bytes_of(self._token)])

    def _is_same_site(self, origin: str, host: str) -> bool:
        where = origin.partition("://")[2].lower()
        return bool(where) and (where == host.lower() or _name(where) in self._sites)


class _Body:
    """The body of one request: counted, and waited for only so long."""

    def __init__(self, guard: Guard, receive: Receive, limits: Limits, headers: Headers) -> None:
        self._guard, self._receive, self._limits, self._headers = guard, receive, limits, headers
        self._deadline: float | None = asyncio.get_running_loop().time() + limits.body_seconds
        self.num_bytes = 0

    async def receive(self) -> Message:
        """The next piece.

        Raises:
            HTTPException: 413, 408 or 503.
        """
        if _declared(self._headers) > self._limits.max_body_bytes:
            await self._refuse_size()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            seconds = f"{self._limits.body_seconds:g}"
            raise HTTPException(408, f"The request took more than {seconds} seconds to come.", headers=_CLOSE) from None
        if message["type"] == "http.request":
            size = len(message.get("body", b""))
            self.num_bytes += size
            self._guard.num_bytes += size
            if self.num_bytes > self._limits.max_body_bytes:
                await self._refuse_size()
            if self._guard.num_bytes > self._limits.max_waiting_bytes:
                raise HTTPException(503, "Too much to do at once; try again in a second.", headers={**RETRY_AFTER, **_CLOSE})
            if not message.get("more_body"):
                self._deadline = None  # what comes now is only whether the client is still there
        return message

    async def _refuse_size(self) -> None:
        await _drain(self._headers, self._receive, self._limits.max_body_bytes)
        most = f"{self._limits.max_body_bytes:,}"
        raise HTTPException(413, f"A request may have at most {most} bytes.", headers=_CLOSE)


_CLOSE = {"Connection": "close"}


async def _refuse(error: HTTPException, headers: Headers, receive: Receive, send: Send, max_bytes: int) -> None:
    is_drained = await _drain(headers, receive, max_bytes)
    content = json.dumps({"error": error.detail}).encode()
    fields: Mapping[str, str] = {**(error.headers or {}), **({} if is_drained else _CLOSE)}
    raw = [(name.lower().encode(), value.encode()) for name, value in fields.items()]
    raw += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": error.status_code, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def _drain(headers: Headers, receive: Receive, max_bytes: int) -> bool:
    """Reads what the client still sends, for a moment; returns whether all of it came."""
    if headers.get("expect", "").lower() == "100-continue":
        return False  # it asks first, and hears the refusal at once
    num_bytes = 0
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while num_bytes <= max_bytes:
                message = await receive()
                num_bytes += len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body"):
                    return True
    except TimeoutError:
        pass
    return False


def _bytes_of(token: str) -> list[bytes]:
    """A token as clients send it: curl and others write letters beyond ASCII as UTF-8, browsers and `requests` as Latin-1."""
    spellings = [token.encode()]
    with contextlib.suppress(UnicodeEncodeError):
        spellings.append(token.encode("latin-1"))
    return spellings


def _declared(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdigit() else 0


def _name(host: str) -> str:
    """`Example.org:8000` -> `example.org`, `[::1]:8000` -> `[::1]`."""
    host = host.lower()
    return host[: host.rfind("]") + 1] if host.startswith("[") else host.partition(":")[0]
