"""A database that goes away, freezes, comes back, or is held up by others, under the service."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from pydantic import SecretStr
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from circdesk.app import create_app
from circdesk.db.engine import READING, WITHOUT_DEADLINE, make_engine
from circdesk.db.errors import DatabaseUnavailable, OutcomeUnknown
from circdesk.db.migrations import upgrade
from circdesk.db.patience import patience_beyond
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.edge import caching
from circdesk.settings import Settings
from tests.beating import beating
from tests.people import api_key, seed_people
from tests.postgresql_server import (
    frozen,
    frozen_later,
    new_database,
    postgresql_server,
    stopped,
)

# The longest wait for the database, in seconds; psycopg knows no shorter one for connecting.
DEADLINE = 2
# Where something else is to happen before it.
LONG_DEADLINE = 60
# Where it has to pass several times.
SHORT_DEADLINE = 1
# What a slow machine may add to it; far less than a wait without a deadline.
SLACK = 10
THREADS = 4

POST = {"title": "News", "body": "Text", "author": "Somebody"}
UNAVAILABLE = ("database_unavailable", "5")
BUSY = ("database_busy", "1")
NOT_READY = ("not_ready", "5")


def settings_for(
    url: str, instance: Path, deadline: float, public_url: str = "http://127.0.0.1:8000"
) -> Settings:
    """Settings for a database that is waited for no longer than the deadline."""
    return Settings(
        instance=instance,
        database_url=SecretStr(url),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url=public_url,
        threads=THREADS,
        rate_limits="1000000/minute",
        database_timeout_seconds=deadline,
    )


@contextlib.contextmanager
def service(
    url: str, instance: Path, *, migrate: bool = True, deadline: float = DEADLINE
) -> Iterator[httpx.Client]:
    """A caller of a service of its own, on this database."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = settings_for(url, instance, deadline, address)
    if migrate:
        engine = make_engine(settings)
        upgrade(engine)
        seed_people(engine)
        engine.dispose()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with (
            beating(settings),
            httpx.Client(
                base_url=address,
                headers={"X-API-Key": api_key("admin")},
                timeout=LONG_DEADLINE + SLACK,
            ) as client,
        ):
            yield client
    finally:
        server.should_exit = True
        thread.join()


def refusal(response: httpx.Response, within: float = DEADLINE) -> tuple[str, str]:
    """Code and Retry-After of a 503 that came in time."""
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.elapsed.total_seconds() < within + SLACK
    body = response.json()
    assert body["status"] == 503
    assert body["details"] == []
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body["code"], response.headers["Retry-After"]


def at_once(client: httpx.Client, requests: list[tuple[str, str]]) -> list[httpx.Response]:
    """Send all requests at the same time."""

    def send(method: str, path: str) -> httpx.Response:
        return client.request(method, path, json=POST if method == "POST" else None)

    with ThreadPoolExecutor(len(requests)) as pool:
        return [*pool.map(lambda request: send(*request), requests)]


@pytest.fixture(autouse=True)
def _nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every read be one of the database; what is kept is answered also while that is gone."""
    monkeypatch.setattr(caching, "LIFETIMES", {})


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL that these tests alone use, stop and freeze."""
    with postgresql_server("circdesk-outage-") as server:
        yield server


@pytest.fixture
def url(server: Any) -> str:
    """The address of an empty database on it, for the service."""
    return new_database(server)


def connect_beside(url: str) -> "psycopg.Connection[Any]":
    """Connect to the service's database as somebody else."""
    return psycopg.connect(url.replace("+psycopg", ""))


