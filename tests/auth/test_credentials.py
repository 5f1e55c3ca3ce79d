"""Credentials at the door, over HTTP, on both databases."""

from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import ApiKey
from circdesk.auth.passwords import Hasher
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.people import MEMBER_ID, api_key

JSON = dict[str, Any]
Expected = Callable[..., JSON]

# A read that anybody may do, and one that asks who is calling.
OPEN, OWN = "/api/posts", "/api/me"
MEMBER_KEY_ID = UUID(int=MEMBER_ID.int + 16)

BEARER = 'Bearer realm="circdesk"'
BASIC = 'Basic realm="circdesk", charset="UTF-8"'
API_KEY = 'ApiKey realm="circdesk", header="X-API-Key"'
COOKIE = 'Cookie realm="circdesk", cookie-name="circdesk_session"'


def basic(user: object, password: str) -> dict[str, str]:
    token = b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def key(role: str) -> dict[str, str]:
    return {"X-API-Key": api_key(role)}


def assert_refused(
    expected: Expected, response: httpx.Response, code: str, message: str, offer: str
) -> None:
    assert response.status_code == 401
    assert response.json() == expected(response, code, message)
    assert response.headers["WWW-Authenticate"] == offer


class TestNoCredential:
    def test_what_is_open_needs_none(self, client: httpx.Client) -> None:
        assert client.get(OPEN).status_code == 200

    def test_a_401_offers_what_is_taken_but_not_basic(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        response = client.get(OWN)

        offer = f"{BEARER}, {API_KEY}, {COOKIE}"
        assert_refused(problem, response, "credentials_required", "Send a credential.", offer)


class TestAuthorization:
    @pytest.mark.parametrize("value", ["", "Digest x", "Token abc", "cdk_abc", "Bearerx y"])
    @pytest.mark.parametrize("path", [OPEN, OWN])
    def test_an_unknown_scheme_is_refused_also_where_none_is_needed(
        self, client: httpx.Client, problem: Expected, value: str, path: str
    ) -> None:
        response = client.get(path, headers={"Authorization": value})

        message = "The Authorization header is neither Bearer nor Basic."
        assert_refused(problem, response, "credentials_malformed", message, BEARER)

    @pytest.mark.parametrize("token", ["", "x", "a.b.c", "\xe4", "cdk_" + "x" * 43])
    def test_a_bearer_token_that_is_none_is_refused_in_the_form_of_rfc_6750(
        self, client: httpx.Client, token: str
    ) -> None:
        value = f"Bearer {token}".strip().encode("latin-1")
        response = client.get(OPEN, headers=[(b"Authorization", value)])

        assert response.status_code == 401
        assert response.json()["code"].startswith("credentials_")
        offer = response.headers["WWW-Authenticate"]
        assert offer.startswith(f'{BEARER}, error="invalid_')
        assert 'error_description="' in offer


class TestBasic:
    def test_the_id_of_a_key_and_its_secret_are_good(self, client: httpx.Client) -> None:
        response = client.get(OWN, headers=basic(MEMBER_KEY_ID, api_key("member")))

        assert response.status_code == 200
        assert response.json()["user"]["id"] == str(MEMBER_ID)

    def test_the_scheme_is_known_in_any_case(self, client: httpx.Client) -> None:
        headers = basic(MEMBER_KEY_ID, api_key("member"))
        headers["Authorization"] = headers["Authorization"].replace("Basic", "bASIC")

        assert client.get(OWN, headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "parameters",
        ["", "!", "YWJj", "/w==", "OnN= x", "\xe4"],
        ids=["empty", "no base64", "no colon", "no UTF-8", "two words", "no ASCII"],
    )
    def test_what_cannot_be_read_is_malformed(
        self, client: httpx.Client, problem: Expected, parameters: str
    ) -> None:
        value = f"Basic {parameters}".strip().encode("latin-1")
        response = client.get(OPEN, headers=[(b"Authorization", value)])

        message = "The Basic credentials cannot be read."
        assert_refused(problem, response, "credentials_malformed", message, BASIC)

    @pytest.mark.parametrize(
        "user", ["", "x", "cdk", "\x00", str(UUID(int=0)), str(MEMBER_ID), "member@example.org"]
    )
    def test_a_good_secret_with_another_id_is_refused(
        self, client: httpx.Client, problem: Expected, user: str
    ) -> None:
        response = client.get(OPEN, headers=basic(user, api_key("member")))

        message = "The API key is not valid."
        assert_refused(problem, response, "credentials_invalid", message, BASIC)

    def test_a_persons_password_is_never_taken(
        self, client: httpx.Client, sessions: Sessions, problem: Expected
    ) -> None:
        password = "seven quiet herons at noon"
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, MEMBER_ID).password_hash = Hasher().hash(password)
        signed_in = client.post(
            "/api/session", json={"email": "member@example.org", "password": password}
        )
        assert signed_in.status_code == 201
        client.cookies.clear()

        for user in ("member@example.org", MEMBER_ID, "20001"):
            response = client.get(OPEN, headers=basic(user, password))

            message = "The API key is not valid."
            assert_refused(problem, response, "credentials_invalid", message, BASIC)

    def test_it_is_offered_only_to_callers_that_sent_it(self, client: httpx.Client) -> None:
        sent = client.get(OWN, headers=basic(MEMBER_KEY_ID, "wrong"))
        not_sent = client.get(OWN, headers={"X-API-Key": "wrong"})

        assert sent.headers["WWW-Authenticate"] == BASIC
        assert not_sent.headers["WWW-Authenticate"] == API_KEY


