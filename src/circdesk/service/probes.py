"""Probes: whether the service can do its work, and which part stands in the way."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from typing import ClassVar

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from circdesk.contract.problems import JSON, Problem
from circdesk.db.engine import READING
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.migrations import at_head
from circdesk.service.asking import Question
from circdesk.service.heartbeat import Heartbeat
from circdesk.settings import Settings

# For each part; all of them are asked at the same time.
_SECONDS = 1.5

_WORDS = {
    ("database", "ok"): "The database answers.",
    ("database", "unreachable"): "The database does not answer.",
    ("migrations", "ok"): "The database has the schema of this release.",
    ("migrations", "missing"): "The database lacks migrations of this release.",
    ("migrations", "unknown"): "The database cannot be asked for its migrations.",
    ("redis", "ok"): "Redis answers.",
    ("redis", "unreachable"): "Redis does not answer.",
    ("worker", "ok"): "A worker does imports, chores and mail.",
    ("worker", "stale"): "No worker has shown itself in the last minute.",
    ("worker", "unknown"): "The worker shows itself in Redis, which does not answer.",
    ("process", "stopping"): "This process is stopping.",
}

_current: ContextVar["Probes"] = ContextVar("circdesk_probes")

Checks = Mapping[str, str]


class NotReady(Problem):
    """A part that the service needs is not there; `checks` says which."""

    code: ClassVar[str] = "not_ready"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "The service is not ready."
    advice: ClassVar[str] = (
        "Look at `checks` for what is not `ok`. Missing migrations are run by circdesk db upgrade; "
        "without a worker, start circdesk worker."
    )

    def __init__(self, checks: Checks) -> None:
        bad = [_WORDS[part, state] for part, state in checks.items() if state != "ok"]
        super().__init__(" ".join(bad), headers={"Retry-After": "5"})
        self.checks = checks

    def body(self, *, instance: str, request_id: str) -> JSON:
        """The problem, with what was checked."""
        return super().body(instance=instance, request_id=request_id) | {
            "checks": dict(self.checks)
        }


class Probes:
    """What the service needs, and whether it is there; asked on the event loop."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._is_stopping = False
        self._started = time.monotonic()
        self._engine = engine.execution_options(**{READING: True})
        self._heartbeat = Heartbeat(settings)
        self._database = Question(self._is_migrated, seconds=_SECONDS)
        self._worker = Question(self._heartbeat.is_heard, seconds=_SECONDS)

    def stop(self) -> None:
        """Say from now on that the process ends, so that no load balancer sends it anything."""
        self._is_stopping = True

    async def checks(self) -> Checks:
        """The state of each part by its name, `ok` or what is wrong; within two seconds."""
        if self._is_stopping:
            return {"process": "stopping"}
        database, redis = await asyncio.gather(self._ask_database(), self._ask_redis())
        return {**database, **redis}

    async def readiness(self) -> JSON:
        """What was checked, each `ok`. Raises NotReady, which names what is not."""
        checks = await self.checks()
        if any(state != "ok" for state in checks.values()):
            raise NotReady(checks)
        return {"status": "ready", "checks": checks}

    async def health(self) -> JSON:
        """How it is, in words for people."""
        checks = await self.checks()
        healthy = all(state == "ok" for state in checks.values())
        return {
            "status": "healthy" if healthy else "degraded",
            "version": version("circdesk"),
            "uptime_seconds": int(time.monotonic() - self._started),
            "parts": {part: _WORDS[part, state] for part, state in checks.items()},
        }

    def close(self) -> None:
        """Free threads and connections."""
        self._database.close()
        self._worker.close()
        self._heartbeat.close()

    def _is_migrated(self) -> bool:
        with self._engine.connect() as connection:
            return at_head(connection)

    async def _ask_database(self) -> Checks:
        try:
            migrated = await self._database()
        except (TimeoutError, DatabaseUnavailable, SQLAlchemyError):
            return {"database": "unreachable", "migrations": "unknown"}
        return {"database": "ok", "migrations": "ok" if migrated else "missing"}

    async def _ask_redis(self) -> Checks:
        """Redis, where it is set, and the worker, who shows itself there and here."""
        seen = self._heartbeat.is_seen_here()
        if not self._heartbeat.has_redis:
            return {"worker": "ok" if seen else "stale"}
        gone: tuple[type[Exception], ...] = (TimeoutError, *self._heartbeat.errors)
        try:
            heard = await self._worker()
        except gone:
            return {"redis": "unreachable", "worker": "ok" if seen else "unknown"}
        return {"redis": "ok", "worker": "ok" if seen or heard else "stale"}


@contextmanager
def probing(probes: Probes) -> Iterator[None]:
    """Make these the current ones for the block."""
    token = _current.set(probes)
    try:
        yield
    finally:
        _current.reset(token)


def current_probes() -> Probes:
    """The probes of the service that is being asked. Raises LookupError outside of a request."""
    return _current.get()
