"""Answers that are kept: finished, as they left, with what tells how long they are good."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import time
from typing import Any

import flask
import orjson
from cachelib.serializers import BaseSerializer
from flask_caching import Cache

from circdesk.db.generations import SECONDS, Generations
from circdesk.db.outage import REDIS_OPTIONS
from circdesk.settings import Settings

# Without Redis nobody tells this process what others write to the database, such as a worker, an
# import at the command line or a second api: so long it may not know.
MEMORY_SECONDS = 2
# Together these are 64 MB of memory at most. Hardly any answer is as long as that.
_MOST_ANSWERS = 256
_LONGEST_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Kept:
    """A finished answer with status 200.

    Attributes:
        made: When it was made, in seconds of the system's clock, which processes share.
        generations: Those of its resources before it was made.
    """

    made: float
    generations: str
    media_type: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def age(self) -> int:
        """Whole seconds since it was made."""
        return int(time() - self.made)


def kept_from(response: flask.Response, generations: str) -> Kept | None:
    """What can be kept of an answer; None where it is no whole 200, or is for one caller alone."""
    if response.status_code != 200 or response.is_streamed or "Set-Cookie" in response.headers:
        return None
    headers = dict(response.headers)
    headers.pop("Content-Length", None)
    media_type = headers.pop("Content-Type")
    return Kept(time(), generations, media_type, headers, response.get_data())


class KeptAnswers:
    """The answers that are kept, in Redis or in memory.

    Args:
        cache: The extension, which is bound to the application that serves.
        generations: Those of the database; where they are out of reach, so are the answers.
        shared: Whether whoever changes the database tells this process, by Redis.
    """

    def __init__(self, cache: Cache, generations: Generations, *, shared: bool) -> None:
        self._cache = cache
        self._outage = generations.outage
        self.shared = shared
        self._most_seconds = SECONDS if shared else MEMORY_SECONDS

    def find(self, key: str, generations: str, seconds: int) -> Kept | None:
        """The answer with this key, if it is of these generations and not too old."""
        text = self._outage.attempt(lambda: self._cache.get(key))
        kept = None if text is None else _read(text)
        if kept is None:
            return None
        # A clock that was set back makes answers of the future.
        good = kept.generations == generations and 0 <= time() - kept.made < seconds
        return kept if good else None

    def keep(self, key: str, kept: Kept, seconds: int) -> None:
        """Keep an answer for so many seconds, if it is not too long."""
        if len(kept.body) > _LONGEST_BODY:
            return
        head = orjson.dumps((kept.made, kept.generations, kept.media_type, kept.headers))
        text = head + b"\n" + kept.body
        timeout = min(seconds, self._most_seconds)
        self._outage.attempt(lambda: self._cache.set(key, text, timeout=timeout))


def _read(text: bytes) -> Kept | None:
    """What was kept; None where another release has kept it in a form of its own."""
    head, _, body = text.partition(b"\n")
    try:
        made, generations, media_type, headers = orjson.loads(head)
    except ValueError:
        return None
    return Kept(made, generations, media_type, headers, body)


class _Bytes(BaseSerializer):
    """Leaves bytes as they are; what the library would do, unpickle, runs what it reads."""

    def dumps(self, value: bytes, *_: Any) -> bytes:
        return value

    def loads(self, bvalue: bytes | None) -> bytes | None:
        return bvalue


def bind_cache(cache: Cache, app: flask.Flask, settings: Settings) -> None:
    """Bind the extension to an application, to Redis where that is set and else to memory."""
    config: dict[str, Any] = {"CACHE_SERIALIZER": _Bytes()}
    if settings.redis_url is None:
        config |= {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": _MOST_ANSWERS}
    else:
        config |= {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": settings.redis_url.get_secret_value(),
            "CACHE_KEY_PREFIX": "circdesk:answer:",
            "CACHE_OPTIONS": dict(REDIS_OPTIONS),
        }
    cache.init_app(app, config)
