"""The windows of all processes, for as long as Redis answers; of this one alone while it does not.

This is a storage of the `limits` package, so that Flask-Limiter and what counts outside of Flask
have one and the same.
"""

import math
import time
from functools import partial
from threading import Lock
from typing import Any

import structlog

from circdesk.edge.limiting import MovingWindowSupport, Storage
from circdesk.edge.windows import MemoryWindows, Window

log = structlog.get_logger("circdesk.limits")

# Flask-Limiter makes the storage of this scheme.
SCHEME = "circdesk"

# Seconds after which a Redis that has failed is asked again, by one request and not by all.
_PAUSE = 2.0


class WindowStorage(Storage, MovingWindowSupport):
    """A storage with moving windows, in Redis where there is one, and in memory.

    Args:
        uri: The scheme alone.
        url: Redis; without it, windows are in memory.
    """

    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - `limits` declares it.

    def __init__(self, uri: str, *, url: str | None = None, **options: Any) -> None:
        super().__init__(uri, **options)
        self._memory = MemoryWindows()
        self._redis: Any = None
        if url:
            # Only who has a Redis waits for its library.
            from circdesk.edge.redis_windows import RedisWindows  # noqa: PLC0415

            self._redis = RedisWindows(url)
        # Without Redis there is nobody to ask but the memory.
        self._take = self._memory.take if url is None else partial(self._ask, "take")
        self._lock = Lock()
        self._is_away = False
        self._next_try = -math.inf
        # What has no place before then, as far as this process knows; times of time.monotonic.
        self._full_until: dict[str, float] = {}

    def waits(self, key: str) -> bool:
        """Whether to count for the subject may wait for the network, which no event loop must."""
        return self._redis is not None and self._full_until.get(key, 0) <= time.monotonic()

    def is_full(self, key: str) -> bool:
        """Whether this process knows, without asking, that the subject has no place left."""
        return self._full_until.get(key, 0) > time.monotonic()

    def take(self, key: str, limit: int, seconds: int) -> Window:
        """Count a request of the subject, if there is still a place for it."""
        left = self._full_until.get(key, 0) - time.monotonic()
        if left > 0:
            # So a flood costs Redis nothing.
            return Window(taken=False, used=limit, reset=left)
        window = self._take(key, limit, seconds)
        if not window.taken:
            self._remember_full(key, window.reset)
        return window

    def look(self, key: str, limit: int, seconds: int) -> Window:
        """How the subject stands, without counting anything."""
        return self._ask("look", key, limit, seconds)

    def give_back(self, key: str, limit: int, seconds: int) -> Window:
        """Free a place that was taken, as far as that is free."""
        return self._ask("give_back", key, limit, seconds)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """As `take`; the strategies of `limits` name it so."""
        del amount
        return self.take(key, limit, expiry).taken

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """As `look`: when the window began, and its entries."""
        window = self.look(key, limit, expiry)
        return time.time() + window.reset - expiry, window.used

    def close(self) -> None:
        """Close the connections."""
        if self._redis is not None:
            self._redis.close()

    def _ask(self, act: str, key: str, limit: int, seconds: int) -> Window:
        if self._redis is not None and self._may_try():
            try:
                window: Window = getattr(self._redis, act)(key, limit, seconds)
            except self._redis.errors as error:
                self._note(away=True, reason=type(error).__name__)
            else:
                if self._is_away:
                    self._note(away=False)
                return window
        return getattr(self._memory, act)(key, limit, seconds)  # type: ignore[no-any-return]

    def _may_try(self) -> bool:
        if not self._is_away:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._next_try:
                return False
            self._next_try = now + _PAUSE
            return True

    def _note(self, *, away: bool, **facts: str) -> None:
        """Remember whether Redis is away, and log when that changes, however many find out."""
        with self._lock:
            changes, self._is_away = self._is_away != away, away
            self._next_try = time.monotonic() + _PAUSE
        if changes:
            write = log.warning if away else log.info
            write("limits_in_memory" if away else "limits_shared", **facts)

    def _remember_full(self, key: str, seconds: float) -> None:
        if len(self._full_until) >= 10_000:
            self._full_until.clear()
        self._full_until[key] = time.monotonic() + seconds

    # What other strategies than the moving window would need.

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """What it raises of its own: nothing."""
        return ()

    def check(self) -> bool:
        """It always works, in one way or the other."""
        return True

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Only moving windows are kept."""
        raise NotImplementedError

    def get(self, key: str) -> int:
        """Only moving windows are kept."""
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        """Only moving windows are kept."""
        raise NotImplementedError

    def reset(self) -> int | None:
        """Windows pass by themselves."""
        raise NotImplementedError

    def clear(self, key: str) -> None:
        """Windows pass by themselves."""
        raise NotImplementedError
