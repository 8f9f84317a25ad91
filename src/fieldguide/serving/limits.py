"""What one request may cost, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Bounds that hold whatever a client sends; a request beyond one is refused with the status named here."""

    max_body_bytes: int = 20 * MIB  # of one request: 413
    max_pictures: int = 32  # in one request: 413
    body_seconds: float = 30.0  # to receive a request: 408
    max_requests: int = 64  # at once: 503
    max_waiting_bytes: int = 256 * MIB  # of all bodies that are held at once: 503
    wait_seconds: float = 10.0  # for a decoder to be free: 503
    decode_seconds: float = 5.0  # to decode one picture: 422
    decode_memory_bytes: int = 1024 * MIB  # that a decoder may take beyond what it starts with: 422
    max_connections: int = 512  # open at once
    header_seconds: float = 10.0  # until the head of a request is complete: the connection is closed
    max_collected: int = 100_000  # pictures in the folder of corrections: 507
