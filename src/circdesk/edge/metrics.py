"""Metrics: what is counted and measured, for Prometheus; who counts calls a function from here.

Labels come from the contract and from the code alone, so that no caller can make a new series.
Each process counts for itself; `count_together` lets those of one instance directory be read as
one.
"""

from bisect import bisect_left
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

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

Add = Callable[[float], None]


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
        self.add_in_flight = _adder(self.in_flight)
        self.add_checked_out = _adder(self.checked_out)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        # Of processes that have ended, nothing is under way any more.
        return Gauge(name, meaning, multiprocess_mode="livesum", registry=self.registry)


class _Answered(NamedTuple):
    """What adds to the series of the requests to one operation, answered with one status."""

    add_count: Add
    add_seconds: Add
    add_to_buckets: list[Add]


def _adder(metric: Counter | Gauge, *labels: str) -> Add:
    """What adds to one series.

    The library would find it by its labels and check that it has all of them each time, which takes
    ten times as long as to add.
    """
    series: Any = metric.labels(*labels) if labels else metric
    add: Add = series._value.inc  # noqa: SLF001
    return add


# Each is made once; there are few labels, and all are the code's and the contract's.
_adder_for = cache(_adder)


@cache
def _answered(meters: Meters, operation: str, status: int) -> _Answered:
    labels = (operation, str(status))
    histogram: Any = meters.seconds.labels(*labels)
    buckets = [bucket.inc for bucket in histogram._buckets]  # noqa: SLF001  As in `_adder`.
    return _Answered(_adder(meters.requests, *labels), histogram._sum.inc, buckets)  # noqa: SLF001


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
    _meters.add_in_flight(1)


def end_request(operation: str, status: int, seconds: float) -> None:
    """A request has ended, as the operation's `operationId`, or another name that the code has."""
    _meters.add_in_flight(-1)
    answered = _answered(_meters, operation, status)
    answered.add_count(1)
    answered.add_seconds(seconds)
    answered.add_to_buckets[bisect_left(_BUCKETS, seconds)](1)


def count_cache(result: Literal["hit", "miss", "passed_by"]) -> None:
    """The cache was asked, and had it or had it not; or it could not be asked."""
    _adder_for(_meters.cache, result)(1)


def count_read(place: Literal["primary", "replica"]) -> None:
    """A read that a replica may answer was answered there, or by the primary."""
    _adder_for(_meters.reads, place)(1)


def count_limited(policy: str) -> None:
    """A request was refused by the rate limit of this name."""
    _adder_for(_meters.limited, policy)(1)


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
        _meters.add_checked_out(1)


def _check_in(_connection: object, entry: ConnectionPoolEntry) -> None:
    # One that could not be handed out comes back without ever having been counted.
    if entry.record_info is not None and entry.record_info.pop(_COUNTED, False):
        _meters.add_checked_out(-1)
