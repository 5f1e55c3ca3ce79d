"""Metrics: what is counted and measured, for Prometheus; who counts calls a function from here.

Labels come from the contract and from the code alone, so that no caller can make a new series.
Each process counts for itself; `count_together` lets those of one instance directory be read as
one.
"""

from pathlib import Path
from typing import Literal

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from circdesk.edge.metrics_files import share_values

log = structlog.get_logger("circdesk.metrics")

# The moment at which each series began would be as many series again.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

# Upper bounds in seconds.
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_COUNTED = "circdesk_counted"


class Meters:
    """Everything that is counted, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ["operation", "status"]
        self.requests = Counter(
            "circdesk_http_requests", "Requests answered.", labels, registry=self.registry
        )
        self.seconds = Histogram(
            "circdesk_http_request_duration_seconds",
            "Time to the end of the answer.",
            labels,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = self._gauge("circdesk_http_requests_in_flight", "Requests under way.")
        self.checked_out = self._gauge(
            "circdesk_database_connections_in_use", "Connections that are at work."
        )
        self.pool_size = self._gauge(
            "circdesk_database_connections_allowed", "Connections that there may be."
        )
        self.cache = Counter(
            "circdesk_cache_requests", "Look-ups in the cache.", ["result"], registry=self.registry
        )
        self.reads = Counter(
            "circdesk_reads", "Reads that a replica may answer.", ["place"], registry=self.registry
        )
        self.limited = Counter(
            "circdesk_rate_limited", "Requests refused.", ["policy"], registry=self.registry
        )
        self._requests: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def _gauge(self, name: str, meaning: str) -> Gauge:
        # Of processes that have ended, nothing is under way any more.
        return Gauge(name, meaning, multiprocess_mode="livesum", registry=self.registry)

    def of_requests(self, operation: str, status: int) -> tuple[Counter, Histogram]:
        """The series of an operation and a status; to find them by labels takes far longer."""
        key = (operation, status)
        found = self._requests.get(key)
        if found is None:
            labels = (operation, str(status))
            found = self.requests.labels(*labels), self.seconds.labels(*labels)
            self._requests[key] = found
        return found


_meters = Meters()
_shared: Path | None = None


def count_together(directory: Path) -> None:
    """Count in files in this directory from now on, which any process there can read.

    Where there is no room for them, this process goes on counting for itself.
    """
    global _meters, _shared
    try:
        share_values(directory)
    except OSError as error:
        log.warning("metrics_not_shared", reason=error.strerror)
        return
    _meters, _shared = Meters(), directory


def meters() -> Meters:
    """What this process counts."""
    return _meters


def shared_directory() -> Path | None:
    """Where processes count together; None where this one counts alone."""
    return _shared


def begin_request() -> None:
    """A request has come."""
    _meters.in_flight.inc()


def end_request(operation: str, status: int, seconds: float) -> None:
    """A request has ended, as the operation's `operationId`, or another name that the code has."""
    _meters.in_flight.dec()
    requests, histogram = _meters.of_requests(operation, status)
    requests.inc()
    histogram.observe(seconds)


def count_cache(result: Literal["hit", "miss", "passed_by"]) -> None:
    """The cache was asked, and had it or had it not; or it could not be asked."""
    _meters.cache.labels(result).inc()


def count_read(place: Literal["primary", "replica"]) -> None:
    """A read that a replica may answer was answered there, or by the primary."""
    _meters.reads.labels(place).inc()


def count_limited(policy: str) -> None:
    """A request was refused by the rate limit of this name."""
    _meters.limited.labels(policy).inc()


def watch_pool(engine: Engine) -> None:
    """Tell from now on how many of an engine's connections are in use."""
    _meters.pool_size.inc(engine.pool.size())  # type: ignore[attr-defined]  # It is a QueuePool.
    event.listen(engine, "checkout", _check_out)
    event.listen(engine, "checkin", _check_in)
    event.listen(engine, "detach", _check_in)


def forget_pool(engine: Engine) -> None:
    """An engine that was watched is closed."""
    _meters.pool_size.dec(engine.pool.size())  # type: ignore[attr-defined]  # It is a QueuePool.


def _check_out(_connection: object, entry: ConnectionPoolEntry, _proxy: object) -> None:
    if entry.record_info is not None:
        entry.record_info[_COUNTED] = True
        _meters.checked_out.inc()


def _check_in(_connection: object, entry: ConnectionPoolEntry) -> None:
    # One that could not be handed out comes back without ever having been counted.
    if entry.record_info is not None and entry.record_info.pop(_COUNTED, False):
        _meters.checked_out.dec()
