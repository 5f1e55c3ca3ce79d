"""What a process remembers of clients, while another one changes them, on both databases."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import func, select

from circdesk.audit.models import AuditEntry
from circdesk.auth.models import OAuthClient
from circdesk.auth.secrets import hash_secret
from circdesk.auth.signing_keys import create_signing_key
from circdesk.settings import Settings
from tests.auth.oauth.registered import CONFIDENTIAL_ID, OTHER_SECRET, Flow, audited

GRANT = {"grant_type": "client_credentials"}
PATH = f"/api/admin/clients/{CONFIDENTIAL_ID}"


@pytest.fixture
def known(confidential: Flow) -> Flow:
    """The flow of a client that the process remembers, as it has just got a token."""
    # The first one makes the key that signs, and all is forgotten then.
    for _ in range(2):
        assert confidential.post(**GRANT).status_code == 200
    return confidential


@contextmanager
def changing(flow: Flow) -> Iterator[OAuthClient]:
    """The client, to be changed as by another process: the service forgets nothing by it."""
    with flow.work() as session:
        yield session.get_one(OAuthClient, CONFIDENTIAL_ID)


def seconds_until_refused(flow: Flow, **form: str) -> float:
    """How long the process goes on to give tokens, at most 10 seconds."""
    began = time.monotonic()
    while flow.post(**GRANT, **form).status_code == 200:
        assert time.monotonic() < began + 10
    return time.monotonic() - began


class TestAnotherProcess:
    """It changes a client, or the key that signs; this process learns it within a second."""

    def test_a_deleted_client_gets_no_more_tokens(self, known: Flow) -> None:
        with known.work() as session:
            session.delete(session.get_one(OAuthClient, CONFIDENTIAL_ID))

        assert seconds_until_refused(known) < 2
        assert known.post(**GRANT).json()["error"] == "invalid_client"

    def test_a_secret_that_was_replaced_is_good_no_more(self, known: Flow) -> None:
        with changing(known) as client:
            client.secret_hash = hash_secret(OTHER_SECRET)

        assert seconds_until_refused(known) < 2
        assert known.post(**GRANT).json()["error"] == "invalid_client"

    def test_a_scope_that_was_taken_away_is_refused(self, known: Flow) -> None:
        with changing(known) as client:
            client.scopes = ["profile:read"]

        assert seconds_until_refused(known, scope="news:write") < 2
        assert known.post(**GRANT).json()["scope"] == "profile:read"

    def test_a_grant_that_was_taken_away_is_refused(self, known: Flow) -> None:
        with changing(known) as client:
            client.grant_types = ["authorization_code"]

        assert seconds_until_refused(known) < 2
        assert known.post(**GRANT).json()["error"] == "unauthorized_client"

    def test_a_new_secret_is_good_at_once(self, known: Flow) -> None:
        with changing(known) as client:
            client.secret_hash = hash_secret(OTHER_SECRET)

        assert known.post(**GRANT, client_secret=OTHER_SECRET).status_code == 200

    def test_a_new_scope_is_there_at_once(self, known: Flow) -> None:
        with changing(known) as client:
            client.scopes = [*client.scopes, "users:read"]

        assert known.post(**GRANT, scope="users:read").json()["scope"] == "users:read"

    def test_a_new_key_signs_soon_and_the_old_one_is_believed_until_then(
        self, known: Flow, settings: Settings
    ) -> None:
        with known.work() as session:
            create_signing_key(session, settings.encryption_key)

        token = known.post(**GRANT).json()["access_token"]

        headers = {"Authorization": f"Bearer {token}"}
        assert known.http.get("/api/posts", headers=headers).status_code == 200


class TestThisProcess:
    """What it changes itself counts at once."""

    def test_a_deleted_client_gets_no_token(self, known: Flow, admin: httpx.Client) -> None:
        assert admin.delete(PATH).status_code == 204

        assert known.post(**GRANT).json()["error"] == "invalid_client"

    def test_a_secret_that_was_replaced_is_good_no_more(
        self, known: Flow, admin: httpx.Client
    ) -> None:
        answer = admin.post(f"{PATH}/secrets")

        assert known.post(**GRANT).json()["error"] == "invalid_client"
        secret = answer.json()["client_secret"]
        assert known.post(**GRANT, client_secret=secret).status_code == 200

    def test_a_scope_that_was_taken_away_is_refused(self, known: Flow, admin: httpx.Client) -> None:
        assert admin.patch(PATH, json={"scopes": ["profile:read"]}).status_code == 200

        assert known.post(**GRANT).json()["scope"] == "profile:read"


class TestMany:
    def test_each_of_many_tokens_at_once_is_an_entry_of_its_own(self, known: Flow) -> None:
        def ask(number: int) -> int:
            headers = {"X-Request-Id": f"token-{number}"}
            form = {"client_id": str(known.client_id), "client_secret": known.secret, **GRANT}
            return known.http.post("/oauth/token", data=form, headers=headers).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(ask, range(64))) == {200}

        with known.work() as session:
            issued = select(func.count(AuditEntry.request_id.distinct())).where(
                AuditEntry.action == "token.issue", AuditEntry.request_id.startswith("token-")
            )
            assert session.scalar(issued) == 64
            assert len(audited(session, "token.issue")) == 66
