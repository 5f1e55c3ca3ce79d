"""Access tokens, by themselves and at a service."""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.auth.models import Revocation
from circdesk.auth.problems import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsMalformed,
    CredentialsRevoked,
)
from circdesk.auth.revocations import last_expiry, revoke
from circdesk.auth.signing_keys import create_signing_key
from circdesk.auth.tokens import AccessTokens
from circdesk.contract.problems import Problem
from circdesk.db.engine import make_engine
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.settings import Settings
from circdesk.visits import Caller
from tests.people import MEMBER_ID
from tests.tokens import CLIENT_ID, WRONG, Mint, encode

ISSUER = "http://127.0.0.1:8000"
GRANT_ID = UUID("019b8d2b-8c00-7300-8000-000000000001")


@pytest.fixture
def tokens(sessions: Sessions, settings: Settings) -> Iterator[AccessTokens]:
    tokens = AccessTokens(sessions, settings)
    yield tokens
    tokens.close()


@pytest.fixture
def other_process(sessions: Sessions, settings: Settings) -> Iterator[AccessTokens]:
    """What another process has, which shares nothing but the database."""
    tokens = AccessTokens(sessions, settings)
    yield tokens
    tokens.close()


@pytest.fixture
def mint(sessions: Sessions, settings: Settings) -> Mint:
    return Mint(sessions, ISSUER, settings.encryption_key)


@pytest.fixture
def mint_of_service(sessions: Sessions, settings: Settings, base_url: str) -> Mint:
    return Mint(sessions, base_url, settings.encryption_key)


def issue(tokens: AccessTokens, session: Session, **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "subject": CLIENT_ID,
        "client_id": CLIENT_ID,
        "scopes": {"news:write", "clients:read"},
        "resource": tokens.resource,
        "grant_id": None,
    }
    token, expires_in = tokens.issue(session, **(arguments | changes))
    assert expires_in == 600
    return token


def issued(tokens: AccessTokens, sessions: Sessions, **changes: Any) -> str:
    with unit_of_work(sessions, writing=True) as session:
        return issue(tokens, session, **changes)


def verify(tokens: AccessTokens, token: str) -> Caller:
    return asyncio.run(tokens.verify(token))


def hears_nothing(tokens: AccessTokens) -> None:
    """Undo what another process would not have heard of: that its copy is old."""
    tokens._copy._forgotten_at = -math.inf


