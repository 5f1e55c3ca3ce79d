"""Redis, with deadlines; imported where there is one, since its library takes 9 MB and 0.1 s."""

from typing import Any

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

# What tells that it is gone.
REDIS_ERRORS = (RedisError, OSError)

# A look at Redis takes a fraction of a millisecond; one that takes this long helps nobody.
_DEADLINE_SECONDS = 0.25


def redis_options(seconds: float = _DEADLINE_SECONDS) -> dict[str, Any]:
    """Options of a client that waits so long for a connection, and again for each answer.

    On its own the library would try for seconds, again and again.
    """
    return {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "retry": Retry(NoBackoff(), 0),
    }


def redis_client(url: str, seconds: float = _DEADLINE_SECONDS) -> Redis:
    """A client with these deadlines; nothing is connected before it is used."""
    client: Redis = Redis.from_url(url, **redis_options(seconds))
    return client
