"""POST /api/session: who gets in, and what everybody else hears."""

import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from argon2 import PasswordHasher
from sqlalchemy import select

from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth import passwords
from circdesk.auth.models import SignInFailure, WebSession
from circdesk.auth.passwords import hash_password
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.auth.sign_in import confirm, prove, sign_in
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import MEMBER_ID, PEOPLE

Expected = Callable[..., dict[str, Any]]

PASSWORD = "a quiet evening by the harbour"
HASH = hash_password(PASSWORD)
WRONG = "The email or the password is wrong."


@pytest.fixture(autouse=True)
def with_passwords(sessions: Sessions) -> None:
    """Give everybody the same password."""
    with unit_of_work(sessions, writing=True) as session:
        for user in session.scalars(select(User)):
            user.password_hash = HASH


def attempt(
    client: httpx.Client, email: str = "member@example.org", password: str = PASSWORD
) -> httpx.Response:
    return client.post("/api/session", json={"email": email, "password": password})


def change(sessions: Sessions, **columns: Any) -> None:
    with unit_of_work(sessions, writing=True) as session:
        user = session.get_one(User, MEMBER_ID)
        for name, value in columns.items():
            setattr(user, name, value)


def audit(sessions: Sessions) -> list[dict[str, Any]]:
    with unit_of_work(sessions, writing=False) as session:
        return [
            {
                "action": entry.action,
                "outcome": entry.outcome,
                "actor": (entry.actor_type, entry.actor_id),
                "target": (entry.target_type, entry.target_id),
                "details": entry.details,
            }
            for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        ]


