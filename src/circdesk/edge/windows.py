"""Moving windows: how many of a subject's requests were counted in the last so many seconds.

Each request that counts is an entry with its time, so that a window is exact at every moment, and
not only where its clock begins anew. In Redis the entries are shared by all processes.
"""

import time
from collections import deque
from threading import Lock
from typing import Any, NamedTuple

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

# As often as this, times the limit, a request that was found to have cost nothing is given back.
FREE = 4

# Of more subjects than this, those that were not seen for the longest time are forgotten.
_MOST_SUBJECTS = 20_000

# Seconds that Redis may take to be reached, and again to answer.
_PATIENCE = 0.25

_MICROSECONDS = 1_000_000


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


# The clock is the server's own, so that all processes have the same; one that was set back leaves
# entries of the future behind, which would count for as long as it was set back.
_SCRIPT = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local act, limit, window = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function tidy(key)
  local newest = redis.call('LINDEX', key, -1)
  if newest and tonumber(newest) > now then redis.call('DEL', key) end
  local oldest = redis.call('LINDEX', key, 0)
  while oldest and tonumber(oldest) <= now - window do
    redis.call('LPOP', key)
    oldest = redis.call('LINDEX', key, 0)
  end
end

local function take(key, limit)
  tidy(key)
  if redis.call('LLEN', key) >= limit then return 0 end
  redis.call('RPUSH', key, string.format('%.0f', now))
  redis.call('PEXPIRE', key, window / 1000)
  return 1
end

local taken = 0
if act == 'take' then
  taken = take(KEYS[1], limit)
else
  tidy(KEYS[1])
  if act == 'give_back' and take(KEYS[2], limit * tonumber(ARGV[4])) == 1 then
    redis.call('RPOP', KEYS[1])
  end
end
local oldest = redis.call('LINDEX', KEYS[1], 0)
return {taken, redis.call('LLEN', KEYS[1]), oldest and oldest + window - now or 0}
"""


class RedisWindows:
    """The windows that all processes share; each call is one atomic script, with a deadline.

    Every method raises `redis.RedisError` where Redis does not answer in time.
    """

    def __init__(self, url: str) -> None:
        # A connection that has died since its last use is made anew, once.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        self._redis = Redis.from_url(
            url, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, retry=retry
        )
        self._script = self._redis.register_script(_SCRIPT)

    def take(self, key: str, limit: int, seconds: int) -> Window:
        """Count a request of the subject, if there is still a place for it."""
        return self._run("take", key, limit, seconds)

    def look(self, key: str, limit: int, seconds: int) -> Window:
        """How the subject stands, without counting anything."""
        return self._run("look", key, limit, seconds)

    def give_back(self, key: str, limit: int, seconds: int) -> Window:
        """Free a place that was taken, but not more than `FREE` times the limit in a window."""
        return self._run("give_back", key, limit, seconds)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()

    def _run(self, act: str, key: str, limit: int, seconds: int) -> Window:
        keys = [key, f"{key}/free"]
        values: list[str | int] = [act, limit, seconds * _MICROSECONDS, FREE]
        answer: Any = self._script(keys, values)
        taken, used, reset = answer
        return Window(bool(taken), used, reset / _MICROSECONDS)
