"""Passwords over HTTP: changed by the old one, and reset by a token."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth.models import PasswordReset, WebSession
from circdesk.auth.passwords import hash_password
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.post import Post, serving_post
from tests.auth.serving import serving
from tests.people import ADMIN_ID, LIBRARIAN_ID, MEMBER_ID

Expected = Callable[..., dict[str, Any]]

OLD = "a quiet evening by the harbour"
NEW = "a loud morning in the market"
HASH = hash_password(OLD)
TOKEN = "Zm9yLXRlc3RzLWEtdG9rZW4tb2YtMjU2LXJhbmRvbS0"
INVALID = "No password can be reset with this token."
INVALID_DETAILS = [{"in": "body", "pointer": "/token", "rule": "token", "message": INVALID}]
UNKNOWN = "019b8d2b-8c00-7009-8000-0000000000ff"


@pytest.fixture(autouse=True)
def with_passwords(sessions: Sessions) -> None:
    """Give everybody the same password."""
    with unit_of_work(sessions, writing=True) as session:
        for user in session.scalars(select(User)):
            user.password_hash = HASH


@pytest.fixture
def time_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has to wait waits for as long as the test lasts."""
    present = clock.now()
    monkeypatch.setattr(clock, "now", lambda: present)


def sign_in(client: httpx.Client, password: str) -> httpx.Response:
    return client.post("/api/session", json={"email": "member@example.org", "password": password})


def add_reset(sessions: Sessions, token: str = TOKEN, *, age: float = 0) -> None:
    created = clock.now() - timedelta(hours=age)
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            PasswordReset(
                token_hash=hash_secret(token),
                user_id=MEMBER_ID,
                created_at=created,
                expires_at=created + timedelta(hours=1),
            )
        )


def add_session(sessions: Sessions, token: str) -> None:
    now = clock.now()
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            WebSession(
                user_id=MEMBER_ID,
                token_hash=hash_secret(token),
                last_used_at=now,
                expires_at=now + timedelta(hours=1),
            )
        )


def resets(sessions: Sessions) -> list[PasswordReset]:
    with unit_of_work(sessions, writing=False) as session:
        return list(session.scalars(select(PasswordReset)))


def audit(sessions: Sessions, noun: str) -> list[tuple[str, str, UUID | None, UUID | None]]:
    with unit_of_work(sessions, writing=False) as session:
        return [
            (entry.action, entry.outcome, entry.actor_id, entry.target_id)
            for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))
            if entry.action.startswith(noun)
        ]


def change(client: httpx.Client, current: str = OLD, new: str = NEW) -> httpx.Response:
    body = {"current_password": current, "new_password": new}
    return client.put("/api/me/password", json=body)


