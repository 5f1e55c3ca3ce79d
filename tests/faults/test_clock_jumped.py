"""The clock of the machine jumps: nobody is locked out or let in for it, and nothing hangs."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.db.unit_of_work import Sessions
from circdesk.settings import Settings
from tests.beating import beating
from tests.circulation.conftest import Library
from tests.faults.credentials import (
    CLIENT_ID,
    access_token,
    bearer,
    let_sign_in,
    register_client,
    revoke_token,
    sign_in,
)
from tests.faults.processes import Launcher, Process, until
from tests.people import LIBRARIAN_ID, api_key

HOUR = timedelta(hours=1).total_seconds()
DAY = 24 * HOUR
ADMIN = {"X-API-Key": api_key("admin")}
POST = {"title": "News", "body": "Text", "author": "Somebody"}
# No call waits for the clock; a slow machine is not so slow.
LONGEST_CALL = 10

jumps = pytest.mark.parametrize("jump", [DAY, -DAY], ids=["forward", "back"])


@pytest.fixture(scope="module")
def shared(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings, with files that the processes share."""
    instance = tmp_path_factory.mktemp("instance")
    return settings.model_copy(update={"instance": instance, "uploads": instance / "uploads"})


@pytest.fixture(scope="module")
def process(
    launcher: Launcher,
    shared: Settings,
    migrated_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    """A process whose clock may be moved."""
    place = tmp_path_factory.mktemp("service")
    # Its worker's heart beats by the right time.
    with (
        beating(shared),
        launcher.service(place, shared, CIRCDESK_INSTANCE=str(shared.instance)) as process,
    ):
        yield process


@pytest.fixture
def service(process: Process, engine: Engine) -> Iterator[Process]:
    """That process, at the right time."""
    yield process
    process.move_clock(0)


@pytest.fixture
def client(service: Process) -> Iterator[httpx.Client]:
    """Somebody who calls it."""
    with service.client() as client:
        yield client


def code(response: httpx.Response) -> str:
    """The code of a refusal of credentials."""
    assert response.status_code == 401, response.text
    return str(response.json()["code"])


@jumps
def test_whoever_has_a_key_goes_on_at_once(
    service: Process, client: httpx.Client, library: Library, jump: float
) -> None:
    library.policy()
    user, branch = library.user(), library.branch()
    copies = [library.copy(library.book(), branch) for _ in range(2)]
    desk = library.key(LIBRARIAN_ID, "librarian")

    def work(copy: UUID) -> None:
        loan = {"user": str(user), "copy": str(copy)}
        for method, path, body in (
            ("GET", "/api/books", None),
            ("POST", "/api/posts", POST),
            ("POST", "/api/loans", loan),
            ("POST", "/api/returns", {"copy": str(copy)}),
            ("GET", "/readiness", None),
        ):
            started = time.monotonic()
            response = client.request(method, path, json=body, headers=desk)
            assert response.is_success, response.text
            assert time.monotonic() - started < LONGEST_CALL

    work(copies[0])
    service.move_clock(jump)
    work(copies[1])
    service.move_clock(0)
    work(copies[0])


def test_sessions_end_by_the_clock_and_are_made_anew(
    service: Process, client: httpx.Client, sessions: Sessions
) -> None:
    let_sign_in(sessions)
    browser = sign_in(service.url)
    service.move_clock(-DAY)
    assert client.get("/api/session", headers=browser).status_code == 200

    service.move_clock(DAY)
    # What was looked up just now is known for a moment more.
    until(lambda: client.get("/api/session", headers=browser).status_code == 401)
    ahead = sign_in(service.url)
    assert client.get("/api/session", headers=ahead).status_code == 200

    service.move_clock(0)
    assert client.get("/api/session", headers=ahead).status_code == 200
    assert client.get("/api/session", headers=browser).status_code == 200
    assert client.delete("/api/session", headers=ahead).status_code == 204
    assert client.get("/api/session", headers=ahead).status_code == 401


def test_tokens_of_another_time_are_refused_and_new_ones_are_good(
    service: Process, client: httpx.Client, sessions: Sessions
) -> None:
    register_client(sessions)

    def use(token: str) -> httpx.Response:
        return client.get("/api/admin/clients", headers=bearer(token))

    token = access_token(service.url)
    assert use(token).status_code == 200
    # As when it is set right by a little.
    service.move_clock(-20)
    assert use(token).status_code == 200

    service.move_clock(DAY)
    assert code(use(token)) == "credentials_expired"
    ahead = access_token(service.url)
    assert use(ahead).status_code == 200

    service.move_clock(-DAY)
    assert use(access_token(service.url)).status_code == 200
    service.move_clock(0)
    assert use(token).status_code == 200
    assert use(access_token(service.url)).status_code == 200


def test_what_was_revoked_stays_revoked(
    service: Process, client: httpx.Client, sessions: Sessions, library: Library
) -> None:
    register_client(sessions)
    token, other = access_token(service.url), access_token(service.url)
    key = library.key(LIBRARIAN_ID, "librarian")
    for each in (token, other):
        assert client.get("/api/admin/clients", headers=bearer(each)).status_code == 200
    assert client.get("/api/me", headers=key).status_code == 200

    service.move_clock(-HOUR / 2)
    revoke_token(service.url, token)
    assert client.delete(f"/api/admin/clients/{CLIENT_ID}", headers=ADMIN).status_code == 204
    service.move_clock(0)

    for each in (token, other):
        refused = client.get("/api/admin/clients", headers=bearer(each))
        assert code(refused) == "credentials_revoked"


def test_who_was_locked_out_need_not_wait_for_the_clock(
    service: Process, client: httpx.Client, sessions: Sessions
) -> None:
    let_sign_in(sessions)
    wrong = {"email": "member@example.org", "password": "not the password of anybody"}
    statuses = [client.post("/api/session", json=wrong).status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]

    service.move_clock(-DAY)
    assert sign_in(service.url)
    service.move_clock(0)
    assert sign_in(service.url)


@jumps
def test_cursors_go_on(
    service: Process, client: httpx.Client, library: Library, jump: float
) -> None:
    books = {str(library.book()) for _ in range(6)}
    query: dict[str, Any] = {"per_page": 2, "cursor": ""}
    # Somebody who is known is answered with nothing that the process has kept.
    client.headers.update(ADMIN)
    page = client.get("/api/books", params={"per_page": 2}).json()
    found = [book["id"] for book in page["items"]]
    while page["next_cursor"]:
        service.move_clock(jump)
        page = client.get("/api/books", params=query | {"cursor": page["next_cursor"]}).json()
        found += [book["id"] for book in page["items"]]
        jump = -jump
    assert (len(found), set(found)) == (6, books)


@jumps
def test_a_worker_goes_on(
    service: Process,
    client: httpx.Client,
    launcher: Launcher,
    shared: Settings,
    tmp_path: Path,
    jump: float,
) -> None:
    def send(number: int) -> str:
        content = f"control_number,title\n{number},Title {number}\n"
        headers = ADMIN | {"Content-Type": "text/csv"}
        return str(client.post("/api/imports", content=content, headers=headers).json()["id"])

    def is_done(job: str) -> bool:
        return bool(client.get(f"/api/imports/{job}", headers=ADMIN).json()["state"] == "done")

    with launcher.worker(tmp_path, shared, CIRCDESK_INSTANCE=str(shared.instance)) as worker:
        alive = shared.instance / "worker.alive"
        first = send(1)
        until(lambda: is_done(first), worker.log)
        # Both are on one machine.
        worker.move_clock(jump)
        service.move_clock(jump)
        second, seen = send(2), alive.stat().st_mtime_ns
        until(lambda: is_done(second), worker.log)
        worker.move_clock(0)
        service.move_clock(0)
        third = send(3)
        until(lambda: is_done(third), worker.log)
        until(lambda: alive.stat().st_mtime_ns > seen, worker.log)
        assert worker.log() == ""