class TestPostgresqlOutage:
    def test_a_server_that_stops_and_comes_back(
        self, server: Any, url: str, tmp_path: Path
    ) -> None:
        with service(url, tmp_path) as client, capture_logs():
            assert client.post("/api/posts", json=POST).status_code == 201
            before = client.get("/api/posts").json()
            # Several connections of the pool are open before they are lost.
            assert {r.status_code for r in at_once(client, [("GET", "/api/posts")] * 8)} == {200}

            with stopped(server):
                calls = [("GET", "/api/posts"), ("POST", "/api/posts"), ("GET", "/api/books?q=a")]
                for response in at_once(client, calls * 4):
                    assert refusal(response) == UNAVAILABLE
                assert refusal(client.get("/readiness")) == NOT_READY
                for path in ("/healthz", "/api/health", "/api", "/openapi.json", "/docs"):
                    assert client.get(path).status_code == 200

            assert client.get("/readiness").status_code == 200
            assert {r.status_code for r in at_once(client, [("GET", "/api/posts")] * 8)} == {200}
            # What was refused was not stored, and what was stored before is still there.
            assert client.get("/api/posts").json() == before
            assert client.post("/api/posts", json=POST).status_code == 201

    def test_a_request_that_waits_when_the_server_stops(
        self, server: Any, url: str, tmp_path: Path
    ) -> None:
        with (
            # Long enough that it is the outage, and not the lock, which ends the wait.
            service(url, tmp_path, deadline=LONG_DEADLINE) as client,
            capture_logs(),
            # Closed and not committed, as the server closes it itself.
            contextlib.closing(connect_beside(url)) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            other.execute("LOCK TABLE posts")
            waiting = pool.submit(client.get, "/api/posts")
            _until(lambda: _waiting_for_locks(other) > 0)
            with stopped(server):
                assert refusal(waiting.result()) == UNAVAILABLE
            assert client.get("/api/posts").status_code == 200

    def test_a_table_that_others_hold(self, url: str, tmp_path: Path) -> None:
        with service(url, tmp_path) as client, capture_logs():
            with connect_beside(url) as other:
                other.execute("LOCK TABLE posts")
                for response in at_once(client, [("GET", "/api/posts"), ("POST", "/api/posts")]):
                    assert refusal(response) == BUSY
                # Nobody else has to wait.
                assert client.get("/api/books").status_code == 200
                assert client.get("/readiness").status_code == 200
            assert client.get("/api/posts").status_code == 200
            assert client.post("/api/posts", json=POST).status_code == 201

    def test_a_server_that_takes_calls_and_never_answers(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql+psycopg://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing"
            with service(url, tmp_path, migrate=False) as client, capture_logs():
                requests = [("GET", "/api/posts"), ("POST", "/api/posts")]
                for response in at_once(client, requests):
                    assert refusal(response) == UNAVAILABLE
                assert refusal(client.get("/readiness")) == NOT_READY
                assert client.get("/healthz").status_code == 200


class TestFrozenPostgresql:
    """Neither the server nor TCP ends such a wait."""

    @pytest.fixture
    def engine(self, url: str, tmp_path: Path) -> Iterator[Engine]:
        """An engine on a database with one table."""
        engine = make_engine(settings_for(url, tmp_path, DEADLINE))
        with unit_of_work(make_sessions(engine), writing=True) as session:
            session.execute(text("CREATE TABLE things (name TEXT)"))
        yield engine
        engine.dispose()

    def names(self, engine: Engine) -> list[str]:
        with unit_of_work(make_sessions(engine), writing=False) as session:
            return list(session.scalars(text("SELECT name FROM things")))

    def write(self, engine: Engine, finish: Callable[[], None]) -> None:
        with unit_of_work(make_sessions(engine), writing=True) as session:
            session.execute(text("INSERT INTO things VALUES ('a')"))
            finish()

    def test_requests_are_refused_in_time_until_it_thaws(
        self, server: Any, url: str, tmp_path: Path
    ) -> None:
        calls = [("GET", "/api/posts"), ("POST", "/api/posts"), ("GET", "/readiness")]
        with service(url, tmp_path, deadline=SHORT_DEADLINE) as client, capture_logs():
            assert {r.status_code for r in at_once(client, [("GET", "/api/posts")] * 8)} == {200}

            with frozen(server):
                # First on connections of the pool, then on new ones.
                for response in at_once(client, calls) + at_once(client, calls):
                    probe = response.request.url.path == "/readiness"
                    expected = NOT_READY if probe else UNAVAILABLE
                    assert refusal(response, 2 * SHORT_DEADLINE) == expected
                assert client.get("/healthz").status_code == 200

            assert {r.status_code for r in at_once(client, calls)} == {200, 201}
            # What was refused was not stored.
            assert client.get("/api/posts").json()["total"] == 1

    def test_connecting_to_it_has_an_end(self, server: Any, engine: Engine) -> None:
        engine.dispose()
        with frozen(server), _in_time(), pytest.raises(DatabaseUnavailable):
            self.names(engine)

        assert self.names(engine) == []

    def test_a_commit_without_an_answer_has_an_unknown_outcome(
        self, server: Any, engine: Engine
    ) -> None:
        with frozen_later(server) as freeze, _in_time(), pytest.raises(OutcomeUnknown) as caught:
            self.write(engine, freeze)

        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "5"})
        # It had reached the server, which carries it out once it thaws, for nobody.
        _until(lambda: self.names(engine) == ["a"])

    def test_a_rollback_without_an_answer_stores_nothing(self, server: Any, engine: Engine) -> None:
        def fail() -> None:
            freeze()
            raise ZeroDivisionError

        with (
            frozen_later(server) as freeze,
            _in_time(),
            pytest.raises(DatabaseUnavailable) as caught,
        ):
            self.write(engine, fail)

        assert not isinstance(caught.value, OutcomeUnknown)
        assert self.names(engine) == []

    def test_who_has_no_deadline_waits_on(self, server: Any, engine: Engine) -> None:
        with (
            engine.connect() as connection,
            ThreadPoolExecutor(1) as pool,
        ):
            # Without a transaction, which the server would end as idle when it thaws.
            connection.execution_options(**{READING: True, WITHOUT_DEADLINE: True})
            with frozen(server):
                waiting = pool.submit(connection.scalar, text("SELECT 1"))
                with pytest.raises(TimeoutError):
                    waiting.result(timeout=patience_beyond(DEADLINE) + 1)
            assert waiting.result() == 1


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 2 * DEADLINE + SLACK


