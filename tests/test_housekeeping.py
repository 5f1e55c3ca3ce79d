"""Housekeeping: what is forgotten and what stays, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, func, select
from structlog.testing import capture_logs

from circdesk import clock, housekeeping, worker
from circdesk.audit.models import AuditEntry
from circdesk.auth.models import (
    AuthorizationCode,
    Grant,
    OAuthClient,
    PasswordReset,
    RefreshToken,
    Revocation,
    SignInFailure,
    SigningKey,
    WebSession,
)
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.housekeeping import tidy
from circdesk.settings import Settings
from circdesk.worker import embedded_worker
from tests.people import MEMBER_ID
from tests.test_worker import wait_for

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
CLIENT = UUID(int=5)
OPEN, OVER = UUID(int=1), UUID(int=2)
A_DAY_AGO = NOW - timedelta(days=1, seconds=1)
Store = Callable[..., None]


def entry(action: str, days: float) -> AuditEntry:
    return AuditEntry(
        occurred_at=NOW - timedelta(days=days),
        action=action,
        outcome="success",
        actor_type="anonymous",
        address="192.0.2.1",
        details={},
    )


def web_session(name: str, *, days: float, expires: datetime) -> WebSession:
    return WebSession(
        user_id=MEMBER_ID,
        token_hash=name,
        created_at=NOW - timedelta(days=days),
        last_used_at=NOW,
        expires_at=expires,
        address="192.0.2.1",
        user_agent="A browser",
    )


def grant(key: UUID, expires: datetime) -> Grant:
    resource = "https://desk.example.org/api"
    return Grant(
        id=key,
        user_id=MEMBER_ID,
        client_id=CLIENT,
        scopes=[],
        resource=resource,
        expires_at=expires,
    )


def code(name: str, grant_id: UUID, expires: datetime) -> AuthorizationCode:
    return AuthorizationCode(
        code_hash=name,
        grant_id=grant_id,
        redirect_uri="",
        redirect_uri_given=False,
        code_challenge="",
        created_at=NOW,
        expires_at=expires,
    )


def refresh_token(name: str, grant_id: UUID, expires: datetime) -> RefreshToken:
    return RefreshToken(token_hash=name, grant_id=grant_id, created_at=NOW, expires_at=expires)


def reset(name: str, expires: datetime) -> PasswordReset:
    return PasswordReset(
        token_hash=name, user_id=MEMBER_ID, created_at=A_DAY_AGO, expires_at=expires
    )


def signing_key(algorithm: str, until: datetime | None) -> SigningKey:
    return SigningKey(
        algorithm=algorithm, public_jwk={}, private_key="", created_at=NOW, verifies_until=until
    )


@pytest.fixture
def store(sessions: Sessions) -> Store:
    """Stores rows, those that others refer to first."""

    def store_all(*rows: Base) -> None:
        with unit_of_work(sessions, writing=True) as session:
            for row in rows:
                session.add(row)
                session.flush()

    return store_all


@pytest.fixture
def values(engine: Engine) -> Callable[..., set[Any]]:
    """What stands in some columns of a table."""

    def read(*columns: Any) -> set[Any]:
        with engine.connect() as connection:
            return {tuple(row) for row in connection.execute(select(*columns))}

    return read


Values = Callable[..., set[Any]]


def test_addresses_are_dropped_after_90_days_and_entries_stay(
    sessions: Sessions, store: Store, values: Values
) -> None:
    store(entry("old.deed", 90.01), entry("new.deed", 89.99))
    assert tidy(sessions, NOW) == {"audit_log": 1}
    assert values(AuditEntry.action, AuditEntry.address) == {
        ("old.deed", None),
        ("new.deed", "192.0.2.1"),
    }
    assert tidy(sessions, NOW) == {}


def test_sessions_end_and_long_ones_forget_where_they_began(
    sessions: Sessions, store: Store, values: Values
) -> None:
    later = NOW + timedelta(seconds=1)
    store(
        web_session("over", days=1, expires=NOW),
        web_session("young", days=1, expires=later),
        web_session("old", days=91, expires=later),
    )
    before = values(WebSession.token_hash, WebSession.updated_at)
    assert tidy(sessions, NOW) == {"web_sessions": 2}
    assert values(WebSession.token_hash, WebSession.address, WebSession.user_agent) == {
        ("young", "192.0.2.1", "A browser"),
        ("old", None, None),
    }
    assert values(WebSession.token_hash, WebSession.updated_at) < before


def test_what_has_expired_is_forgotten(sessions: Sessions, store: Store, values: Values) -> None:
    client = OAuthClient(
        id=CLIENT, name="C", type="public", grant_types=[], redirect_uris=[], scopes=[]
    )
    recent = NOW - timedelta(hours=23)
    store(
        reset("reset over", NOW),
        reset("reset open", NOW + timedelta(seconds=1)),
        SignInFailure(subject="failed long ago", count=1, last_failed_at=A_DAY_AGO),
        SignInFailure(subject="failed", count=1, last_failed_at=recent),
        Revocation(subject="revocation over", expires_at=NOW),
        Revocation(subject="revocation", expires_at=NOW + timedelta(seconds=1)),
        signing_key("over", NOW),
        signing_key("verifies", NOW + timedelta(seconds=1)),
        signing_key("signs", None),
        client,
        grant(OPEN, recent),
        code("code over", OPEN, A_DAY_AGO),
        code("code", OPEN, recent),
        refresh_token("token over", OPEN, A_DAY_AGO),
        refresh_token("token", OPEN, recent),
        grant(OVER, A_DAY_AGO),
        code("of the grant that is over", OVER, recent),
    )
    assert tidy(sessions, NOW) == {
        "authorization_codes": 1,
        "grants": 1,
        "password_resets": 1,
        "refresh_tokens": 1,
        "revocations": 1,
        "sign_in_failures": 1,
        "signing_keys": 1,
    }
    kept: list[Any] = [PasswordReset.token_hash, SignInFailure.subject, Revocation.subject]
    kept += [SigningKey.algorithm, Grant.id, AuthorizationCode.code_hash, RefreshToken.token_hash]
    assert [{value for (value,) in values(column)} for column in kept] == [
        {"reset open"},
        {"failed"},
        {"revocation"},
        {"verifies", "signs"},
        {OPEN},
        {"code"},
        {"token"},
    ]


class TestBatches:
    @pytest.fixture(autouse=True)
    def small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(housekeeping, "_BATCH", 2)

    @pytest.fixture(autouse=True)
    def five(self, store: Store) -> None:
        store(*(Revocation(subject=f"{number}", expires_at=NOW) for number in range(5)))

    def test_no_statement_takes_more_than_a_batch(
        self, sessions: Sessions, count_queries: Callable[..., Any]
    ) -> None:
        with count_queries() as statements:
            assert tidy(sessions, NOW) == {"revocations": 5}
        assert sum("DELETE FROM revocations" in statement for statement in statements) == 3

    def test_it_stops_between_two_batches_when_it_is_told_to(
        self, sessions: Sessions, engine: Engine
    ) -> None:
        def left() -> int:
            with engine.connect() as connection:
                return connection.execute(select(func.count()).select_from(Revocation)).scalar_one()

        assert tidy(sessions, NOW, stopping=lambda: left() < 5) == {"revocations": 2}
        assert left() == 3


class TestWorker:
    @pytest.fixture
    def here(self, settings: Settings, tmp_path: Any) -> Settings:
        """The settings, with a queue that no other test has used."""
        return settings.model_copy(update={"instance": tmp_path, "uploads": tmp_path / "uploads"})

    def test_it_tidies_up_at_its_start_and_logs_counts(
        self, here: Settings, store: Store, values: Values, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(clock, "now", lambda: NOW)
        store(Revocation(subject="over", expires_at=NOW))
        with capture_logs() as logs, embedded_worker(here):
            wait_for(lambda: not values(Revocation.subject))
            wait_for(lambda: bool(logs))
        (line,) = [line for line in logs if line["event"] == "housekeeping"]
        assert line == {"event": "housekeeping", "log_level": "info", "revocations": 1}

    @pytest.mark.usefixtures("engine")
    def test_one_that_fails_is_logged_and_tried_again_after_a_while(
        self, here: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker._Scheduler, "periodic_task_seconds", 0.1)
        monkeypatch.setattr(worker, "_SECONDS_BETWEEN_TIDYINGS", 0.1)
        attempts = []

        def fail(*_: object, **__: object) -> None:
            attempts.append(1)
            raise RuntimeError("away")

        monkeypatch.setattr(worker, "tidy", fail)
        with embedded_worker(here):
            wait_for(lambda: len(attempts) > 1)
