"""The flows with two clients that this project did not write, on both databases."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from oauthlib.oauth2 import BackendApplicationClient, WebApplicationClient
from requests_oauthlib import OAuth2Session as RequestsSession

from circdesk.accounts.models import User
from circdesk.auth.passwords import hash_password
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.auth.oauth.browsing import decide, redirected, sign_in
from tests.auth.oauth.registered import CONFIDENTIAL_ID, PUBLIC_ID, REDIRECT_URI, SECRET, Flow
from tests.people import MEMBER_ID

CLIENTS = [(PUBLIC_ID, None), (CONFIDENTIAL_ID, SECRET)]
SCOPE = ["profile:read", "profile:write"]
PASSWORD = "a quiet evening by the harbour"
HASH = hash_password(PASSWORD)


@pytest.fixture(autouse=True)
def with_password(sessions: Sessions) -> None:
    """Let the member sign in."""
    with unit_of_work(sessions, writing=True) as session:
        session.get_one(User, MEMBER_ID).password_hash = HASH


@pytest.fixture(autouse=True)
def loopback_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """oauthlib insists on https, on the loopback too; Authlib knows better."""
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def agree(flow: Flow, address: str) -> str:
    """Where the browser ends up when the user opens an address, signs in and agrees."""
    signing_in = redirected(flow.http.get(address))
    assert urlsplit(signing_in).path == "/oauth/sign-in"
    signed_in = sign_in(flow.http, signing_in, email="member@example.org", password=PASSWORD)
    location = redirected(decide(flow.http, redirected(signed_in), "allow"))
    assert location.partition("?")[0] == REDIRECT_URI
    asked, told = (dict(parse_qsl(urlsplit(url).query)) for url in (address, location))
    assert told.keys() == {"code", "state", "iss"}
    assert (told["state"], told["iss"]) == (asked["state"], flow.issuer)
    return location


def good(session: Any, flow: Flow) -> bool:
    """Whether the client's session may call the API."""
    with_token = session.get(f"{flow.issuer}/api/posts", timeout=10)
    return bool(with_token.status_code == 200)


class TestAuthlib:
    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
    def test_client_credentials(self, flow: Flow, method: str) -> None:
        with AuthlibSession(
            str(CONFIDENTIAL_ID), SECRET, token_endpoint_auth_method=method, scope="news:write"
        ) as session:
            token = session.fetch_token(f"{flow.issuer}/oauth/token")

            assert token["scope"] == "news:write"
            assert good(session, flow)

    @pytest.mark.parametrize(("client_id", "secret"), CLIENTS)
    def test_code_refresh_and_revocation(
        self, flow: Flow, client_id: object, secret: str | None
    ) -> None:
        with AuthlibSession(
            str(client_id),
            secret,
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
            revocation_endpoint_auth_method="client_secret_basic" if secret else "none",
            redirect_uri=REDIRECT_URI,
            scope=" ".join(SCOPE),
            code_challenge_method="S256",
        ) as session:
            verifier = "v" * 64
            address, state = session.create_authorization_url(
                f"{flow.issuer}/oauth/authorize", code_verifier=verifier
            )
            first = session.fetch_token(
                f"{flow.issuer}/oauth/token",
                authorization_response=agree(flow, address),
                state=state,
                code_verifier=verifier,
            )
            assert good(session, flow)

            second = session.refresh_token(f"{flow.issuer}/oauth/token")
            assert second["refresh_token"] != first["refresh_token"]
            assert good(session, flow)

            revoked = session.revoke_token(
                f"{flow.issuer}/oauth/revoke", second["refresh_token"], "refresh_token"
            )
            assert revoked.status_code == 200
            assert not good(session, flow)


class TestRequestsOAuthlib:
    def test_client_credentials(self, flow: Flow) -> None:
        backend = BackendApplicationClient(str(CONFIDENTIAL_ID), scope=["news:write"])
        with RequestsSession(client=backend) as session:
            token = session.fetch_token(f"{flow.issuer}/oauth/token", client_secret=SECRET)

            assert token["scope"] == ["news:write"]
            assert good(session, flow)

    @pytest.mark.parametrize(("client_id", "secret"), CLIENTS)
    def test_code_refresh_and_revocation(
        self, flow: Flow, client_id: object, secret: str | None
    ) -> None:
        proof: dict[str, Any] = {"client_id": str(client_id)} | (
            {"client_secret": secret} if secret else {}
        )
        with RequestsSession(
            str(client_id), redirect_uri=REDIRECT_URI, scope=SCOPE, pkce="S256"
        ) as session:
            address, _ = session.authorization_url(f"{flow.issuer}/oauth/authorize")
            first = session.fetch_token(
                f"{flow.issuer}/oauth/token",
                authorization_response=agree(flow, address),
                client_secret=secret,
                include_client_id=True,
            )
            assert good(session, flow)

            second = session.refresh_token(f"{flow.issuer}/oauth/token", **proof)
            assert second["refresh_token"] != first["refresh_token"]
            assert good(session, flow)

            # It has no call for revocation, and makes the request for one.
            client = WebApplicationClient(str(client_id))
            url, headers, body = client.prepare_token_revocation_request(
                f"{flow.issuer}/oauth/revoke", second["refresh_token"], **proof
            )
            revoked = session.request(
                "POST", url, data=body, headers=headers, withhold_token=True, timeout=10
            )
            assert revoked.status_code == 200
            assert not good(session, flow)

    def test_a_public_client_that_sends_basic_without_a_secret_is_understood(
        self, flow: Flow
    ) -> None:
        with RequestsSession(
            str(PUBLIC_ID), redirect_uri=REDIRECT_URI, scope=SCOPE, pkce="S256"
        ) as session:
            address, _ = session.authorization_url(f"{flow.issuer}/oauth/authorize")

            token = session.fetch_token(
                f"{flow.issuer}/oauth/token", authorization_response=agree(flow, address)
            )

            assert token["scope"] == SCOPE
