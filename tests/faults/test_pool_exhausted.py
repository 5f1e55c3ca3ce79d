"""More slow requests than connections: a 503 in time for whoever is too many, and then on."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.settings import Settings
from tests.beating import beating
from tests.faults.load import assert_told_to_come_again
from tests.faults.processes import Launcher, Process
from tests.people import api_key, seed_people
from tests.postgresql_server import new_database, postgresql_server

DEADLINE = 1
THREADS = 2
# More than threads, connections and places in line.
CALLERS = 60
# Two deadlines in line, one more for the statement, and what a slow machine adds.
LONGEST_CALL = 3 * DEADLINE + 10


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL whose connections these tests alone use up."""
    with postgresql_server("circdesk-pool-") as server:
        yield server


@pytest.fixture
def url(server: Any) -> str:
    """The address of an empty database on it."""
    return new_database(server)


@pytest.fixture
def service(url: str, launcher: Launcher, tmp_path: Path) -> Iterator[Process]:
    """A process with few threads and short deadlines."""
    settings = Settings(
        instance=tmp_path,
        database_url=SecretStr(url),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url="http://127.0.0.1:8000",
        threads=THREADS,
        database_timeout_seconds=DEADLINE,
    )
    engine = make_engine(settings)
    upgrade(engine)
    seed_people(engine)
    engine.dispose()
    own = {"CIRCDESK_INSTANCE": str(settings.instance)}
    with beating(settings), launcher.service(tmp_path / "service", settings, **own) as process:
        yield process


def ask_at_once(service: Process, path: str, headers: dict[str, str]) -> list[httpx.Response]:
    """The answers to many who ask in the same moment; each comes in time."""

    def ask(_number: int) -> httpx.Response:
        started = time.monotonic()
        response = httpx.get(f"{service.url}{path}", headers=headers, timeout=60)
        assert time.monotonic() - started < LONGEST_CALL
        return response

    with ThreadPoolExecutor(CALLERS) as pool:
        return [*pool.map(ask, range(CALLERS))]


def assert_recovered(service: Process) -> None:
    """Everybody is answered again; those who come at once by ones and twos."""
    for _ in range(10):
        for path in ("/api/posts", "/api/books", "/readiness"):
            assert httpx.get(f"{service.url}{path}").status_code == 200
    key = {"X-API-Key": api_key("member")}
    assert httpx.get(f"{service.url}/api/me", headers=key).status_code == 200


def test_more_slow_requests_than_connections(service: Process, url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE posts")
        answers = ask_at_once(service, "/api/posts", {})
        for answer in answers:
            assert_told_to_come_again(answer)
        codes = {answer.json()["code"] for answer in answers}
        assert {"database_busy", "overloaded"} <= codes
        assert httpx.get(f"{service.url}/healthz").status_code == 200
    assert_recovered(service)


def test_callers_who_cannot_be_identified_in_time(service: Process, url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE api_keys")
        for answer in ask_at_once(service, "/api/me", {"X-API-Key": api_key("member")}):
            assert_told_to_come_again(answer)
        # They stand in nobody's way who needs no credential.
        assert httpx.get(f"{service.url}/api/posts").status_code == 200
    assert_recovered(service)


def test_a_server_without_a_connection_left(service: Process, url: str) -> None:
    with ExitStack() as others:
        _use_up(url, others)
        for answer in ask_at_once(service, "/api/posts", {}):
            assert_told_to_come_again(answer)
        assert httpx.get(f"{service.url}/readiness").status_code == 503
        assert httpx.get(f"{service.url}/healthz").status_code == 200
    assert_recovered(service)


def _use_up(url: str, others: ExitStack) -> None:
    """Open connections until the server refuses to give one."""
    while True:
        try:
            others.enter_context(psycopg.connect(url.replace("+psycopg", "")))
        except psycopg.OperationalError as error:
            assert "too many clients" in str(error)  # noqa: PT017 - it ends a loop.
            return
