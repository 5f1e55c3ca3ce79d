"""What ends access for an account, and how soon everybody knows."""

import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.access import end_access
from circdesk.auth.models import Grant, OAuthClient, PasswordReset, Revocation, WebSession
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key


def add_web_session(session: Session, user: Any, name: str) -> WebSession:
    now = clock.now()
    web_session = WebSession(
        user_id=user, token_hash=name, last_used_at=now, expires_at=now + timedelta(hours=1)
    )
    session.add(web_session)
    session.flush()
    return web_session


def add_grant(session: Session, user: Any, **columns: Any) -> Grant:
    client = OAuthClient(
        name="Reader", type="public", grant_types=[], redirect_uris=[], scopes=["profile:read"]
    )
    session.add(client)
    session.flush()
    grant = Grant(
        user_id=user,
        client_id=client.id,
        scopes=["profile:read"],
        resource="https://library.example/api",
        expires_at=clock.now() + timedelta(days=1),
        **columns,
    )
    session.add(grant)
    session.flush()
    return grant


class TestEndAccess:
    def test_sessions_resets_and_grants_end(self, session: Session) -> None:
        now = clock.now()
        add_web_session(session, MEMBER_ID, "one")
        add_web_session(session, MEMBER_ID, "two")
        session.add(
            PasswordReset(token_hash="x", user_id=MEMBER_ID, created_at=now, expires_at=now)
        )
        grant = add_grant(session, MEMBER_ID)
        end_access(session, MEMBER_ID)
        session.flush()
        session.expire_all()

        assert session.scalars(select(WebSession)).all() == []
        assert session.scalars(select(PasswordReset)).all() == []
        assert grant.revoked_at is not None
        revocation = session.scalars(select(Revocation)).one()
        assert revocation.subject == str(grant.id)
        # Longer than any access token lives.
        assert revocation.expires_at > now + timedelta(minutes=10)

    def test_one_session_may_go_on(self, session: Session) -> None:
        kept = add_web_session(session, MEMBER_ID, "kept")
        add_web_session(session, MEMBER_ID, "other")
        end_access(session, MEMBER_ID, keep_session=kept.id)

        assert session.scalars(select(WebSession.token_hash)).all() == ["kept"]

    def test_nobody_else_is_touched(self, session: Session) -> None:
        add_web_session(session, LIBRARIAN_ID, "theirs")
        grant = add_grant(session, LIBRARIAN_ID)
        end_access(session, MEMBER_ID)
        session.flush()
        session.expire_all()

        assert session.scalars(select(WebSession.token_hash)).all() == ["theirs"]
        assert grant.revoked_at is None
        assert session.scalars(select(Revocation)).all() == []

    def test_what_was_revoked_before_stays_as_it_was(self, session: Session) -> None:
        before = clock.now() - timedelta(days=1)
        grant = add_grant(session, MEMBER_ID, revoked_at=before)
        end_access(session, MEMBER_ID)
        session.flush()
        session.expire_all()

        assert grant.revoked_at == before
        assert session.scalars(select(Revocation)).all() == []

    def test_to_end_it_twice_is_to_end_it_once(self, session: Session) -> None:
        add_grant(session, MEMBER_ID)
        end_access(session, MEMBER_ID)
        end_access(session, MEMBER_ID)

        assert len(session.scalars(select(Revocation)).all()) == 1


class TestOtherProcesses:
    """What another process stores, this one learns by asking again, at most 2 seconds later."""

    @pytest.mark.parametrize("credential", ["api_key", "session"])
    def test_a_blocked_user_is_out_within_two_seconds(
        self, sessions: Sessions, client: httpx.Client, credential: str
    ) -> None:
        if credential == "api_key":
            client.headers["X-API-Key"] = api_key("member")
        else:
            with unit_of_work(sessions, writing=True) as session:
                add_web_session(session, MEMBER_ID, hash_secret("the-token"))
            client.cookies["circdesk_session"] = "the-token"
        assert client.get("/api/me").status_code == 200
        # A test's own unit of work makes the service forget nothing.
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, MEMBER_ID).status = "blocked"
        blocked_at = time.monotonic()
        while client.get("/api/me").status_code == 200:
            assert time.monotonic() < blocked_at + 2
            time.sleep(0.05)
        assert client.get("/api/me").status_code == 401

    def test_where_it_was_done_it_counts_at_once(
        self, client: httpx.Client, librarian: httpx.Client
    ) -> None:
        client.headers["X-API-Key"] = api_key("member")
        assert client.get("/api/me").status_code == 200
        blocking = librarian.patch(f"/api/users/{MEMBER_ID}", json={"status": "blocked"})
        assert blocking.status_code == 200, blocking.text

        assert client.get("/api/me").status_code == 401
