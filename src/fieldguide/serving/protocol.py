"""HTTP on one connection: uvicorn's, but answers leave at once, and the head of a request must come in time."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from fieldguide.serving.limits import Limits


class Protocol(H11Protocol):
    """Closes a connection whose next request does not begin, or whose head does not end, in `Limits.header_seconds`.

    uvicorn waits for ever for the first byte and for the last line of a head, so that a few hundred idle clients would keep
    all others out (Slowloris).
    """

    _waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there.

        asyncio turns Nagle's algorithm off only on sockets that were made with a protocol number, which those of
        `socket.create_server` were not. With it on, the body of an answer waited 40 ms until the client had confirmed the head.
        """
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """A piece of a request."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:  # still in the middle of a head
            self._expect_head()
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._forget()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(Limits.header_seconds, self.transport.close)

    def _forget(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