class TestCreateSession:
    def test_email_and_password_open_a_session(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        response = attempt(client)

        assert response.status_code == 201, response.text
        token = client.cookies["circdesk_session"]
        with unit_of_work(sessions, writing=False) as session:
            stored = session.scalars(select(WebSession)).one()
        assert stored.token_hash == hash_secret(token)
        body = response.json()
        assert len(body.pop("csrf_token")) == 64
        assert body == {
            "id": str(stored.id),
            "user": {"id": str(MEMBER_ID), "name": "The member", "role": "member"},
            "scopes": sorted(ROLE_SCOPES["member"]),
            "created_at": stored.created_at.isoformat().replace("+00:00", "Z"),
            "expires_at": stored.expires_at.isoformat().replace("+00:00", "Z"),
        }
        assert response.headers["Location"] == "/api/session"
        assert response.headers["Cache-Control"] == "no-store"
        assert audit(sessions) == [
            {
                "action": "session.create",
                "outcome": "success",
                "actor": ("user", MEMBER_ID),
                "target": ("user", MEMBER_ID),
                "details": {},
            }
        ]

    def test_the_email_is_taken_in_any_case(self, client: httpx.Client) -> None:
        assert attempt(client, "Member@Example.ORG").status_code == 201

    @pytest.mark.parametrize("role", PEOPLE)
    def test_each_role_gets_its_scopes(self, client: httpx.Client, role: str) -> None:
        body = attempt(client, f"{role}@example.org").json()

        assert body["scopes"] == sorted(ROLE_SCOPES[role])
        assert body["user"]["id"] == str(PEOPLE[role])

    @pytest.mark.parametrize(
        ("email", "password", "target"),
        [
            ("nobody@example.org", PASSWORD, None),
            ("member@example.org", "another evening elsewhere", MEMBER_ID),
            ("member@example.org", PASSWORD.upper(), MEMBER_ID),
            ("member@example.org", "x", MEMBER_ID),
            ("' OR 1=1 --", PASSWORD, None),
        ],
    )
    def test_what_is_wrong_is_not_told(
        self,
        client: httpx.Client,
        sessions: Sessions,
        problem: Expected,
        email: str,
        password: str,
        target: UUID | None,
    ) -> None:
        response = attempt(client, email, password)

        assert response.status_code == 401
        assert response.json() == problem(response, "sign_in_failed", WRONG)
        assert response.headers["WWW-Authenticate"] == (
            'Cookie realm="circdesk", cookie-name="circdesk_session"'
        )
        assert "Set-Cookie" not in response.headers
        assert audit(sessions) == [
            {
                "action": "session.create",
                "outcome": "failure",
                "actor": ("anonymous", None),
                "target": ("user" if target else None, target),
                "details": {},
            }
        ]

    @pytest.mark.parametrize(
        "columns",
        [{"status": "blocked"}, {"password_hash": None}, {"email": None, "status": "deleted"}],
    )
    def test_who_may_not_sign_in_hears_the_same(
        self, client: httpx.Client, sessions: Sessions, problem: Expected, columns: dict[str, Any]
    ) -> None:
        change(sessions, **columns)
        response = attempt(client)

        assert response.status_code == 401
        assert response.json() == problem(response, "sign_in_failed", WRONG)

    @pytest.mark.parametrize(
        "email",
        [
            "\N{FULLWIDTH LATIN SMALL LETTER M}ember@example.org",
            "m\N{CYRILLIC SMALL LETTER IE}mber@example.org",
            "member@example.org\N{ZERO WIDTH SPACE}",
            "\N{KELVIN SIGN}ember@example.org",
        ],
    )
    def test_an_email_that_looks_alike_is_nobody(
        self, client: httpx.Client, sessions: Sessions, email: str
    ) -> None:
        if email.startswith("\N{KELVIN SIGN}"):
            change(sessions, email="kember@example.org")

        assert attempt(client, email).status_code == 401

    def test_a_password_of_a_megabyte_never_reaches_the_hash(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        response = attempt(client, password="x" * 900_000)

        assert response.status_code == 400
        assert response.json()["details"][0]["rule"] == "maxLength"
        assert attempt(client, password="x" * 1_100_000).status_code == 413
        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(SignInFailure)).all() == []

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
    def test_another_site_cannot_sign_a_browser_in(
        self, client: httpx.Client, content_type: str
    ) -> None:
        content = f'{{"email": "member@example.org", "password": "{PASSWORD}"}}'
        response = client.post(
            "/api/session", content=content, headers={"Content-Type": content_type}
        )

        assert response.status_code == 415
        assert "Set-Cookie" not in response.headers

    def test_a_body_without_a_password_breaks_the_contract(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.post("/api/session", json={"email": "member@example.org"})

        assert response.status_code == 400
        assert response.json() == problem(
            response,
            "invalid_request",
            "The request has 1 fault.",
            details=response.json()["details"],
        )

    @pytest.mark.usefixtures("real_hashes")
    def test_a_weaker_hash_is_replaced(self, client: httpx.Client, sessions: Sessions) -> None:
        weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
        change(sessions, password_hash=weak)

        assert attempt(client).status_code == 201
        with unit_of_work(sessions, writing=False) as session:
            stored = session.get_one(User, MEMBER_ID).password_hash
        assert stored is not None
        assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        assert attempt(client).status_code == 201

    @pytest.mark.usefixtures("real_hashes")
    def test_a_failure_replaces_no_hash(self, client: httpx.Client, sessions: Sessions) -> None:
        weak = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1).hash(PASSWORD)
        change(sessions, password_hash=weak)
        attempt(client, password="another evening elsewhere")

        with unit_of_work(sessions, writing=False) as session:
            assert session.get_one(User, MEMBER_ID).password_hash == weak


class CountingHasher(PasswordHasher):
    """The library's hasher, which counts what it verifies."""

    verified: list[str]

    def verify(self, hash: str | bytes, password: str | bytes) -> Any:  # noqa: A002 - The library's name.
        self.verified.append(str(hash))
        return super().verify(hash, password)


@pytest.fixture
def hasher(real_hashes: None, monkeypatch: pytest.MonkeyPatch) -> CountingHasher:
    counting = CountingHasher()
    counting.verified = []
    monkeypatch.setattr(passwords, "_argon2", counting)
    return counting


@pytest.fixture
def a_real_hash(real_hashes: None, with_passwords: None, sessions: Sessions) -> None:
    change(sessions, password_hash=hash_password(PASSWORD))


@pytest.mark.usefixtures("a_real_hash")
class TestEqualWork:
    @pytest.mark.parametrize("email", ["member@example.org", "nobody@example.org"])
    @pytest.mark.parametrize("status", ["active", "blocked"])
    def test_one_hash_is_verified_whoever_it_is(
        self,
        client: httpx.Client,
        sessions: Sessions,
        hasher: CountingHasher,
        email: str,
        status: str,
    ) -> None:
        change(sessions, status=status)
        attempt(client, email, "another evening elsewhere")

        assert len(hasher.verified) == 1
        # The hash of nobody costs what anybody's does.
        assert hasher.verified[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")

    def test_an_unknown_email_takes_as_long_as_a_known_one(self, client: httpx.Client) -> None:
        attempt(client, "warm.up@example.org")
        took: dict[str, list[float]] = {"member@example.org": [], "nobody@example.org": []}
        for _ in range(4):
            for email, times in took.items():
                started = time.perf_counter()
                assert attempt(client, email, "another evening elsewhere").status_code == 401
                times.append(time.perf_counter() - started)

        known, unknown = (statistics.median(times) for times in took.values())
        assert 0.5 < known / unknown < 2


class TestUnitOfWork:
    def test_a_session_in_use_is_refused_because_two_would_wait_for_each_other(
        self, sessions: Sessions
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.scalars(select(User)).all()
            with pytest.raises(RuntimeError, match="in use already"):
                sign_in(session, "member@example.org", PASSWORD)

    @pytest.mark.parametrize("columns", [{"password_hash": HASH[:-1] + "x"}, {"status": "blocked"}])
    def test_what_changes_while_the_password_is_checked_counts(
        self, sessions: Sessions, columns: dict[str, Any]
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            proof = prove(session, User.id == MEMBER_ID, "member", PASSWORD)
            change(sessions, **columns)

            assert proof.password_hash == HASH
            assert confirm(session, proof) is None
