"""The worker's heartbeat: a file in the instance directory, and a key in Redis where that is set.

The file tells those who share the directory with the worker, the key everybody else. Without Redis
a worker has to share it anyway: the queue of its jobs is there.
"""

import time

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

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


def redis_client(url: str) -> Redis:
    """A client that waits for one second at most, and tries once."""
    client: Redis = Redis.from_url(
        url,
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return client


class Heartbeat:
    """The heartbeat, as the worker gives it and as others find it."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.instance / ALIVE
        url = settings.redis_url
        self._redis = redis_client(url.get_secret_value()) if url else None
        self._lost = False

    def beat(self) -> None:
        """Show that the worker works. Raises OSError where the file cannot be touched."""
        self._file.touch()
        if self._redis is None:
            return
        try:
            # Redis forgets it by itself, so that no two clocks need agree.
            self._redis.set(_KEY, b"", ex=STALE_SECONDS)
        except RedisError as error:
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
        """Whether a worker beats in Redis, wherever it runs. Raises RedisError."""
        return self._redis is not None and bool(self._redis.exists(_KEY))

    @property
    def has_redis(self) -> bool:
        """Whether there is a Redis at all."""
        return self._redis is not None

    def close(self) -> None:
        """Close the connection."""
        if self._redis is not None:
            self._redis.close()