def _waiting_for_locks(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    assert row is not None
    return int(row[0])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_DEADLINE / 2
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


class TestSqliteLock:
    @pytest.fixture
    def database(self, tmp_path: Path) -> Path:
        """The file of the database."""
        return tmp_path / "library.db"

    @pytest.fixture
    def client(self, database: Path, tmp_path: Path) -> Iterator[httpx.Client]:
        """A caller of a service on that file."""
        with service(f"sqlite:///{database}", tmp_path) as client, capture_logs():
            yield client

    @contextlib.contextmanager
    def held(self, database: Path) -> Iterator[None]:
        """Another process that holds the lock for writing."""
        command = [sys.executable, "-c", HOLD_LOCK, str(database)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == b"locked\n"
            yield
            # Leaving closes its input, at which it ends.

    def test_who_writes_is_told_to_come_again(self, client: httpx.Client, database: Path) -> None:
        with self.held(database):
            for response in at_once(client, [("POST", "/api/posts")] * THREADS):
                assert refusal(response) == BUSY
            # Readers need no lock.
            assert client.get("/api/posts").json()["total"] == 0
            assert client.get("/readiness").status_code == 200

        assert client.post("/api/posts", json=POST).status_code == 201
        assert client.get("/api/posts").json()["total"] == 1

    def test_a_short_wait_is_no_refusal(self, database: Path, tmp_path: Path) -> None:
        with (
            # Short are waits that end before this, however long it takes the other to end.
            service(f"sqlite:///{database}", tmp_path, deadline=LONG_DEADLINE) as client,
            capture_logs(),
            ThreadPoolExecutor(1) as pool,
        ):
            with self.held(database):
                waiting = pool.submit(client.post, "/api/posts", json=POST)
                with pytest.raises(TimeoutError):
                    waiting.result(timeout=DEADLINE / 10)
            assert waiting.result().status_code == 201

    def test_a_file_that_is_no_database(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken.db"
        broken.write_bytes(b"no database" * 1000)
        with service(f"sqlite:///{broken}", tmp_path, migrate=False) as client, capture_logs():
            assert refusal(client.get("/api/posts")) == UNAVAILABLE
            assert refusal(client.get("/readiness")) == NOT_READY
            assert client.get("/healthz").status_code == 200