class TestApiKey:
    @pytest.mark.parametrize("value", ["", "wrong", "cdk_" + "x" * 43, "\xe4", "x" * 2000])
    def test_an_unknown_one_is_refused_also_where_none_is_needed(
        self, client: httpx.Client, problem: Expected, value: str
    ) -> None:
        response = client.get(OPEN, headers=[(b"X-API-Key", value.encode("latin-1"))])

        message = "The API key is not valid."
        assert_refused(problem, response, "credentials_invalid", message, API_KEY)

    @pytest.mark.parametrize("headers", [key("member"), basic(MEMBER_KEY_ID, api_key("member"))])
    def test_an_expired_one_is_told_so(
        self,
        client: httpx.Client,
        sessions: Sessions,
        problem: Expected,
        headers: dict[str, str],
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(ApiKey, MEMBER_KEY_ID).expires_at = clock.now()

        response = client.get(OPEN, headers=headers)

        offer = BASIC if "Authorization" in headers else API_KEY
        message = "The API key has expired."
        assert_refused(problem, response, "credentials_expired", message, offer)

    def test_an_expired_key_takes_its_old_secret_with_it(
        self, client: httpx.Client, member: httpx.Client, sessions: Sessions
    ) -> None:
        rotated = member.post(f"/api/api-keys/{MEMBER_KEY_ID}/rotations", json={})
        assert rotated.status_code == 201
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(ApiKey, MEMBER_KEY_ID).expires_at = clock.now() - timedelta(hours=1)

        response = client.get(OPEN, headers=key("member"))

        assert response.json()["code"] == "credentials_expired"

    def test_a_good_one_is_welcome_where_none_is_needed(self, client: httpx.Client) -> None:
        assert client.get(OPEN, headers=key("member")).status_code == 200

    def test_a_missing_scope_is_named(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/imports", headers=key("member"))

        assert response.status_code == 403
        message = "The credential lacks the scope imports:read."
        details = [
            {
                "in": "header",
                "pointer": "/Authorization",
                "rule": "scope",
                "message": message,
                "allowed": ["imports:read"],
            }
        ]
        assert response.json() == problem(response, "scope_missing", message, details=details)
        assert response.headers["WWW-Authenticate"] == (
            f'{BEARER}, error="insufficient_scope", error_description="{message}", '
            'scope="imports:read"'
        )

    def test_a_narrow_one_may_do_less_than_its_owner(
        self, client: httpx.Client, sessions: Sessions
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(ApiKey, MEMBER_KEY_ID).scopes = ["profile:read", "users:read"]

        me = client.get(OWN, headers=key("member")).json()

        # Of the second scope the owner's role knows nothing.
        assert me["credential"]["scopes"] == ["profile:read"]
        assert client.get("/api/api-keys", headers=key("member")).status_code == 403
        assert "users:read" not in ROLE_SCOPES["member"]


class TestSeveral:
    @pytest.mark.parametrize(
        "headers",
        [
            pytest.param(
                basic(MEMBER_KEY_ID, api_key("member")) | {"X-API-Key": "wrong"}, id="a bad key"
            ),
            pytest.param(basic(MEMBER_KEY_ID, "wrong") | key("member"), id="a bad secret by Basic"),
            pytest.param({"Authorization": "Bearer wrong"} | key("member"), id="a bad token"),
        ],
    )
    @pytest.mark.parametrize("path", [OPEN, OWN])
    def test_each_that_is_sent_must_be_good(
        self, client: httpx.Client, headers: dict[str, str], path: str
    ) -> None:
        assert client.get(path, headers=headers).status_code == 401

    def test_authorization_counts_before_the_key(self, client: httpx.Client) -> None:
        headers = basic(MEMBER_KEY_ID, api_key("member")) | key("admin")

        assert client.get(OWN, headers=headers).json()["user"]["role"] == "member"
        assert client.get("/api/users", headers=headers).status_code == 403

    def test_a_key_counts_before_the_cookie(self, client: httpx.Client, sessions: Sessions) -> None:
        password = "seven quiet herons at noon"
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(User, MEMBER_ID).password_hash = Hasher().hash(password)
        credentials = {"email": "member@example.org", "password": password}
        assert client.post("/api/session", json=credentials).status_code == 201
        assert client.get(OWN).json()["user"]["role"] == "member"

        assert client.get(OWN, headers=key("admin")).json()["user"]["role"] == "admin"
        # No session token is needed for what a key does.
        body = {"title": "News", "body": "Text", "author": "Somebody"}
        assert client.post(OPEN, json=body, headers=key("admin")).status_code == 201


class TestPublicOperations:
    @pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/problems", "/api"])
    @pytest.mark.parametrize(
        "headers",
        [
            {"X-API-Key": "wrong"},
            {"Authorization": "Basic !"},
            {"Authorization": "Bearer wrong"},
            {"Cookie": "circdesk_session=wrong"},
        ],
    )
    def test_what_asks_for_no_credentials_ignores_them(
        self, client: httpx.Client, path: str, headers: dict[str, str]
    ) -> None:
        response = client.get(path, headers=headers)

        assert response.status_code == 200
        assert "Set-Cookie" not in response.headers


class TestStaleCookie:
    def test_it_counts_as_none_and_is_cleared(
        self, client: httpx.Client, problem: Expected
    ) -> None:
        headers = {"Cookie": "circdesk_session=wrong"}
        welcome, refused = client.get(OPEN, headers=headers), client.get(OWN, headers=headers)

        assert welcome.status_code == 200
        assert refused.json() == problem(refused, "credentials_required", "Send a credential.")
        cleared = "circdesk_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        assert welcome.headers["Set-Cookie"] == refused.headers["Set-Cookie"] == cleared