class TestChangeMyPassword:
    def test_the_new_one_takes_the_place_of_the_old_one(
        self, client: httpx.Client, member: httpx.Client, sessions: Sessions
    ) -> None:
        before = clock.now()
        response = change(member)

        assert (response.status_code, response.content) == (204, b"")
        assert sign_in(client, OLD).status_code == 401
        assert sign_in(client, NEW).status_code == 201
        with unit_of_work(sessions, writing=False) as session:
            changed_at = session.get_one(User, MEMBER_ID).password_changed_at
        assert changed_at is not None
        assert changed_at >= before
        assert audit(sessions, "password") == [("password.change", "success", MEMBER_ID, MEMBER_ID)]

    def test_the_session_that_is_calling_goes_on_and_all_others_end(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        add_session(sessions, "another-browser")
        add_reset(sessions)
        client.headers["X-CSRF-Token"] = sign_in(client, OLD).json()["csrf_token"]
        assert change(client).status_code == 204

        assert client.get("/api/session").status_code == 200
        cookie = {"Cookie": "circdesk_session=another-browser"}
        assert client.get("/api/me", headers=cookie).status_code == 401
        assert resets(sessions) == []

    def test_with_a_key_every_session_ends(self, member: httpx.Client, sessions: Sessions) -> None:
        add_session(sessions, "a-browser")
        assert change(member).status_code == 204

        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(WebSession)).all() == []

    def test_the_old_one_must_be_right(
        self, member: httpx.Client, sessions: Sessions, problem: Expected
    ) -> None:
        response = change(member, current="another evening elsewhere")

        assert response.status_code == 422
        message = "The present password is another."
        details = [
            {
                "in": "body",
                "pointer": "/current_password",
                "rule": "password",
                "message": message,
            }
        ]
        assert response.json() == problem(response, "password_wrong", message, details=details)
        assert audit(sessions, "password") == [("password.change", "failure", MEMBER_ID, MEMBER_ID)]

    @pytest.mark.usefixtures("time_stands_still")
    def test_wrong_ones_count_as_failed_sign_ins(
        self, client: httpx.Client, member: httpx.Client
    ) -> None:
        for _ in range(3):
            assert change(member, current="another evening elsewhere").status_code == 422
        for _ in range(2):
            assert sign_in(client, "another evening elsewhere").status_code == 401

        response = change(member)
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"

    def test_who_has_none_cannot_change_it(self, member: httpx.Client, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, MEMBER_ID).password_hash = None

        assert change(member).status_code == 422

    @pytest.mark.parametrize("new", ["password1234", "Member@Example.org", "123456789012"])
    def test_what_is_tried_first_is_refused_and_counts_for_nothing(
        self, member: httpx.Client, problem: Expected, new: str
    ) -> None:
        for _ in range(6):
            response = change(member, new=new)

        assert response.status_code == 422
        message = "This password is among the first that are tried."
        details = [{"in": "body", "pointer": "/new_password", "rule": "common", "message": message}]
        assert response.json() == problem(response, "password_too_common", message, details=details)

    @pytest.mark.parametrize("new", ["eleven char", "x" * 1025, "a bell\a in the middle"])
    def test_what_breaks_the_contract_is_a_400(self, member: httpx.Client, new: str) -> None:
        response = change(member, new=new)

        assert response.status_code == 400
        assert response.json()["details"][0]["pointer"] == "/new_password"

    def test_nobody_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = change(client)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestCreatePasswordReset:
    @pytest.mark.parametrize("key", [str(MEMBER_ID), "card:20001"])
    def test_staff_make_a_token_for_a_member(
        self, librarian: httpx.Client, sessions: Sessions, key: str
    ) -> None:
        before = clock.now()
        response = librarian.post(f"/api/users/{key}/password-resets")

        assert response.status_code == 201, response.text
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Location"] == "/api/password-resets/redemptions"
        (reset,) = resets(sessions)
        body = response.json()
        assert reset.token_hash == hash_secret(body["token"])
        assert body == {"token": body["token"], "expires_at": body["expires_at"]}
        assert datetime.fromisoformat(body["expires_at"]) == reset.expires_at
        assert before + timedelta(hours=1) <= reset.expires_at <= clock.now() + timedelta(hours=1)
        assert audit(sessions, "password_reset") == [
            ("password_reset.create", "success", LIBRARIAN_ID, MEMBER_ID)
        ]

    @pytest.mark.parametrize("target", [LIBRARIAN_ID, ADMIN_ID])
    def test_for_staff_it_takes_the_right_to_give_roles(
        self, librarian: httpx.Client, admin: httpx.Client, sessions: Sessions, target: UUID
    ) -> None:
        response = librarian.post(f"/api/users/{target}/password-resets")

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"
        assert "roles:write" in response.headers["WWW-Authenticate"]
        assert resets(sessions) == []
        assert admin.post(f"/api/users/{target}/password-resets").status_code == 201

    def test_members_may_not(self, member: httpx.Client) -> None:
        response = member.post(f"/api/users/{MEMBER_ID}/password-resets")

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"

    def test_an_unknown_user_is_not_there(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.post(f"/api/users/{UNKNOWN}/password-resets")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No user has the key {UNKNOWN}.")

    def test_nobody_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post(f"/api/users/{MEMBER_ID}/password-resets")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


def redeem(client: httpx.Client, token: str = TOKEN, new: str = NEW) -> httpx.Response:
    body = {"token": token, "new_password": new}
    return client.post("/api/password-resets/redemptions", json=body)


class TestRedeemPasswordReset:
    def test_it_sets_the_password_once_and_ends_all_access(
        self, client: httpx.Client, sessions: Sessions, problem: Expected
    ) -> None:
        add_reset(sessions)
        add_reset(sessions, "another-token")
        add_session(sessions, "a-browser")
        response = redeem(client)

        assert (response.status_code, response.content) == (204, b"")
        assert sign_in(client, NEW).status_code == 201
        assert sign_in(client, OLD).status_code == 401
        cookie = {"Cookie": "circdesk_session=a-browser"}
        assert client.get("/api/me", headers=cookie).status_code == 401
        again = redeem(client)
        assert again.status_code == 422
        assert again.json() == problem(
            again, "reset_token_invalid", INVALID, details=INVALID_DETAILS
        )
        assert redeem(client, "another-token").status_code == 422
        assert audit(sessions, "password_reset") == [
            ("password_reset.redeem", "success", MEMBER_ID, MEMBER_ID)
        ]

    @pytest.mark.parametrize(
        ("token", "age"), [("unknown", 0.0), (TOKEN.lower(), 0.0), (TOKEN, 1.0)]
    )
    def test_an_unknown_or_expired_token_is_refused(
        self, client: httpx.Client, sessions: Sessions, problem: Expected, token: str, age: float
    ) -> None:
        add_reset(sessions, age=age)
        response = redeem(client, token)

        assert response.status_code == 422
        assert response.json() == problem(
            response, "reset_token_invalid", INVALID, details=INVALID_DETAILS
        )
        assert sign_in(client, OLD).status_code == 201

    def test_a_refused_password_leaves_the_token_good(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        add_reset(sessions)
        refused = redeem(client, new="password1234")

        assert refused.status_code == 422
        assert refused.json()["code"] == "password_too_common"
        assert refused.json()["details"][0]["pointer"] == "/new_password"
        assert redeem(client).status_code == 204

    @pytest.mark.usefixtures("time_stands_still")
    def test_it_opens_the_door_to_who_was_locked_out(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        add_reset(sessions)
        for _ in range(5):
            sign_in(client, "another evening elsewhere")
        assert redeem(client).status_code == 204

        assert sign_in(client, NEW).status_code == 201


def wanted(url: str, email: str) -> httpx.Response:
    return httpx.post(f"{url}/api/password-resets", json={"email": email}, timeout=10)


@pytest.fixture
def post() -> Iterator[Post]:
    with serving_post() as post:
        yield post


class TestSendPasswordReset:
    @pytest.fixture
    def url(self, settings: Settings, post: Post) -> Iterator[str]:
        with serving(settings, mail_hook_url=post.url) as url:
            yield url

    def test_a_letter_with_the_token_goes_to_the_person(
        self, url: str, post: Post, client: httpx.Client, sessions: Sessions
    ) -> None:
        response = wanted(url, "Member@example.org")

        assert (response.status_code, response.content) == (202, b"")
        ((_, _, letter),) = post.wait_for(1)
        assert letter == {
            "event": "password_reset",
            "email": "member@example.org",
            "name": "The member",
            "token": letter["token"],
            "expires_at": letter["expires_at"],
        }
        (reset,) = resets(sessions)
        assert reset.token_hash == hash_secret(letter["token"])
        assert datetime.fromisoformat(letter["expires_at"]) == reset.expires_at
        assert audit(sessions, "password_reset") == [
            ("password_reset.create", "success", None, MEMBER_ID)
        ]
        assert redeem(client, letter["token"]).status_code == 204

    def test_nobody_can_tell_whether_there_is_such_an_account(self, url: str, post: Post) -> None:
        unknown = wanted(url, "nobody@example.org")
        known = wanted(url, "member@example.org")
        post.wait_for(1)

        assert (unknown.status_code, unknown.content) == (known.status_code, known.content)
        assert unknown.headers.keys() == known.headers.keys()
        assert len(post.letters) == 1

    def test_a_second_letter_waits_for_a_minute(self, url: str, post: Post) -> None:
        for _ in range(3):
            assert wanted(url, "member@example.org").status_code == 202
        wanted(url, "librarian@example.org")
        post.wait_for(2)

        assert sorted(letter["email"] for _, _, letter in post.letters) == [
            "librarian@example.org",
            "member@example.org",
        ]

    def test_who_is_blocked_gets_none(self, url: str, post: Post, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, MEMBER_ID).status = "blocked"
        assert wanted(url, "member@example.org").status_code == 202
        wanted(url, "librarian@example.org")
        post.wait_for(1)

        assert [letter["email"] for _, _, letter in post.letters] == ["librarian@example.org"]

    def test_without_a_mail_hook_the_answer_is_the_same(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        response = client.post("/api/password-resets", json={"email": "member@example.org"})

        assert (response.status_code, response.content) == (202, b"")
        assert resets(sessions) == []
