"""Redis goes away: the database decides who may what, imports go on, and the log stays short."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from circdesk.db.unit_of_work import Sessions
from circdesk.settings import Settings
from tests.circulation.conftest import Library
from tests.faults.credentials import (
    access_token,
    bearer,
    let_sign_in,
    register_client,
    revoke_token,
    sign_in,
)
from tests.faults.processes import Launcher, Process, until
from tests.people import LIBRARIAN_ID, api_key
from tests.redis_server import RedisServer

Gone = Callable[[], AbstractContextManager[None]]

ADMIN = {"X-API-Key": api_key("admin")}
# A process sees a revocation by another one within two seconds; a slow machine adds its own.
REVOKED_WITHIN = 2 + 3
# The longest wait for a Redis that takes connections and says nothing, with what a slow machine
# adds to it; far less than a wait without a deadline.
LONGEST_CALL = 20

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def shared(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings, with files that the processes share."""
    return settings.model_copy(update={"uploads": tmp_path_factory.mktemp("uploads")})


@pytest.fixture(scope="module")
def service(
    launcher: Launcher,
    shared: Settings,
    migrated_engine: Engine,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Process]:
    """A process that shares a Redis with others."""
    place = tmp_path_factory.mktemp("service")
    with launcher.service(place, shared, REDIS_URL=redis.url) as process:
        yield process


@pytest.fixture(params=["away", "frozen"])
def gone(request: pytest.FixtureRequest, redis: RedisServer) -> Gone:
    """`with gone():` there is no Redis, or one that says nothing."""
    found: Gone = getattr(redis, request.param)
    return found


@pytest.fixture
def admin(service: Process, engine: Engine) -> Iterator[httpx.Client]:
    """A caller who may do everything."""
    with service.client(ADMIN) as client:
        yield client


def send_file(client: httpx.Client, number: int) -> str:
    """Send a file with one record; the id of its import."""
    started = time.monotonic()
    content = f"control_number,title\n{number},Title {number}\n"
    response = client.post("/api/imports", content=content, headers={"Content-Type": "text/csv"})
    assert response.status_code == 202, response.text
    assert time.monotonic() - started < LONGEST_CALL
    return str(response.json()["id"])


def is_done(client: httpx.Client, import_id: str) -> bool:
    return bool(client.get(f"/api/imports/{import_id}").json()["state"] == "done")


def until_refused(url: str, path: str, headers: dict[str, str]) -> None:
    """Wait until it is refused, in time."""
    deadline = time.monotonic() + REVOKED_WITHIN
    while (response := httpx.get(f"{url}{path}", headers=headers)).status_code != 401:
        assert time.monotonic() < deadline, response.text
        time.sleep(0.1)


class TestService:
    def test_sessions_and_revocations_stay_right(
        self, gone: Gone, service: Process, sessions: Sessions, library: Library
    ) -> None:
        let_sign_in(sessions)
        register_client(sessions)
        key = library.key(LIBRARIAN_ID, "librarian")
        browser, token = sign_in(service.url), access_token(service.url)
        with gone(), service.client() as client:
            # What was good stays good, what is made now is good, what is taken back is refused.
            assert client.get("/api/session", headers=browser).status_code == 200
            assert client.get("/api/me", headers=key).status_code == 200
            assert client.get("/api/admin/clients", headers=bearer(token)).status_code == 200
            assert client.get("/api/session", headers=sign_in(service.url)).status_code == 200

            assert client.delete("/api/session", headers=browser).status_code == 204
            revoke_token(service.url, token)
            assert client.get("/api/session", headers=browser).status_code == 401
            until_refused(service.url, "/api/admin/clients", bearer(token))

    def test_what_needs_no_redis_goes_on_in_time_with_few_words(
        self, gone: Gone, service: Process, admin: httpx.Client
    ) -> None:
        before = len(service.log().splitlines())
        with gone():
            started = time.monotonic()
            for _ in range(100):
                assert admin.get("/api/books").status_code == 200
                assert admin.get("/api/posts").status_code == 200
            assert time.monotonic() - started < LONGEST_CALL
        told = service.log().splitlines()[before:]
        # One line when it goes, one when it comes back, for each of those who use it.
        assert len(told) <= 12, "\n".join(told)

    def test_files_are_taken_and_each_lost_message_is_one_line(
        self, gone: Gone, service: Process, admin: httpx.Client
    ) -> None:
        before = len(service.log().splitlines())
        with gone():
            imports = [send_file(admin, number) for number in range(3)]
        lost = [line for line in service.log().splitlines()[before:] if "import" in line]
        assert len(lost) == len(imports), "\n".join(lost)
        assert not any("Traceback" in line for line in lost)


class TestWorker:
    def test_imports_go_on_without_redis_and_with_it_again(
        self,
        gone: Gone,
        launcher: Launcher,
        redis: RedisServer,
        shared: Settings,
        admin: httpx.Client,
        tmp_path: Path,
    ) -> None:
        with launcher.worker(tmp_path, shared, REDIS_URL=redis.url) as worker:
            first = send_file(admin, 1)
            until(lambda: is_done(admin, first), worker.log)
            with gone():
                second = send_file(admin, 2)
                until(lambda: is_done(admin, second), worker.log)
            third = send_file(admin, 3)
            until(lambda: is_done(admin, third), worker.log)
            until(lambda: "import_queue_back" in worker.log(), worker.log)
            assert worker.is_alive()
            told = [line for line in worker.log().splitlines() if "import_queue" in line]
            assert len(told) == 2, worker.log()
            assert "Traceback" not in worker.log(), worker.log()
