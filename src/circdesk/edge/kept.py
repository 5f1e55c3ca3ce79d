"""Answers that are kept: finished, as they left, with what tells how long they are good."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic, time
from typing import Any

import flask
import orjson
from cachelib import BaseCache
from cachelib.serializers import BaseSerializer
from flask_caching import Cache

from circdesk.contract.answers import Answer
from circdesk.contract.headers import RawHeader
from circdesk.db.commits import Commits
from circdesk.db.generations import SECONDS, Generations
from circdesk.settings import Settings

# Without Redis nobody tells this process what others write to the database, such as a worker, an
# import at the command line or a second api: so long it may not know that they have.
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
    def age(self) -> float:
        """Seconds since it was made; negative where the clock was set back."""
        return time() - self.made


@dataclass(frozen=True, slots=True)
class Ready:
    """An answer that is kept in memory, as it leaves for anonymous callers.

    Attributes:
        began: When it began to be made, before anything was read; a time of `time.monotonic`.
        seconds: For how long it is good, whatever others commit.
        longest: For how long it is good while nobody commits anything.
        resources: What it depends on.
        whole: Its headers.
        not_modified: Those of a 304 to who has it already.
    """

    kept: Kept
    began: float
    seconds: float
    longest: float
    resources: Sequence[str]
    whole: Sequence[RawHeader]
    not_modified: Sequence[RawHeader]


def kept_from(answer: Answer, generations: str) -> Kept | None:
    """What can be kept of an answer; None where it is no whole 200, or is for one caller alone."""
    if answer.status != 200 or answer.media_type is None or answer.has_header("Set-Cookie"):
        return None
    if not isinstance(answer.body, bytes):
        return None
    return Kept(time(), generations, answer.media_type, answer.headers, answer.body)


class KeptAnswers:
    """The answers that are kept, in Redis or in memory.

    Args:
        cache: The extension.
        generations: Those of the database; where they are out of reach, so are the answers.
        shared: Whether whoever changes the database tells this process, by Redis.
        commits: Whether somebody did, where nobody tells; None where it cannot be asked.
    """

    def __init__(
        self,
        cache: Cache,
        generations: Generations,
        *,
        shared: bool,
        commits: Commits | None = None,
    ) -> None:
        self._cache = cache
        self._outage = generations.outage
        self.shared = shared
        self._commits = commits
        self._backend: BaseCache

    def bind(self, app: flask.Flask, settings: Settings) -> None:
        """Bind the extension to an application, to Redis where that is set and else to memory."""
        self._cache.init_app(app, _configuration(settings))
        # The extension's own way to it leads through Flask's context, which an event loop has not.
        self._backend = app.extensions["cache"][self._cache]

    def find(self, key: str, generations: str, seconds: int) -> Kept | None:
        """The answer with this key, if it is of these generations and not too old."""
        get = partial(self._backend.get, key)
        found = self._outage.attempt(get) if self.shared else get()
        kept = self._still_good(found) if isinstance(found, Ready) else _young(found, seconds)
        return kept if kept is not None and kept.generations == generations else None

    def find_ready(self, key: str) -> Ready | None:
        """The answer in memory with this key, of whichever generations and age."""
        ready: Ready | None = self._backend.get(key)
        return ready

    def age_of(self, ready: Ready) -> float | None:
        """The age in seconds of an answer in memory, of whichever generations; None if too old.

        While nobody commits anything, its time begins anew whenever that is known, until it has
        lasted for the longest.
        """
        age = ready.kept.age
        until = self._commits.unchanged_until(ready.began) if self._commits else -math.inf
        lasts = age < ready.seconds or monotonic() - until < ready.seconds
        return age if lasts and 0 <= age < ready.longest else None

    def keep(self, key: str, kept: Kept, seconds: int) -> None:
        """Keep an answer in Redis for so many seconds, if it is not too long."""
        if len(kept.body) <= _LONGEST_BODY:
            timeout = min(seconds, SECONDS)
            self._outage.attempt(partial(self._backend.set, key, _write(kept), timeout=timeout))

    def keep_ready(self, key: str, ready: Ready) -> None:
        """Keep an answer in memory, if it is not too long."""
        if len(ready.kept.body) <= _LONGEST_BODY:
            # It says itself how long it is good. Where all have one timeout, the backend gives up
            # the oldest for a new one, and not those that change most often.
            self._backend.set(key, ready, timeout=SECONDS)

    def _still_good(self, ready: Ready) -> Kept | None:
        return ready.kept if self.age_of(ready) is not None else None


def memory_seconds(seconds: int) -> tuple[float, float]:
    """For how long an answer that is good for so long may be kept in memory.

    The first is for whatever others commit, the second while nobody commits anything. Answers that
    were made together must not all be made anew together.
    """
    share = random.uniform(0.75, 1)  # noqa: S311  It is no secret.
    return share * min(seconds, MEMORY_SECONDS), share * seconds


def _young(text: bytes | None, seconds: int) -> Kept | None:
    """What was kept, and is not older than that."""
    kept = _read(text) if text else None
    return kept if kept is not None and 0 <= kept.age < seconds else None


def _write(kept: Kept) -> bytes:
    head = orjson.dumps((kept.made, kept.generations, kept.media_type, kept.headers))
    return head + b"\n" + kept.body


def _read(text: bytes) -> Kept | None:
    """What was kept; None where another release has kept it in a form of its own."""
    head, _, body = text.partition(b"\n")
    try:
        made, generations, media_type, headers = orjson.loads(head)
    except ValueError:
        return None
    return Kept(made, generations, media_type, headers, body)


class _AsItIs(BaseSerializer):
    """Leaves bytes as they are; what the library would do, unpickle, runs what it reads."""

    def dumps(self, value: Any, *_: Any) -> Any:
        return value

    def loads(self, bvalue: Any) -> Any:
        return bvalue


def _configuration(settings: Settings) -> dict[str, Any]:
    config: dict[str, Any] = {"CACHE_SERIALIZER": _AsItIs()}
    if settings.redis_url is None:
        return config | {"CACHE_TYPE": "SimpleCache", "CACHE_THRESHOLD": _MOST_ANSWERS}
    # Only who has a Redis waits for its library.
    from circdesk.db.redis_client import redis_options  # noqa: PLC0415

    return config | {
        "CACHE_TYPE": "RedisCache",
        "CACHE_REDIS_URL": settings.redis_url.get_secret_value(),
        "CACHE_KEY_PREFIX": "circdesk:answer:",
        "CACHE_OPTIONS": redis_options(),
    }
