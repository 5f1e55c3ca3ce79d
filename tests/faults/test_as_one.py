"""Two processes of the service on one PostgreSQL and one Redis are one service to whoever calls."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

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
from tests.faults.processes import Launcher
from tests.people import LIBRARIAN_ID, api_key
from tests.redis_server import RedisServer

# What one process is told, the other one knows within so many seconds.
WITHIN = 2
# A request that is under way when the time is over is answered a little later.
SLACK = 0.5

Headers = dict[str, str]
POST = {"title": "News", "body": "Text", "author": "Somebody"}

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(scope="module")
def urls(
    launcher: Launcher,
    settings: Settings,
    migrated_engine: Engine,
    redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, str]]:
    """The addresses of two processes."""
    place = tmp_path_factory.mktemp("as-one")
    with (
        launcher.service(place / "here", settings, REDIS_URL=redis.url) as here,
        launcher.service(place / "there", settings, REDIS_URL=redis.url) as there,
    ):
        yield here.url, there.url


@pytest.fixture
def here(urls: tuple[str, str], engine: Engine) -> Iterator[httpx.Client]:
    """A caller of the one process."""
    with httpx.Client(base_url=urls[0], timeout=60) as client:
        yield client


@pytest.fixture
def there(urls: tuple[str, str], engine: Engine) -> Iterator[httpx.Client]:
    """A caller of the other process."""
    with httpx.Client(base_url=urls[1], timeout=60) as client:
        yield client


def refused_in_time(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """The first 401; one that comes too late is a failure."""
    ended = time.monotonic() + WITHIN
    while True:
        asked_at = time.monotonic()
        response = ask()
        if response.status_code == 401:
            return response
        assert response.status_code == 200, response.text
        assert asked_at < ended + SLACK, "it is still taken"
        time.sleep(0.05)


class TestSessions:
    def test_who_signs_in_here_is_known_there(
        self, urls: tuple[str, str], here: httpx.Client, there: httpx.Client, sessions: Sessions
    ) -> None:
        let_sign_in(sessions)
        browser = sign_in(urls[0])

        assert there.get("/api/session", headers=browser).status_code == 200
        me = there.get("/api/me", headers=browser).json()
        assert me == here.get("/api/me", headers=browser).json()

    def test_who_signs_out_here_is_refused_there(
        self, urls: tuple[str, str], here: httpx.Client, there: httpx.Client, sessions: Sessions
    ) -> None:
        let_sign_in(sessions)
        browser = sign_in(urls[0])
        assert there.get("/api/me", headers=browser).status_code == 200

        assert here.delete("/api/session", headers=browser).status_code == 204

        refused_in_time(lambda: there.get("/api/me", headers=browser))
        assert here.get("/api/me", headers=browser).status_code == 401


class TestRevocations:
    def test_a_token_that_is_revoked_here_is_refused_there(
        self, urls: tuple[str, str], there: httpx.Client, sessions: Sessions
    ) -> None:
        register_client(sessions)
        token = access_token(urls[0])
        assert there.get("/api/admin/clients", headers=bearer(token)).status_code == 200

        revoke_token(urls[0], token)

        refused = refused_in_time(lambda: there.get("/api/admin/clients", headers=bearer(token)))
        assert refused.json()["code"] == "credentials_revoked"

    def test_a_key_that_is_revoked_here_is_refused_there(
        self, here: httpx.Client, there: httpx.Client
    ) -> None:
        admin = {"X-API-Key": api_key("admin")}
        body = {"name": "A script", "scopes": ["profile:read"], "expires_at": None}
        key = here.post("/api/api-keys", json=body, headers=admin).json()
        script = {"X-API-Key": key["secret"]}
        assert there.get("/api/me", headers=script).status_code == 200

        assert here.delete(f"/api/api-keys/{key['id']}", headers=admin).status_code == 204

        refused = refused_in_time(lambda: there.get("/api/me", headers=script))
        assert refused.json()["code"] == "credentials_revoked"

    def test_failures_to_sign_in_add_up(
        self, here: httpx.Client, there: httpx.Client, sessions: Sessions
    ) -> None:
        let_sign_in(sessions)
        wrong = {"email": "member@example.org", "password": "not the password of anybody"}
        statuses = [
            client.post("/api/session", json=wrong).status_code for client in (here, there) * 4
        ]

        assert statuses[:5] == [401] * 5
        assert 429 in statuses[5:]


class TestChanges:
    def test_what_is_changed_here_is_seen_there_at_once(
        self, here: httpx.Client, there: httpx.Client
    ) -> None:
        editor = {"X-API-Key": api_key("librarian")}
        path = f"/api/posts/{here.post('/api/posts', json=POST, headers=editor).json()['id']}"
        for number in range(20):
            # Both have looked, and may remember it.
            assert there.get(path).json() == here.get(path).json()
            assert there.get("/api/posts").json() == here.get("/api/posts").json()
            title = f"News {number}"
            body, tag = POST | {"title": title}, here.get(path).headers.get("ETag", "*")
            changed = here.put(path, json=body, headers=editor | {"If-Match": tag})
            assert changed.status_code == 200, changed.text

            assert there.get(path).json()["title"] == title
            assert there.get("/api/posts").json()["items"][0]["title"] == title
        # And the other way round, as everybody sees it who has no credential.
        assert there.delete(path, headers=editor | {"If-Match": "*"}).status_code == 204
        assert here.get(path).status_code == 404
        assert here.get("/api/posts").json()["total"] == 0


class TestIdempotency:
    """These need the header Idempotency-Key."""

    def test_a_key_that_was_used_here_replays_there(
        self, here: httpx.Client, there: httpx.Client
    ) -> None:
        headers = {"X-API-Key": api_key("librarian"), "Idempotency-Key": f'"{uuid4()}"'}
        first = here.post("/api/posts", json=POST, headers=headers)
        again = there.post("/api/posts", json=POST, headers=headers)
        other = there.post("/api/posts", json=POST | {"title": "Other"}, headers=headers)

        assert first.status_code == again.status_code == 201
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        assert again.content == first.content
        assert other.status_code == 422
        assert here.get("/api/posts").json()["total"] == 1

    def test_a_key_that_many_send_to_both_at_once_has_one_effect(
        self, here: httpx.Client, there: httpx.Client
    ) -> None:
        headers = {"X-API-Key": api_key("librarian"), "Idempotency-Key": str(uuid4())}

        def send(number: int) -> httpx.Response:
            return (here, there)[number % 2].post("/api/posts", json=POST, headers=headers)

        with ThreadPoolExecutor(10) as pool:
            answers = [*pool.map(send, range(50))]

        assert {answer.status_code for answer in answers} <= {201, 409}
        done = [answer for answer in answers if answer.status_code == 201]
        assert len({answer.json()["id"] for answer in done}) == 1
        assert [a.headers.get("Idempotent-Replayed") for a in done].count(None) == 1
        assert here.get("/api/posts").json()["total"] == 1


class TestLimits:
    """These need the header RateLimit."""

    def test_calls_here_and_there_count_together(
        self, here: httpx.Client, there: httpx.Client, library: Library
    ) -> None:
        # A key that nobody else has used, so that nobody else counts.
        key = library.key(LIBRARIAN_ID, "librarian")
        left = [
            _remaining(client.get("/api/me", headers=key)) for client in (here, there, here, there)
        ]

        assert left == [left[0], left[0] - 1, left[0] - 2, left[0] - 3]


def _remaining(response: httpx.Response) -> int:
    """What is left of the limit (draft-ietf-httpapi-ratelimit-headers): its parameter `r`."""
    parameters = dict(
        part.strip().split("=") for part in response.headers["RateLimit"].split(";")[1:]
    )
    return int(parameters["r"])