@contextmanager
def looks() -> Iterator[list[str]]:
    """Collects how often a copy of the revocations is read in the block."""
    statements: list[str] = []

    def listen(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT revocations"):
            statements.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    yield statements
    event.remove(Engine, "before_cursor_execute", listen)


class TestIssue:
    def test_a_clients_token_has_the_claims_of_rfc_9068(
        self, tokens: AccessTokens, session: Session
    ) -> None:
        before = int(time.time())

        token = issue(tokens, session)

        claims = jwt.decode(token, options={"verify_signature": False})
        assert before <= claims["iat"] <= time.time()
        assert claims == {
            "iss": ISSUER,
            "aud": f"{ISSUER}/api",
            "sub": str(CLIENT_ID),
            "client_id": str(CLIENT_ID),
            "iat": claims["iat"],
            "exp": claims["iat"] + 600,
            "jti": str(UUID(claims["jti"])),
            "scope": "clients:read news:write",
        }

    def test_the_head_names_type_algorithm_and_key(
        self, tokens: AccessTokens, session: Session
    ) -> None:
        header = jwt.get_unverified_header(issue(tokens, session))

        assert header == {"typ": "at+jwt", "alg": "EdDSA", "kid": str(UUID(header["kid"]))}

    def test_a_users_token_names_the_grant_and_the_role(
        self, tokens: AccessTokens, session: Session
    ) -> None:
        token = issue(tokens, session, subject=MEMBER_ID, grant_id=GRANT_ID)

        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["sub"] == str(MEMBER_ID)
        assert claims["grant_id"] == str(GRANT_ID)
        assert claims["roles"] == ["member"]

    def test_no_two_tokens_are_the_same(self, tokens: AccessTokens, session: Session) -> None:
        assert issue(tokens, session) != issue(tokens, session)


class TestVerify:
    def test_a_client_that_acts_for_itself(self, tokens: AccessTokens, sessions: Sessions) -> None:
        token = issued(tokens, sessions)

        assert verify(tokens, token) == Caller(
            scopes=frozenset(("clients:read", "news:write")),
            credential="bearer",
            credential_id=UUID(jwt.decode(token, options={"verify_signature": False})["jti"]),
            client_id=CLIENT_ID,
        )

    def test_a_client_that_acts_for_a_user(self, tokens: AccessTokens, sessions: Sessions) -> None:
        token = issued(
            tokens, sessions, subject=MEMBER_ID, grant_id=GRANT_ID, scopes=["profile:read"]
        )

        assert verify(tokens, token) == Caller(
            scopes=frozenset(("profile:read",)),
            credential="bearer",
            credential_id=UUID(jwt.decode(token, options={"verify_signature": False})["jti"]),
            user_id=MEMBER_ID,
            role="member",
            client_id=CLIENT_ID,
        )

    def test_the_type_may_be_written_in_full(self, tokens: AccessTokens, mint: Mint) -> None:
        token = mint.token({"typ": "application/at+JWT"})

        assert verify(tokens, token).client_id == CLIENT_ID

    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_wrong_token_is_refused(self, tokens: AccessTokens, mint: Mint, wrong: str) -> None:
        make, code, message = WRONG[wrong]

        with pytest.raises(Problem) as caught:
            verify(tokens, make(mint))

        assert (caught.value.code, caught.value.message) == (code, message)
        assert caught.value.headers == {
            "WWW-Authenticate": 'Bearer realm="circdesk", error="invalid_token", '
            f'error_description="{message}"'
        }

    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_wrong_token_is_refused_by_what_the_database_says(
        self, tokens: AccessTokens, mint: Mint, session: Session, wrong: str
    ) -> None:
        make, code, message = WRONG[wrong]

        with pytest.raises(Problem) as caught:
            tokens.read(session, make(mint))

        assert (caught.value.code, caught.value.message) == (code, message)

    def test_a_huge_token_costs_nothing(self, tokens: AccessTokens, mint: Mint) -> None:
        token = f"{mint.token()}{'A' * 100_000}"

        with pytest.raises(CredentialsMalformed) as caught:
            verify(tokens, token)

        assert caught.value.message == "The access token is too long to be one."

    def test_a_remembered_token_ends_when_it_expires(
        self, tokens: AccessTokens, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token = issued(tokens, sessions)
        verify(tokens, token)
        later = clock.now() + timedelta(seconds=603)
        monkeypatch.setattr(clock, "now", lambda: later)

        with pytest.raises(CredentialsExpired):
            verify(tokens, token)

    def test_clocks_may_differ_by_two_seconds(self, tokens: AccessTokens, mint: Mint) -> None:
        now = int(time.time())

        assert verify(tokens, mint.token(exp=now)).client_id == CLIENT_ID

    def test_a_token_of_before_our_clock_was_set_back_is_good(
        self, tokens: AccessTokens, mint: Mint
    ) -> None:
        token = mint.token(iat=int(time.time()) + 3600)

        assert verify(tokens, token).client_id == CLIENT_ID

    def test_a_token_is_verified_once_and_then_remembered(
        self, tokens: AccessTokens, mint: Mint
    ) -> None:
        token = mint.token()

        async def often() -> None:
            await asyncio.gather(*(tokens.verify(token) for _ in range(100)))

        with looks() as found:
            asyncio.run(often())

        assert len(found) == 1
        assert list(tokens._verified) == [token]

    def test_the_memory_is_bounded(
        self, tokens: AccessTokens, mint: Mint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("circdesk.auth.tokens._MOST_REMEMBERED", 3)

        for _ in range(5):
            verify(tokens, mint.token())

        assert len(tokens._verified) == 2


class TestRead:
    def test_the_claims_of_a_good_token(
        self, tokens: AccessTokens, mint: Mint, session: Session
    ) -> None:
        token = mint.token()

        claims = tokens.read(session, token)

        assert claims == jwt.decode(token, options={"verify_signature": False})


class TestSeveralProcesses:
    def test_a_revocation_is_seen_within_two_seconds(
        self, tokens: AccessTokens, other_process: AccessTokens, sessions: Sessions
    ) -> None:
        token = issued(tokens, sessions)
        verify(other_process, token)
        with unit_of_work(sessions, writing=True) as session:
            session.add(Revocation(subject=str(CLIENT_ID), expires_at=last_expiry()))

        deadline = time.monotonic() + 2
        with pytest.raises(CredentialsRevoked):  # noqa: PT012 - It takes until it happens.
            while time.monotonic() < deadline:
                verify(other_process, token)
                time.sleep(0.01)

    def test_the_process_that_revokes_sees_it_at_once(
        self, tokens: AccessTokens, sessions: Sessions
    ) -> None:
        token = issued(tokens, sessions)
        verify(tokens, token)

        with unit_of_work(sessions, writing=True) as session:
            revoke(session, CLIENT_ID)

        with pytest.raises(CredentialsRevoked):
            verify(tokens, token)

    def test_a_new_key_is_picked_up_at_once(
        self, tokens: AccessTokens, other_process: AccessTokens, sessions: Sessions, mint: Mint
    ) -> None:
        old = issued(tokens, sessions)
        verify(other_process, old)
        with unit_of_work(sessions, writing=True) as session:
            create_signing_key(session, mint.encryption_key)
            new = issue(tokens, session)
        hears_nothing(other_process)

        assert verify(other_process, new).client_id == CLIENT_ID
        assert verify(other_process, old).client_id == CLIENT_ID

    def test_unknown_keys_share_one_look_at_the_database(
        self, tokens: AccessTokens, mint: Mint
    ) -> None:
        made_up = [mint.token({"kid": str(uuid4())}) for _ in range(50)]

        async def flood() -> list[object]:
            return await asyncio.gather(*map(tokens.verify, made_up), return_exceptions=True)

        verify(tokens, mint.token())
        with looks() as found:
            refusals = asyncio.run(flood())

        assert {type(refusal) for refusal in refusals} == {CredentialsInvalid}
        assert len(found) == 1


class TestOutage:
    @pytest.fixture
    def gone(self, settings: Settings) -> Iterator[Sessions]:
        """The sessions of a database that refuses connections."""
        url = SecretStr("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
        engine = make_engine(settings.model_copy(update={"database_url": url}))
        yield make_sessions(engine)
        engine.dispose()

    @staticmethod
    def age(tokens: AccessTokens, seconds: float) -> None:
        hears_nothing(tokens)
        copy = tokens._copy
        copy._snapshot = replace(copy._snapshot, asked_at=time.monotonic() - seconds)

    def test_a_young_copy_serves_on(self, tokens: AccessTokens, mint: Mint, gone: Sessions) -> None:
        token = mint.token()
        caller = verify(tokens, token)
        tokens._copy._sessions = gone
        self.age(tokens, 1.2)

        assert verify(tokens, token) == caller

    def test_an_old_copy_refuses_everything(
        self, tokens: AccessTokens, mint: Mint, gone: Sessions
    ) -> None:
        token = mint.token()
        verify(tokens, token)
        tokens._copy._sessions = gone
        self.age(tokens, 2.1)

        with pytest.raises(DatabaseUnavailable):
            verify(tokens, token)

    def test_a_copy_that_was_forgotten_refuses_everything(
        self, tokens: AccessTokens, mint: Mint, gone: Sessions
    ) -> None:
        token = mint.token()
        verify(tokens, token)
        tokens._copy._sessions = gone
        tokens._copy.clear()

        with pytest.raises(DatabaseUnavailable):
            verify(tokens, token)


class TestAtService:
    """Bearer tokens at an operation that needs a scope, and at one that is open to everybody."""

    def test_a_good_token_is_let_in(self, client: httpx.Client, mint_of_service: Mint) -> None:
        token = mint_of_service.token()

        response = client.get("/api/admin/clients", headers={"Authorization": f"Bearer {token}"})

        assert response.status_code == 200

    @pytest.mark.parametrize(
        # These two are no header that a client would send.
        "wrong",
        [wrong for wrong in WRONG if wrong not in {"not base64url", "nothing"}],
    )
    def test_a_wrong_token_is_refused(
        self, client: httpx.Client, mint_of_service: Mint, problem: Any, wrong: str
    ) -> None:
        make, code, message = WRONG[wrong]
        headers = {"Authorization": f"Bearer {make(mint_of_service)}"}

        response = client.get("/api/posts", headers=headers)

        assert response.status_code == 401
        assert response.json() == problem(response, code, message)
        assert response.headers["WWW-Authenticate"] == (
            f'Bearer realm="circdesk", error="invalid_token", error_description="{message}"'
        )

    def test_a_token_without_the_scope_is_told_which(
        self, client: httpx.Client, mint_of_service: Mint, problem: Any
    ) -> None:
        token = mint_of_service.token(scope="news:write")
        message = "The credential lacks the scope clients:read."

        response = client.get("/api/admin/clients", headers={"Authorization": f"Bearer {token}"})

        assert response.status_code == 403
        fault = {
            "in": "header",
            "pointer": "/Authorization",
            "rule": "scope",
            "message": message,
            "allowed": ["clients:read"],
        }
        assert response.json() == problem(response, "scope_missing", message, details=[fault])
        assert response.headers["WWW-Authenticate"] == (
            'Bearer realm="circdesk", error="insufficient_scope", '
            f'error_description="{message}", scope="clients:read"'
        )

    def test_a_huge_token_is_refused(
        self, client: httpx.Client, mint_of_service: Mint, problem: Any
    ) -> None:
        token = f"{mint_of_service.token()}{'A' * 20_000}"

        response = client.get("/api/posts", headers={"Authorization": f"Bearer {token}"})

        assert response.status_code == 401
        message = "The access token is too long to be one."
        assert response.json() == problem(response, "credentials_malformed", message)

    def test_no_part_of_a_refused_token_is_told(self, client: httpx.Client) -> None:
        secret = encode(b"what nobody else may read")

        response = client.get("/api/posts", headers={"Authorization": f"Bearer a.{secret}.b"})

        assert response.status_code == 401
        assert secret not in response.text + str(response.headers)
