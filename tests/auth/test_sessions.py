"""Web sessions: cookies, their CSRF tokens, and the list of one's own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth.memory import forget_all
from circdesk.auth.models import WebSession
from circdesk.auth.passwords import hash_password
from circdesk.auth.secrets import hash_secret
from circdesk.auth.sessions import session_cookie
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key

Expected = Callable[..., dict[str, Any]]

PASSWORD = "a quiet evening by the harbour"
HASH = hash_password(PASSWORD)
CLEARED = "circdesk_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
UNKNOWN = "019b8d2b-8c00-700d-8000-0000000000ff"


@pytest.fixture(autouse=True)
def with_passwords(sessions: Sessions) -> None:
    """Give everybody the same password."""
    with unit_of_work(sessions, writing=True) as session:
        for user in session.scalars(select(User)):
            user.password_hash = HASH


@contextmanager
def browser(base_url: str, role: str = "member") -> Iterator[httpx.Client]:
    """A browser that is signed in; its calls send the session's CSRF token."""
    with httpx.Client(base_url=base_url, timeout=10) as client:
        body = {"email": f"{role}@example.org", "password": PASSWORD}
        response = client.post("/api/session", json=body, headers={"User-Agent": f"{role} 1.0"})
        assert response.status_code == 201, response.text
        client.headers["X-CSRF-Token"] = response.json()["csrf_token"]
        yield client


@pytest.fixture
def signed_in(base_url: str, client: httpx.Client) -> Iterator[httpx.Client]:
    with browser(base_url) as signed_in:
        yield signed_in


@pytest.fixture
def other(base_url: str, client: httpx.Client) -> Iterator[httpx.Client]:
    """Another browser of the same person."""
    with browser(base_url) as other:
        yield other


def stored(sessions: Sessions) -> list[WebSession]:
    with unit_of_work(sessions, writing=False) as session:
        return list(session.scalars(select(WebSession).order_by(WebSession.id)))


def actions(sessions: Sessions) -> list[tuple[str, str, UUID | None, UUID | None]]:
    with unit_of_work(sessions, writing=False) as session:
        return [
            (entry.action, entry.outcome, entry.actor_id, entry.target_id)
            for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        ]


def age(sessions: Sessions, **columns: timedelta) -> None:
    """Let all sessions be older, or end earlier."""
    with unit_of_work(sessions, writing=True) as session:
        for web_session in session.scalars(select(WebSession)):
            for name, duration in columns.items():
                setattr(web_session, name, getattr(web_session, name) - duration)
    forget_all()


