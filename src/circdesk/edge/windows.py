"""Moving windows: how many of a subject's requests were counted in the last so many seconds.

Each request that counts is an entry with its time, so that a window is exact at every moment, and
not only where its clock begins anew. In Redis the entries are shared by all processes.
"""

import time
from collections import deque
from threading import Lock
from typing import NamedTuple

# As often as this, times the limit, a request that was found to have cost nothing is given back.
FREE = 4

# Of more subjects than this, those that were not seen for the longest time are forgotten.
_MOST_SUBJECTS = 20_000


class Window(NamedTuple):
    """How a subject stands.

    Attributes:
        taken: Whether the request has found a place.
        used: The places that are taken.
        reset: Seconds until the first of them is free again; 0 where none is taken.
    """

    taken: bool
    used: int
    reset: float


class MemoryWindows:
    """The windows of one process; each call takes microseconds and never blocks."""

    def __init__(self) -> None:
        # Those that were seen last stand at the end.
        self._entries: dict[str, tuple[deque[float], int]] = {}
        self._lock = Lock()

    def take(self, key: str, limit: int, seconds: int) -> Window:
        """Count a request of the subject, if there is still a place for it."""
        with self._lock:
            entries, now = self._recent(key, seconds)
            taken = len(entries) < limit
            if taken:
                entries.append(now)
            return _window(entries, seconds, now, taken=taken)

    def look(self, key: str, _limit: int, seconds: int) -> Window:
        """How the subject stands, without counting anything."""
        with self._lock:
            entries, now = self._recent(key, seconds)
            return _window(entries, seconds, now)

    def give_back(self, key: str, limit: int, seconds: int) -> Window:
        """Free a place that was taken, but not more than `FREE` times the limit in a window."""
        free = self.take(f"{key}/free", limit * FREE, seconds).taken
        with self._lock:
            entries, now = self._recent(key, seconds)
            if free and entries:
                entries.pop()
            return _window(entries, seconds, now)

    def _recent(self, key: str, seconds: int) -> tuple[deque[float], float]:
        """The entries that still count, and the time, which no clock that is set can change."""
        now = time.monotonic()
        entries, _ = self._entries.pop(key, (deque[float](), seconds))
        self._entries[key] = (entries, seconds)
        while entries and entries[0] <= now - seconds:
            entries.popleft()
        self._forget(now)
        return entries, now

    def _forget(self, now: float) -> None:
        first = next(iter(self._entries))
        entries, seconds = self._entries[first]
        over = not entries or entries[-1] <= now - seconds
        if len(self._entries) > 1 and (over or len(self._entries) > _MOST_SUBJECTS):
            del self._entries[first]


def _window(entries: deque[float], seconds: int, now: float, *, taken: bool = False) -> Window:
    return Window(taken, len(entries), entries[0] + seconds - now if entries else 0.0)
