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
            now = time.monotonic()
            entries = self._recent(key, seconds, now)
            taken = len(entries) < limit
            if taken:
                entries.append(now)
            return _window(entries, seconds, now, taken=taken)

    def look(self, key: str, _limit: int, seconds: int) -> Window:
        """How the subject stands, without counting anything."""
        with self._lock:
            now = time.monotonic()
            entries = self._recent(key, seconds, now)
            return _window(entries, seconds, now)

    def give_back(self, key: str, limit: int, seconds: int) -> Window:
        """Free a place that was taken, but not more than `FREE` times the limit in a window."""
        with self._lock:
            now = time.monotonic()
            entries = self._recent(key, seconds, now)
            free = self._recent(f"{key}/free", seconds, now)
            if len(free) < limit * FREE:
                free.append(now)
                if entries:
                    entries.pop()
            return _window(entries, seconds, now)

    def _recent(self, key: str, seconds: int, now: float) -> deque[float]:
        """The entries of the subject that still count; it becomes the one that was seen last."""
        found = self._entries.pop(key, None) or (deque(), seconds)
        self._entries[key] = found
        entries = found[0]
        while entries and entries[0] <= now - seconds:
            entries.popleft()
        if len(self._entries) > 1:
            self._forget(now)
        return entries

    def _forget(self, now: float) -> None:
        """Forget the subject that was not seen for the longest time, if it has nothing left."""
        first = next(iter(self._entries))
        entries, seconds = self._entries[first]
        over = not entries or entries[-1] <= now - seconds
        if over or len(self._entries) > _MOST_SUBJECTS:
            del self._entries[first]


def _window(entries: deque[float], seconds: int, now: float, *, taken: bool = False) -> Window:
    return Window(taken, len(entries), entries[0] + seconds - now if entries else 0.0)