class TestCookie:
    def test_scripts_cannot_read_it_and_other_sites_cannot_post_with_it(
        self, client: httpx.Client
    ) -> None:
        body = {"email": "member@example.org", "password": PASSWORD}
        response = client.post("/api/session", json=body)
        name, _, rest = response.headers["Set-Cookie"].partition("=")
        token, *attributes = rest.split("; ")

        assert name == "circdesk_session"
        assert len(token) == 43
        # The tests' service is reached by plain http on a loopback address, so it is not Secure.
        assert attributes == ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Lax"]

    @pytest.mark.parametrize(
        "public_url",
        [
            "http://library.example",
            "http://localhost.library.example",
            "http://192.168.1.2:8000",
            "https://127.0.0.1:8000",
            "https://library.example",
        ],
    )
    def test_it_is_secure(self, public_url: str) -> None:
        assert session_cookie("x", public_url).endswith("; SameSite=Lax; Secure")

    @pytest.mark.parametrize(
        "public_url",
        [
            "http://127.0.0.1:8000",
            "http://127.9.9.9",
            "http://[::1]:8000",
            "http://localhost:8000",
        ],
    )
    def test_it_is_not_secure_where_plain_http_stays_on_the_machine(self, public_url: str) -> None:
        assert session_cookie("x", public_url).endswith("; SameSite=Lax")

    def test_a_cookie_that_was_planted_is_never_the_one_after(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        client.cookies["circdesk_session"] = "planted-by-somebody-else"
        body = {"email": "member@example.org", "password": PASSWORD}
        response = client.post("/api/session", json=body)

        assert response.status_code == 201
        token = response.headers["Set-Cookie"].partition(";")[0].removeprefix("circdesk_session=")
        assert token != "planted-by-somebody-else"
        assert [s.token_hash for s in stored(sessions)] == [hash_secret(token)]

    def test_to_sign_in_again_ends_the_session_before(
        self, signed_in: httpx.Client, client: httpx.Client, sessions: Sessions
    ) -> None:
        before = signed_in.cookies["circdesk_session"]
        body = {"email": "librarian@example.org", "password": PASSWORD}
        assert signed_in.post("/api/session", json=body).status_code == 201

        assert [s.user_id for s in stored(sessions)] == [LIBRARIAN_ID]
        stale = client.get("/api/session", headers={"Cookie": f"circdesk_session={before}"})
        assert stale.status_code == 401

    def test_a_failure_ends_nothing(self, signed_in: httpx.Client) -> None:
        body = {"email": "librarian@example.org", "password": "another evening elsewhere"}
        assert signed_in.post("/api/session", json=body).status_code == 401

        assert signed_in.get("/api/session").status_code == 200

    def test_a_stale_one_is_anonymous_and_cleared(self, client: httpx.Client) -> None:
        client.cookies["circdesk_session"] = "stale"
        response = client.get("/api/posts")

        assert response.status_code == 200
        assert response.headers["Set-Cookie"] == CLEARED

    def test_a_stale_one_is_no_credential_and_cleared(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get("/api/me", headers={"Cookie": "circdesk_session=stale"})

        assert response.status_code == 401
        assert response.headers["Set-Cookie"] == CLEARED
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetSession:
    def test_it_is_what_the_sign_in_said(self, client: httpx.Client) -> None:
        body = {"email": "member@example.org", "password": PASSWORD}
        created = client.post("/api/session", json=body).json()
        response = client.get("/api/session")

        assert response.status_code == 200
        assert response.json() == created
        assert response.headers["Cache-Control"] == "no-store"

    def test_without_a_session_it_is_a_401(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/session")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
        assert response.headers["WWW-Authenticate"] == (
            'Cookie realm="circdesk", cookie-name="circdesk_session"'
        )

    @pytest.mark.parametrize(("column", "hours"), [("expires_at", 12), ("last_used_at", 2)])
    def test_it_ends_after_twelve_hours_and_after_two_of_rest(
        self, signed_in: httpx.Client, sessions: Sessions, column: str, hours: int
    ) -> None:
        age(sessions, **{column: timedelta(hours=hours)})

        assert signed_in.get("/api/session").status_code == 401

    @pytest.mark.parametrize(
        ("column", "minutes"), [("expires_at", 12 * 60 - 1), ("last_used_at", 2 * 60 - 1)]
    )
    def test_a_minute_before_it_goes_on(
        self, signed_in: httpx.Client, sessions: Sessions, column: str, minutes: int
    ) -> None:
        age(sessions, **{column: timedelta(minutes=minutes)})

        assert signed_in.get("/api/session").status_code == 200

    def test_a_use_is_noted_once_a_minute(self, client: httpx.Client, sessions: Sessions) -> None:
        hour_ago = clock.now() - timedelta(hours=1)
        with unit_of_work(sessions, writing=True) as session:
            session.add(
                WebSession(
                    user_id=MEMBER_ID,
                    token_hash=hash_secret("token"),
                    last_used_at=hour_ago,
                    expires_at=clock.now() + timedelta(hours=1),
                )
            )
        client.cookies["circdesk_session"] = "token"
        before = clock.now()
        assert client.get("/api/session").status_code == 200
        noted = wait_until(lambda: stored(sessions)[0].last_used_at, lambda at: at > hour_ago)
        assert before <= noted <= clock.now()
        forget_all()
        assert client.get("/api/session").status_code == 200

        assert stored(sessions)[0].last_used_at == noted
        assert stored(sessions)[0].updated_at == stored(sessions)[0].created_at


def wait_until(read: Callable[[], Any], good: Callable[[Any], bool]) -> Any:
    """What `read` says once it is good, which it is to be in five seconds."""
    deadline = datetime.now(UTC) + timedelta(seconds=5)
    while not good(value := read()):
        assert datetime.now(UTC) < deadline
    return value


class TestDeleteSession:
    def test_it_ends_and_the_cookie_is_cleared(
        self, signed_in: httpx.Client, client: httpx.Client, sessions: Sessions
    ) -> None:
        token = signed_in.cookies["circdesk_session"]
        (web_session,) = stored(sessions)
        response = signed_in.delete("/api/session")

        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["Set-Cookie"] == CLEARED
        assert stored(sessions) == []
        again = client.get("/api/me", headers={"Cookie": f"circdesk_session={token}"})
        assert again.status_code == 401
        assert actions(sessions) == [
            ("session.create", "success", MEMBER_ID, MEMBER_ID),
            ("session.delete", "success", MEMBER_ID, web_session.id),
        ]

    def test_without_a_session_it_is_a_401(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete("/api/session")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestCsrf:
    @pytest.mark.parametrize("token", ["", "0" * 64, "wr\xf6ng", None])
    def test_a_change_without_the_token_is_refused(
        self, signed_in: httpx.Client, problem: Expected, token: str | None
    ) -> None:
        del signed_in.headers["X-CSRF-Token"]
        headers = [] if token is None else [(b"X-CSRF-Token", token.encode("latin-1"))]
        response = signed_in.delete("/api/session", headers=headers)

        assert response.status_code == 403
        assert response.json() == problem(
            response, "csrf_token_invalid", "The header X-CSRF-Token has not the session's token."
        )

    def test_the_token_of_another_session_is_refused(
        self, signed_in: httpx.Client, other: httpx.Client
    ) -> None:
        response = signed_in.patch(
            "/api/me", json={}, headers={"X-CSRF-Token": other.headers["X-CSRF-Token"]}
        )

        assert response.status_code == 403
        assert response.json()["code"] == "csrf_token_invalid"

    def test_reads_need_none(self, signed_in: httpx.Client) -> None:
        del signed_in.headers["X-CSRF-Token"]

        assert signed_in.get("/api/me").status_code == 200
        assert signed_in.get("/api/session").status_code == 200

    def test_an_api_key_needs_none(self, client: httpx.Client) -> None:
        response = client.patch("/api/me", json={}, headers={"X-API-Key": api_key("member")})

        assert response.status_code == 200

    def test_with_it_a_change_is_made(self, signed_in: httpx.Client) -> None:
        assert signed_in.patch("/api/me", json={}).status_code == 200


class TestListMySessions:
    def test_it_has_the_own_ones_and_tells_the_current(
        self, base_url: str, signed_in: httpx.Client, sessions: Sessions
    ) -> None:
        with browser(base_url), browser(base_url, "librarian"):
            first, second, _ = stored(sessions)
        response = signed_in.get("/api/me/sessions")

        assert response.status_code == 200
        body = response.json()
        assert body.pop("next_cursor") is None
        assert body == {
            "items": [entry(second, current=False), entry(first, current=True)],
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "links": {"self": "/api/me/sessions", "first": "/api/me/sessions"},
        }

    @pytest.mark.usefixtures("signed_in")
    def test_with_a_key_none_is_the_current(self, member: httpx.Client) -> None:
        items = member.get("/api/me/sessions?sort=created_at").json()["items"]

        assert [item["current"] for item in items] == [False]

    @pytest.mark.usefixtures("signed_in")
    def test_those_that_have_ended_are_left_out(
        self, member: httpx.Client, sessions: Sessions
    ) -> None:
        age(sessions, expires_at=timedelta(hours=12))

        assert member.get("/api/me/sessions").json()["items"] == []

    @pytest.mark.usefixtures("signed_in")
    def test_it_takes_two_statements(self, member: httpx.Client, count_queries: Any) -> None:
        member.get("/api/me/sessions")
        with count_queries() as statements:
            member.get("/api/me/sessions")

        assert len([s for s in statements if "web_sessions" in s]) <= 2

    def test_nobody_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/me/sessions")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


def entry(web_session: WebSession, *, current: bool) -> dict[str, Any]:
    def moment(time: datetime) -> str:
        return time.isoformat().replace("+00:00", "Z")

    return {
        "id": str(web_session.id),
        "current": current,
        "address": "127.0.0.1",
        "user_agent": "member 1.0",
        "created_at": moment(web_session.created_at),
        "last_used_at": moment(web_session.last_used_at),
        "expires_at": moment(web_session.expires_at),
    }


class TestDeleteMySession:
    def test_the_other_browser_is_out_and_this_one_stays(
        self, signed_in: httpx.Client, other: httpx.Client, sessions: Sessions
    ) -> None:
        assert other.get("/api/session").status_code == 200
        theirs = stored(sessions)[1]
        response = signed_in.delete(f"/api/me/sessions/{theirs.id}")

        assert (response.status_code, response.content) == (204, b"")
        assert "Set-Cookie" not in response.headers
        assert other.get("/api/session").status_code == 401
        assert signed_in.get("/api/session").status_code == 200
        assert actions(sessions)[-1] == ("session.revoke", "success", MEMBER_ID, theirs.id)

    def test_the_own_one_clears_the_cookie(
        self, signed_in: httpx.Client, sessions: Sessions
    ) -> None:
        response = signed_in.delete(f"/api/me/sessions/{stored(sessions)[0].id}")

        assert response.headers["Set-Cookie"] == CLEARED
        assert signed_in.get("/api/session").status_code == 401

    def test_what_is_somebody_elses_is_not_there(
        self, base_url: str, signed_in: httpx.Client, problem: Expected, sessions: Sessions
    ) -> None:
        with browser(base_url, "librarian") as librarian:
            theirs = stored(sessions)[1].id
            for key in (str(theirs), UNKNOWN):
                response = signed_in.delete(f"/api/me/sessions/{key}")

                assert response.status_code == 404
                assert response.json() == problem(
                    response, "not_found", f"You have no session with the id {key}."
                )
            assert librarian.get("/api/session").status_code == 200

    def test_nobody_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"/api/me/sessions/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
