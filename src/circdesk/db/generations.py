"""Generations: what tells whether an answer that was kept may have become stale.

A resource is a table's worth of rows, `books`, or one of them, `books:<id>`. Whoever commits a
change gives the resources that it touched new generations; whoever keeps an answer reads the
generations of its resources before it asks the database, and keeps them with it. An answer is
good for as long as they are the same, so that nothing has to be searched for and removed.
"""

import itertools
import threading
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Protocol, cast
from uuid import uuid4

from pydantic import SecretStr

from circdesk.db.outage import Outage

# Seconds that Redis keeps a generation. Nothing is kept for nearly as long, so that a resource
# without one was last touched before anything was kept of it.
SECONDS = 3600

# The resource that everything belongs to.
_ALL = "all"
# More resources than this are not told apart one by one.
_MOST = 10_000
_PREFIX = "circdesk:generation:"


class Generations(Protocol):
    """The generations of all resources of one database.

    Attributes:
        outage: Whether what they are kept in is out of reach.
    """

    outage: Outage

    def read(self, resources: Sequence[str]) -> str | None:
        """The generations of the resources, as one text; None where they are out of reach."""

    def touch(self, resources: Iterable[str]) -> None:
        """Give the resources new generations, as soon as that is possible."""


class MemoryGenerations:
    """Generations that one process knows."""

    def __init__(self) -> None:
        # Memory is never gone.
        self.outage = Outage("cache", ())
        self._lock = threading.Lock()
        self._next = itertools.count(1)
        self._numbers: dict[str, int] = {}
        # The generation of those that have none of their own.
        self._others = 0

    def read(self, resources: Sequence[str]) -> str | None:
        """The generations of the resources."""
        with self._lock:
            return ",".join([str(self._numbers.get(name, self._others)) for name in resources])

    def touch(self, resources: Iterable[str]) -> None:
        """Give the resources new generations."""
        with self._lock:
            number = next(self._next)
            self._numbers |= dict.fromkeys(resources, number)
            if len(self._numbers) > _MOST:
                self._touch_all(number)

    def touch_all(self) -> None:
        """Give every resource a new generation."""
        with self._lock:
            self._touch_all(next(self._next))

    def _touch_all(self, number: int) -> None:
        self._numbers.clear()
        self._others = number


class RedisGenerations:
    """Generations that all processes share.

    A generation is a random text and no number that is counted up: a Redis that has lost some of
    them, or all, can then never come by the same generation twice.

    What is touched while Redis is gone stays to be told, and is told before this process reads
    generations again. Another process may serve what it kept until then, for no longer than it
    would in any case.
    """

    def __init__(self, url: str) -> None:
        # Only who has a Redis waits for its library.
        from circdesk.db.redis_client import REDIS_ERRORS, redis_client  # noqa: PLC0415

        self._redis: Any = redis_client(url)
        self.outage = Outage("cache", REDIS_ERRORS)
        self._lock = threading.Lock()
        self._untold: set[str] = set()

    def read(self, resources: Sequence[str]) -> str | None:
        """The generations of the resources; None where Redis is out of reach."""
        return self.outage.attempt(lambda: self._read(resources))

    def touch(self, resources: Iterable[str]) -> None:
        """Give the resources new generations; where Redis is gone, later."""
        self._keep({*resources})
        self.outage.attempt(self._tell)

    def _read(self, resources: Sequence[str]) -> str:
        if self._untold:
            self._tell()
        found = self._redis.mget([_PREFIX + name for name in (_ALL, *resources)])
        return b",".join(value or b"" for value in cast("list[bytes | None]", found)).decode()

    def _tell(self) -> None:
        with self._lock:
            resources, self._untold = self._untold, set()
        pipeline = self._redis.pipeline(transaction=False)
        generation = uuid4().hex
        for name in resources:
            pipeline.set(_PREFIX + name, generation, ex=SECONDS)
        try:
            pipeline.execute()
        except BaseException:
            self._keep(resources)
            raise

    def _keep(self, resources: set[str]) -> None:
        with self._lock:
            self._untold |= resources
            if len(self._untold) > _MOST:
                self._untold = {_ALL}


# One for the process, and not for each engine: an embedded worker writes through an engine of its
# own.
MEMORY = MemoryGenerations()


@cache
def generations_for(redis_url: SecretStr | None) -> Generations:
    """The generations that processes with this Redis share; without one, those of the process."""
    return MEMORY if redis_url is None else RedisGenerations(redis_url.get_secret_value())
