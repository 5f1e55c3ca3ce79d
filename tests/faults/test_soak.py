"""Mixed load for a while: as fast at the end as at the beginning, and nothing grows."""

import os
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.settings import Settings
from tests.circulation.conftest import Library
from tests.faults.load import Answer, Load, Step
from tests.faults.processes import Launcher, Process, Usage
from tests.redis_server import RedisServer

JSON = dict[str, Any]

# Everybody calls many times as often as people do, so that this is half an hour's worth of a desk.
SECONDS = 320 if os.environ.get("TEST_LONG") else 32
# What is loaded and remembered at first is no growth.
WARM_UP_SECONDS = 4
# The first part and the last one, which are compared.
PART_SECONDS = (SECONDS - WARM_UP_SECONDS) / 4
FEWEST_CALLS = 200
# Slower by so much is noise of a machine that does other things, too; in seconds.
NOISE_SECONDS = 0.25
# What may come and go: a connection that is replaced, a thread that stores a last use.
FILES_MORE, THREADS_MORE = 12, 4
MEMORY_RATIO, MEMORY_MORE = 1.1, 24 * 1024**2

BOOKS = 40
PAUSE_SECONDS = 0.01

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


class Callers:
    """What readers, members and staff do, each time they call."""

    def __init__(self, library: Library) -> None:
        library.policy()
        branch = library.branch()
        self._books = [library.book() for _ in range(BOOKS)]
        self._copies = [library.copy(book, branch) for book in self._books]
        self._users = [library.user() for _ in range(BOOKS)]
        member = library.user()
        librarian = library.user("librarian")
        self.member = library.key(member)
        self.staff = library.key(librarian, "librarian")
        self._lent: list[UUID] = []
        self._turn = count()

    def read(self, client: httpx.Client, random: Random) -> httpx.Response:
        """Look at a list, search, or read a book again that has not changed since."""
        path = random.choice(["/api/books", "/api/posts", "/api/books?q=book", "/api/authors"])
        if random.random() < 0.5:
            path = f"/api/books/{random.choice(self._books)}"
        response = client.get(path)
        tag = response.headers.get("ETag")
        if response.status_code == 200 and tag and random.random() < 0.5:
            return client.get(path, headers={"If-None-Match": tag})
        return response

    def look_after_oneself(self, client: httpx.Client, random: Random) -> httpx.Response:
        """Look at one's own loans, holds, fees and notices."""
        own = ["", "/loans", "/holds", "/fees", "/balance", "/notices"]
        return client.get(f"/api/me{random.choice(own)}")

    def lend_and_take_back(self, client: httpx.Client, _random: Random) -> httpx.Response:
        """Lend a copy, or take it back from whoever has it."""
        if self._lent:
            # Until it is taken back, nobody else can have it.
            response = client.post("/api/returns", json={"copy": str(self._lent[-1])})
            if response.is_success:
                self._lent.pop()
            return response
        number = next(self._turn) % BOOKS
        loan = {"user": str(self._users[number]), "copy": str(self._copies[number])}
        response = client.post("/api/loans", json=loan)
        if response.is_success:
            self._lent.append(self._copies[number])
        return response

    def write_news(self, client: httpx.Client, random: Random) -> httpx.Response:
        """Write a post, and take it away again."""
        body = {"title": f"News {random.random()}", "body": "Text", "author": "Somebody"}
        response = client.post("/api/posts", json=body)
        if not response.is_success:
            return response
        path = response.headers["Location"]
        return client.delete(path, headers={"If-Match": response.headers.get("ETag", "*")})


@pytest.fixture
def service(
    launcher: Launcher, settings: Settings, engine: Engine, redis: RedisServer, tmp_path: Path
) -> Iterator[Process]:
    """A process as in earnest."""
    with launcher.service(tmp_path, settings, REDIS_URL=redis.url) as process:
        yield process


@pytest.fixture
def worker(
    launcher: Launcher,
    settings: Settings,
    engine: Engine,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    """A worker beside it."""
    place = tmp_path_factory.mktemp("worker")
    with launcher.worker(place, settings, REDIS_URL=redis.url) as process:
        yield process


def test_nothing_grows_and_nobody_waits_longer(
    service: Process, worker: Process, library: Library
) -> None:
    callers = Callers(library)
    steps = [
        (callers.read, {}),
        (callers.look_after_oneself, callers.member),
        (callers.lend_and_take_back, callers.staff),
        (callers.write_news, callers.staff),
    ]
    load = Load(service.url)
    before: list[Usage] = []
    with load.of([_in_measure(step) for step, _ in steps], [headers for _, headers in steps]):
        time.sleep(WARM_UP_SECONDS)
        began = time.monotonic()
        for _ in range(int(SECONDS - WARM_UP_SECONDS)):
            time.sleep(1)
            before.append(service.usage())
        ended = time.monotonic()

    assert service.is_alive()
    assert worker.is_alive()
    for answer in load.answers:
        _assert_done_or_limited(answer.response)
    _assert_as_fast(
        [answer for answer in load.since(began) if answer.asked_at < began + PART_SECONDS],
        load.since(ended - PART_SECONDS),
    )
    _assert_flat(before)
    # Nothing that an operator should hear of; what is said at the start is no event.
    assert '"event"' not in service.log(), service.log()


def _in_measure(step: Step) -> Step:
    """A caller who is limited waits a moment, as it is told to, before the next call."""

    def call(client: httpx.Client, random: Random) -> httpx.Response:
        response = step(client, random)
        time.sleep(0.5 if response.status_code == 429 else PAUSE_SECONDS)
        return response

    return call


def _assert_done_or_limited(response: httpx.Response) -> None:
    if response.status_code == 429:
        assert int(response.headers["Retry-After"]) >= 0
        assert response.headers["Content-Type"] == "application/problem+json"
    else:
        assert response.is_success or response.status_code == 304, response.text


def _assert_as_fast(first: Sequence[Answer], last: Sequence[Answer]) -> None:
    assert min(len(first), len(last)) > FEWEST_CALLS
    at_first, at_last = _p99(first), _p99(last)
    assert at_last < max(1.5 * at_first, at_first + NOISE_SECONDS), (at_first, at_last)


def _p99(answers: Sequence[Answer]) -> float:
    """The time in seconds within which 99 of 100 were answered, without the caller's pauses."""
    taken = sorted(answer.response.elapsed.total_seconds() for answer in answers)
    return taken[int(len(taken) * 0.99)]


def _assert_flat(samples: Sequence[Usage]) -> None:
    """The last quarter takes no more than the first one, but for what comes and goes."""
    quarter = len(samples) // 4
    first, last = samples[:quarter], samples[-quarter:]

    def most(part: Sequence[Usage], name: str) -> int:
        return max(int(getattr(usage, name)) for usage in part)

    assert most(last, "files") <= most(first, "files") + FILES_MORE, samples
    assert most(last, "threads") <= most(first, "threads") + THREADS_MORE, samples
    grown = most(first, "memory") * MEMORY_RATIO + MEMORY_MORE
    assert most(last, "memory") <= grown, samples
