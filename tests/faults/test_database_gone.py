"""PostgreSQL goes away under load: nobody hangs, nothing answered is lost, and it comes back."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.news.models import Post
from circdesk.settings import Settings
from tests.beating import beating
from tests.faults.load import Load, assert_told_to_come_again
from tests.faults.processes import Launcher, Process, until
from tests.people import api_key, seed_people
from tests.postgresql_server import broken_off, frozen, new_database, postgresql_server

GONE_SECONDS = 30 if os.environ.get("TEST_LONG") else 3
# The longest wait for the database; what a call may take at most, in line for it and on a machine
# that does other things, too.
DEADLINE = 1
LONGEST_CALL = 20
CALLERS = 8

HEADERS = {"X-API-Key": api_key("admin")}
NOTHING_STORED = {"database_unavailable", "database_busy", "overloaded"}


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL that these tests alone use, break off and freeze."""
    with postgresql_server("circdesk-gone-") as server:
        yield server


@pytest.fixture
def service(server: Any, launcher: Launcher, tmp_path: Path) -> Iterator[tuple[Process, Settings]]:
    """A process of the service on that server."""
    settings = Settings(
        instance=tmp_path,
        database_url=SecretStr(new_database(server)),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        public_url="http://127.0.0.1:8000",
        threads=4,
        database_timeout_seconds=DEADLINE,
    )
    engine = make_engine(settings)
    upgrade(engine)
    seed_people(engine)
    engine.dispose()
    own = {
        "CIRCDESK_INSTANCE": str(settings.instance),
        # The callers share a key, whose usual limit they reach where the machine is fast.
        "CIRCDESK_RATE_LIMITS": "1000000/minute",
    }
    with beating(settings), launcher.service(tmp_path / "service", settings, **own) as process:
        yield process, settings


def write_or_read(client: httpx.Client, random: Random) -> httpx.Response:
    """A post with a title that nobody else has, or a look at the posts."""
    if random.random() < 0.5:
        return client.get("/api/posts", params={"per_page": 5})
    body = {"title": f"News {uuid4()}", "body": "Text", "author": "Somebody"}
    return client.post("/api/posts", json=body)


@pytest.mark.parametrize("gone", [broken_off, frozen])
def test_a_database_that_is_gone_under_load(
    server: Any,
    service: tuple[Process, Settings],
    gone: Callable[[Any], AbstractContextManager[None]],
) -> None:
    process, settings = service
    load = Load(process.url)
    with load.of([write_or_read] * CALLERS, [HEADERS] * CALLERS), process.client() as other:
        until(lambda: len(load.answers) > 20 * CALLERS)
        with gone(server):
            time.sleep(GONE_SECONDS)
            assert other.get("/healthz").status_code == 200
            assert_told_to_come_again(other.get("/readiness"))
        back = time.monotonic()
        # Nobody does anything about it but those who call.
        until(lambda: _succeeded(load, back) > 20 * CALLERS, process.log)
        recovered = time.monotonic()
        until(lambda: len(load.since(recovered)) > 20 * CALLERS)
        assert other.get("/readiness").status_code == 200

    refused = [answer.response for answer in load.answers if answer.status not in (200, 201)]
    assert refused, "nobody noticed that the database was gone"
    for response in refused:
        assert_told_to_come_again(response)
    assert max(answer.seconds for answer in load.answers) < LONGEST_CALL
    assert {answer.status for answer in load.since(recovered)} == {200, 201}
    _assert_nothing_lost(load, _stored(settings))


def _succeeded(load: Load, moment: float) -> int:
    return sum(answer.status < 300 for answer in load.since(moment))


def _stored(settings: Settings) -> dict[str, UUID]:
    """What the database has: the ids of the posts by their titles."""
    engine = make_engine(settings)
    with unit_of_work(make_sessions(engine), writing=False) as session:
        found = {post.title: post.id for post in session.scalars(select(Post))}
    engine.dispose()
    return found


def _assert_nothing_lost(load: Load, stored: dict[str, UUID]) -> None:
    """What was answered is there, and what was said not to be stored is not."""
    for answer in load.answers:
        request, body = answer.response.request, answer.response.json()
        if answer.status == 201:
            assert stored[body["title"]] == UUID(body["id"])
        elif request.method == "POST" and body["code"] in NOTHING_STORED:
            assert not any(title in request.content.decode() for title in stored), body
