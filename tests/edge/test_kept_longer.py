"""What is kept in memory while nobody commits anything, and how soon a commit of others is seen.

Lifetimes are those in earnest. The PostgreSQL is one of these tests' own, on which nobody else
commits anything.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from structlog.testing import capture_logs

from circdesk.db.commits import Commits
from circdesk.db.engine import make_engine
from circdesk.db.generations import MEMORY
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import make_sessions
from circdesk.edge.lifetimes import LIFETIMES
from circdesk.settings import Settings
from tests.auth.serving import serving
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.postgresql_server import new_database, quiet_postgresql_server, stopped
from tests.redis_server import RedisServer

# For so long a process may not know what another one has committed.
PROMISE = 2
# A slow machine needs some tries until an answer has lasted.
PATIENCE = 60

ON_SQLITE = pytest.mark.parametrize("alone", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("alone", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL that commits nothing by itself."""
    with quiet_postgresql_server("circdesk-kept-") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings for a service on a migrated database that nobody else uses."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'library.db'}"
    else:
        url = new_database(request.getfixturevalue("server"))
    settings = Settings(
        instance=tmp_path,
        database_url=SecretStr(url),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url="http://127.0.0.1:8000",
        threads=4,
        rate_limits="1000000/minute",
        database_timeout_seconds=1,
    )
    engine = make_engine(settings)
    upgrade(engine)
    engine.dispose()
    MEMORY.touch_all()
    return settings


@pytest.fixture
def path(alone: Settings) -> str:
    """A book."""
    engine = make_engine(alone)
    book = Library(make_sessions(engine)).book(title="Old")
    engine.dispose()
    return f"/api/books/{book}"


@pytest.fixture
def anybody(alone: Settings) -> Iterator[httpx.Client]:
    with serving(alone) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


def age_in(response: httpx.Response) -> int:
    assert response.status_code == 200, response.text
    return int(response.headers.get("Age", "0"))


def grow_old(client: httpx.Client, path: str) -> None:
    """Ask until an answer has lasted for longer than others could be told of a change."""
    deadline = monotonic() + PATIENCE
    while age_in(client.get(path)) <= PROMISE:
        assert monotonic() < deadline
        sleep(0.02)


def rename(settings: Settings) -> None:
    """Give the book another title, as another process does."""
    url = make_url(settings.database_url.get_secret_value())
    statement = "UPDATE books SET title = 'New'"
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(url.database or "", isolation_level=None)) as connection:
            connection.execute(statement)
    else:
        address = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as server:
            server.execute(statement)


AsksCommits = Callable[[], bool]


@pytest.fixture
def asks_commits() -> AsksCommits:
    """Whether a service that began in the test asks what was committed."""

    def asking() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name.startswith("commits")}

    others = asking()
    return lambda: not asking() <= others


class TestQuiet:
    def test_an_answer_lasts_while_nobody_commits_anything(
        self, anybody: httpx.Client, path: str, count_queries: CountQueries
    ) -> None:
        grow_old(anybody, path)
        with count_queries() as statements:
            assert age_in(anybody.get(path)) > PROMISE
        assert statements == []

    @ON_SQLITE
    def test_and_not_for_longer_than_its_lifetime(self, anybody: httpx.Client, path: str) -> None:
        grow_old(anybody, path)
        ages, deadline = [0], monotonic() + PATIENCE
        while ages[-1] == 0 or "Age" in anybody.get(path).headers:
            ages.append(age_in(anybody.get(path)))
            assert monotonic() < deadline
            sleep(0.02)
        assert PROMISE < max(ages) <= LIFETIMES["get_book"].seconds

    def test_who_asks_ends_with_the_service(
        self, alone: Settings, path: str, asks_commits: AsksCommits
    ) -> None:
        with serving(alone) as url, httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(2):
                client.get(path)
            assert asks_commits()
        assert not asks_commits()

    def test_nobody_asks_for_who_asks_nothing(
        self, asks_commits: AsksCommits, anybody: httpx.Client, path: str
    ) -> None:
        anybody.get("/api/posts")
        anybody.get(path)
        sleep(0.1)
        assert not asks_commits()


class TestChange:
    @pytest.mark.parametrize("hangs", [False, True], ids=["who asks hears", "who asks hangs"])
    def test_what_another_commits_is_seen_in_time(
        self,
        anybody: httpx.Client,
        alone: Settings,
        path: str,
        monkeypatch: pytest.MonkeyPatch,
        hangs: bool,  # noqa: FBT001
    ) -> None:
        grow_old(anybody, path)
        may_go_on = threading.Event()
        read = Commits._read

        def hang(self: Commits) -> Any:
            may_go_on.wait(PATIENCE)
            return read(self)

        if hangs:
            monkeypatch.setattr(Commits, "_read", hang)
        rename(alone)
        committed = sent = monotonic()
        while anybody.get(path).json()["title"] == "Old":
            assert sent - committed < PROMISE
            sleep(0.02)
            sent = monotonic()
        may_go_on.set()
        # From then on it is as before.
        grow_old(anybody, path)
        assert anybody.get(path).json()["title"] == "New"

    @ON_POSTGRESQL
    def test_a_database_that_is_away_is_told_of_as_soon(
        self, anybody: httpx.Client, path: str, server: Any
    ) -> None:
        grow_old(anybody, path)
        with stopped(server), capture_logs():
            gone = sent = monotonic()
            while anybody.get(path).status_code == 200:
                assert sent - gone < PROMISE
                sleep(0.02)
                sent = monotonic()
        grow_old(anybody, path)


class TestElsewhere:
    """Where it cannot be told, or need not be, nobody asks."""

    @ON_POSTGRESQL
    def test_a_replica_may_lack_what_was_committed(
        self, alone: Settings, path: str, asks_commits: AsksCommits
    ) -> None:
        # It follows nobody; all is read where it is written.
        with (
            capture_logs(),
            serving(alone, database_replica_url=alone.database_url) as url,
            httpx.Client(base_url=url, timeout=60) as client,
        ):
            deadline = monotonic() + 2 * PROMISE
            while monotonic() < deadline:
                assert age_in(client.get(path)) <= PROMISE
                sleep(0.05)
            assert not asks_commits()

    def test_redis_tells_of_each_change(
        self, alone: Settings, path: str, redis: RedisServer, asks_commits: AsksCommits
    ) -> None:
        changes = {"redis_url": SecretStr(redis.url)}
        with serving(alone, **changes) as url, httpx.Client(base_url=url, timeout=60) as client:
            assert "Age" not in client.get(path).headers
            assert "Age" in client.get(path).headers
            assert not asks_commits()
