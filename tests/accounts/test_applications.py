"""What an application that acts for itself sees and does of accounts, on both databases."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.auth.models import OAuthClient
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import MEMBER_ID

Expected = Callable[..., dict[str, Any]]
Application = Callable[..., httpx.Client]

CLIENT_ID = UUID("019b8d2b-8c00-7300-8000-000000000001")
SECRET = "a secret that only tests know"
SCOPES = ["profile:read", "profile:write", "users:read", "users:write"]


@pytest.fixture
def application(base_url: str, sessions: Sessions) -> Iterator[Application]:
    """`application(*scopes)`: a caller with an access token of a client that acts for itself."""
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            OAuthClient(
                id=CLIENT_ID,
                name="A service",
                type="confidential",
                secret_hash=hash_secret(SECRET),
                grant_types=["client_credentials"],
                redirect_uris=[],
                scopes=SCOPES,
            )
        )
    with ExitStack() as stack:

        def make(*scopes: str) -> httpx.Client:
            client = stack.enter_context(httpx.Client(base_url=base_url, timeout=10))
            form = {"grant_type": "client_credentials", "scope": " ".join(scopes)}
            answer = client.post(
                "/oauth/token", data=form | {"client_id": str(CLIENT_ID), "client_secret": SECRET}
            )
            assert answer.status_code == 200, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            return client

        yield make


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_it_has_no_account_of_its_own(
    application: Application, problem: Expected, method: str
) -> None:
    caller = application("profile:read", "profile:write")

    response = caller.request(method, "/api/me", json={} if method == "PATCH" else None)

    assert response.status_code == 403
    assert response.json() == problem(
        response, "user_required", "This credential belongs to a client, not to a person."
    )


def test_it_sees_nobody_with_a_scope_that_is_about_oneself(application: Application) -> None:
    caller = application("profile:read")

    assert caller.get("/api/users/card:20001").status_code == 404
    assert caller.get("/api/users/card:20001/export").status_code == 404


def test_it_sees_everybody_with_the_scope_for_it(application: Application) -> None:
    response = application("users:read").get("/api/users/card:20001")

    assert response.status_code == 200
    assert response.json()["id"] == str(MEMBER_ID)


def test_it_hears_what_it_may_do(application: Application) -> None:
    items = application("users:read").get("/api/me/capabilities").json()["items"]

    found = {item["operation_id"]: item for item in items}
    assert found["list_users"]["allowed"]
    assert found["create_user"]["missing_scopes"] == ["users:write"]


def test_what_it_does_is_told_of_it(application: Application, audit: Any) -> None:
    response = application("users:write").post("/api/users", json={"name": "Grace Hopper"})

    assert response.status_code == 201
    (entry,) = audit("user.create")
    assert (entry.actor_type, entry.actor_id) == ("client", CLIENT_ID)
