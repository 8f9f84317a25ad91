"""What `/metrics` shows, in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from fieldguide.serving.batching import Batcher
from fieldguide.serving.decoders import Decoders
from fieldguide.serving.guard import Guard

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one server; not of the process, which may hold several in tests."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self.requests = Counter("fieldguide_requests", "Requests by status", ["path", "status"], registry=self._registry)
        self.seconds = Histogram(
            "fieldguide_request_seconds", "Time from request to answer", ["path"], buckets=_SECONDS, registry=self._registry
        )
        self.pictures = Counter(
            "fieldguide_pictures", "Pictures by outcome: class, none_of_these, or why not", ["outcome"], registry=self._registry
        )

    def watch(self, guard: Guard, decoders: Decoders, batcher: Batcher) -> None:
        """Shows their state as gauges."""
        shown = {
            "requests_at_work": ("Requests under way", lambda: guard.num_requests),
            "body_bytes": ("Bytes of request bodies held", lambda: guard.num_bytes),
            "engine_waiting": ("Pictures that wait for the engine", lambda: batcher.num_waiting),
            "engine_batches": ("Batches so far", lambda: sum(batcher.batch_sizes.values())),
            "decoders_alive": ("Decoder processes", lambda: decoders.num_alive),
            "decoders_replaced": ("Decoder processes that crashed or were ended", lambda: decoders.num_replaced),
        }
        for name, (text, value) in shown.items():
            Gauge(f"fieldguide_{name}", text, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
