"""What is remembered of credentials for a moment, so that not each request asks the database."""

import math
import time
from collections.abc import Hashable
from functools import partial
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.orm import Session

Value = TypeVar("Value")

# Every process sees a revocation within 2 seconds; the look-up itself takes some of them.
_SECONDS = 1.5
_MOST = 10_000


class Forgetful(Protocol):
    """What remembers something of credentials, and can forget it."""

    def clear(self) -> None:
        """Forget everything."""


_memories: WeakSet[Forgetful] = WeakSet()


def forget_with_the_rest(memory: Forgetful) -> None:
    """Let `forget_all` clear this, too, for as long as it lives."""
    _memories.add(memory)


class Memory(Generic[Value]):
    """Values that are good for a moment; used from the event loop and from threads alike.

    Args:
        seconds: How long, counted from when the database was asked.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._values: dict[Hashable, tuple[Value, float]] = {}
        self._forgotten_at = -math.inf
        forget_with_the_rest(self)

    def get(self, key: Hashable) -> Value | None:
        """The value, or None where it is not known or too old."""
        value, asked_at = self._values.get(key, (None, -math.inf))
        # Who asked before all was forgotten may come with the answer after it.
        oldest = max(self._forgotten_at, time.monotonic() - self._seconds)
        return value if asked_at > oldest else None

    def put(self, key: Hashable, value: Value, *, asked_at: float) -> None:
        """Remember what was true at `asked_at`, a time of `time.monotonic`."""
        if len(self._values) >= _MOST:
            self._values.clear()
        self._values[key] = (value, asked_at)

    def clear(self) -> None:
        """Forget everything."""
        self._forgotten_at = time.monotonic()
        self._values.clear()


def remember_after_commit(
    session: Session, memory: Memory[Value], key: Hashable, value: Value, *, asked_at: float
) -> None:
    """Remember what a session has read, and may have made itself, once it is committed."""
    put = partial(memory.put, key, value, asked_at=asked_at)
    event.listen(session, "after_commit", lambda _session: put(), once=True)


def forget_after_commit(session: Session) -> None:
    """Let this process see what the session changes of credentials as soon as it is committed."""
    event.listen(session, "after_commit", lambda _session: forget_all(), once=True)


def forget_all() -> None:
    """Forget all that this process remembers of credentials."""
    for memory in list(_memories):
        memory.clear()
