"""Positions: up to where in the primary's log each caller has written, kept for a minute.

A replica that has replayed the position has all that the caller wrote. Processes share them by
Redis; without it, each knows its own callers.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import SecretStr

from circdesk.db.outage import Outage
from circdesk.db.replica import MOST_LAG_SECONDS, UNKNOWN

# A replica that is further behind than half of this is not asked by anybody, so that all of it is
# replayed everywhere when it is forgotten.
SECONDS = int(2 * MOST_LAG_SECONDS)

_PREFIX = "circdesk:wrote:"
# Up to where anybody may have written, where that of each is not known.
_ANYBODY = _PREFIX + "anybody"
# It is there, for good, in a Redis that has not lost what it knew.
_WHOLE = _PREFIX + "whole"

# Positions are texts of one length, so that their order is that of numbers. Requests of one caller
# may end in another order than they wrote.
_NOTE = """
for _, key in ipairs(KEYS) do
  local known = redis.call('GET', key)
  if not known or known < ARGV[1] then known = ARGV[1] end
  redis.call('SET', key, known, 'EX', ARGV[2])
end
return 1
"""


class Positions(Protocol):
    """Up to where callers have written, by a name of each."""

    def note(self, callers: Sequence[str], position: int) -> None:
        """Keep that they have written up to this position."""

    def find(self, callers: Sequence[str]) -> int:
        """Up to where one of them has written; 0 for none, `UNKNOWN` where nobody can tell."""


class MemoryPositions:
    """The positions of the callers of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The oldest first, with the times of `time.monotonic` at which they are forgotten.
        self._known: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def note(self, callers: Sequence[str], position: int) -> None:
        """Keep that they have written up to this position."""
        with self._lock:
            self._forget()
            for caller in callers:
                known, _ = self._known.pop(caller, (0, 0.0))
                self._known[caller] = (max(known, position), time.monotonic() + SECONDS)

    def find(self, callers: Sequence[str]) -> int:
        """Up to where one of them has written; 0 for none."""
        with self._lock:
            self._forget()
            return max(self._known.get(caller, (0, 0.0))[0] for caller in callers)

    def _forget(self) -> None:
        now = time.monotonic()
        while self._known and next(iter(self._known.values()))[1] < now:
            self._known.popitem(last=False)


class RedisPositions:
    """The positions of the callers of all processes.

    Where Redis is gone, or has been and has lost what it knew, everybody may have written.
    """

    def __init__(self, url: str) -> None:
        # Only who has a Redis waits for its library.
        from circdesk.db.redis_client import REDIS_ERRORS, redis_client  # noqa: PLC0415

        self._redis: Any = redis_client(url)
        self._outage = Outage("positions", REDIS_ERRORS)
        self._script = self._redis.register_script(_NOTE)
        # Whether somebody wrote whom Redis was not told of.
        self._lacks_some = False

    def note(self, callers: Sequence[str], position: int) -> None:
        """Keep that they have written up to this position; where Redis is gone, that some have."""
        keys = [_PREFIX + caller for caller in callers]
        if self._outage.attempt(lambda: self._tell(keys, position)) is None:
            self._lacks_some = True

    def find(self, callers: Sequence[str]) -> int:
        """Up to where one of them has written; 0 for none, `UNKNOWN` where nobody can tell."""
        found = self._outage.attempt(lambda: self._find([_PREFIX + name for name in callers]))
        return UNKNOWN if found is None else found

    def _find(self, keys: Sequence[str]) -> int:
        whole, *known = self._redis.mget([_WHOLE, _ANYBODY, *keys])
        if whole is None or self._lacks_some:
            self._begin_anew()
            return UNKNOWN
        return max(int(position or b"0", 16) for position in known)

    def _begin_anew(self) -> None:
        """Let everybody count as having written just now."""
        self._lacks_some = False
        try:
            self._tell([_ANYBODY], UNKNOWN)
            self._redis.set(_WHOLE, b"")
        except BaseException:
            self._lacks_some = True
            raise

    def _tell(self, keys: Sequence[str], position: int) -> bool:
        self._script(keys, [f"{position:016x}", SECONDS])
        return True


def make_positions(redis_url: SecretStr | None) -> Positions:
    """The positions that processes with this Redis share; without one, those of this service."""
    return MemoryPositions() if redis_url is None else RedisPositions(redis_url.get_secret_value())
