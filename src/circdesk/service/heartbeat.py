"""The worker's heartbeat: a file in the instance directory, and a key in Redis where that is set.

The file tells those who share the directory with the worker, the key everybody else. Without Redis
a worker has to share it anyway: the queue of its jobs is there.
"""

import time
from typing import Any

import structlog

from circdesk.settings import Settings

log = structlog.get_logger("circdesk.worker")

# The file in the instance directory that a worker touches as long as it works; compose.yaml looks
# at its age, too.
ALIVE = "worker.alive"
_KEY = "circdesk:worker.alive"
# It beats every five seconds, unless chores keep it from that, for half a minute at most.
STALE_SECONDS = 60
# For connecting, and for each answer.
_REDIS_SECONDS = 1.0


class Heartbeat:
    """The heartbeat, as the worker gives it and as others find it.

    Attributes:
        errors: What tells that Redis is gone.
    """

    errors: tuple[type[Exception], ...] = ()

    def __init__(self, settings: Settings) -> None:
        self._file = settings.instance / ALIVE
        self._redis: Any = None
        self._lost = False
        if settings.redis_url is not None:
            # Only who has a Redis waits for its library.
            from circdesk.db.redis_client import REDIS_ERRORS, redis_client  # noqa: PLC0415

            self.errors = REDIS_ERRORS
            url = settings.redis_url.get_secret_value()
            self._redis = redis_client(url, _REDIS_SECONDS)

    def beat(self) -> None:
        """Show that the worker works. Raises OSError where the file cannot be touched."""
        self._file.touch()
        if self._redis is None:
            return
        try:
            # Redis forgets it by itself, so that no two clocks need agree.
            self._redis.set(_KEY, b"", ex=STALE_SECONDS)
        except self.errors as error:
            if not self._lost:
                log.warning("heartbeat_unheard", reason=type(error).__name__)
            self._lost = True
        else:
            self._lost = False

    def is_seen_here(self) -> bool:
        """Whether a worker beats in this instance directory, also after a clock was put back."""
        try:
            age = abs(time.time() - self._file.stat().st_mtime)
        except FileNotFoundError:
            return False
        return age < STALE_SECONDS

    def is_heard(self) -> bool:
        """Whether a worker beats in Redis, wherever it runs. Raises `errors`."""
        return self._redis is not None and bool(self._redis.exists(_KEY))

    @property
    def has_redis(self) -> bool:
        """Whether there is a Redis at all."""
        return self._redis is not None

    def close(self) -> None:
        """Close the connection."""
        if self._redis is not None:
            self._redis.close()
