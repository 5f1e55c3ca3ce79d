"""Revocation and introspection over HTTP, on both databases."""

from typing import Any

import jwt
import pytest
from sqlalchemy import select, update

from circdesk.accounts.models import User
from circdesk.auth.models import Grant
from tests.auth.oauth.registered import CONFIDENTIAL_ID, Flow, audited
from tests.people import MEMBER_ID

INACTIVE = {"active": False}


def revoke(flow: Flow, token: str, **more: str) -> None:
    """Revoke a token and see that it was accepted."""
    response = flow.post("/oauth/revoke", token=token, **more)
    assert response.json() == {}
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"


def introspect(flow: Flow, token: str, **more: str) -> dict[str, Any]:
    """What a client is told about a token."""
    response = flow.post("/oauth/introspect", token=token, **more)
    assert response.status_code == 200, response.text
    assert response.headers["Cache-Control"] == "no-store"
    body: dict[str, Any] = response.json()
    return body


def opens(flow: Flow, access_token: str) -> bool:
    """Whether an access token is good."""
    headers = {"Authorization": f"Bearer {access_token}"}
    return flow.http.get("/api/posts", headers=headers).status_code == 200


def own_token(flow: Flow) -> str:
    """A token with which the client acts for itself."""
    token: str = flow.post(grant_type="client_credentials").json()["access_token"]
    return token


class TestRevocation:
    @pytest.mark.parametrize("hint", [{}, {"token_type_hint": "access_token"}])
    def test_a_refresh_token_ends_its_whole_grant(self, flow: Flow, hint: dict[str, str]) -> None:
        tokens = flow.tokens()

        revoke(flow, tokens["refresh_token"], **hint)

        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "invalid_grant"
        assert not opens(flow, tokens["access_token"])
        with flow.work() as session:
            assert session.scalars(select(Grant)).one().revoked_at is not None
            (entry,) = audited(session, "grant.revoke")
            assert entry["details"] == {"reason": "token_revoked"}

    @pytest.mark.parametrize("hint", [{}, {"token_type_hint": "refresh_token"}])
    def test_of_access_tokens_only_this_one_ends(self, flow: Flow, hint: dict[str, str]) -> None:
        first = flow.tokens()
        second = flow.refresh(first["refresh_token"]).json()

        revoke(flow, first["access_token"], **hint)

        assert not opens(flow, first["access_token"])
        assert opens(flow, second["access_token"])
        assert flow.refresh(second["refresh_token"]).status_code == 200

    def test_a_client_revokes_the_token_with_which_it_acts_for_itself(
        self, confidential: Flow
    ) -> None:
        token = own_token(confidential)

        revoke(confidential, token)

        assert not opens(confidential, token)
        with confidential.work() as session:
            (entry,) = audited(session, "token.revoke")
            assert entry["actor"] == ("client", CONFIDENTIAL_ID)

    def test_revoking_twice_is_no_error(self, flow: Flow) -> None:
        tokens = flow.tokens()
        for token in (tokens["access_token"], tokens["refresh_token"]) * 2:
            revoke(flow, token)

    @pytest.mark.parametrize("token", ["invented", "cdr_invented", "a.b.c", "é" * 99, "x" * 20_000])
    def test_an_unknown_token_is_no_error(self, flow: Flow, token: str) -> None:
        revoke(flow, token)

    def test_an_unknown_hint_is_ignored(self, flow: Flow) -> None:
        tokens = flow.tokens()

        revoke(flow, tokens["access_token"], token_type_hint="id_token")

        assert not opens(flow, tokens["access_token"])

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_a_token_of_another_client_stays_good(self, flow: Flow, other: Flow, kind: str) -> None:
        tokens = flow.tokens()

        response = other.post("/oauth/revoke", token=tokens[kind])

        assert response.status_code == 400
        assert response.json()["error"] == "invalid_grant"
        assert opens(flow, tokens["access_token"])
        assert flow.refresh(tokens["refresh_token"]).status_code == 200

    def test_without_a_token_the_request_is_invalid(self, flow: Flow) -> None:
        assert flow.post("/oauth/revoke").json() == {
            "error": "invalid_request",
            "error_description": "The parameter token is missing.",
        }

    def test_a_confidential_client_proves_who_it_is(self, confidential: Flow) -> None:
        response = confidential.post("/oauth/revoke", token="x", client_secret="wrong")

        assert response.json()["error"] == "invalid_client"


class TestIntrospection:
    def test_an_access_token_is_described(self, confidential: Flow, base_url: str) -> None:
        token = confidential.tokens()["access_token"]
        claims = jwt.decode(token, options={"verify_signature": False})

        assert introspect(confidential, token) == {
            "active": True,
            "scope": "profile:read profile:write",
            "client_id": str(CONFIDENTIAL_ID),
            "sub": str(MEMBER_ID),
            "token_type": "Bearer",
            "exp": claims["exp"],
            "iat": claims["iat"],
            "aud": f"{base_url}/api",
            "iss": base_url,
            "jti": claims["jti"],
        }

    def test_a_refresh_token_is_described(self, confidential: Flow, base_url: str) -> None:
        token = confidential.tokens()["refresh_token"]

        body = introspect(confidential, token, token_type_hint="refresh_token")

        assert body.pop("exp") - body.pop("iat") == pytest.approx(30 * 24 * 3600, abs=2)
        assert body == {
            "active": True,
            "scope": "profile:read profile:write",
            "client_id": str(CONFIDENTIAL_ID),
            "sub": str(MEMBER_ID),
            "aud": f"{base_url}/api",
            "iss": base_url,
        }

    @pytest.mark.parametrize("token", ["invented", "cdr_invented", "a.b.c"])
    def test_an_unknown_token_is_inactive(self, confidential: Flow, token: str) -> None:
        assert introspect(confidential, token) == INACTIVE

    @pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
    def test_another_clients_token_is_inactive(
        self, flow: Flow, confidential: Flow, kind: str
    ) -> None:
        assert introspect(confidential, flow.tokens()[kind]) == INACTIVE

    def test_a_revoked_access_token_is_inactive_at_once(self, confidential: Flow) -> None:
        token = own_token(confidential)
        revoke(confidential, token)

        assert introspect(confidential, token) == INACTIVE

    def test_after_its_grant_has_ended_nothing_is_active(self, confidential: Flow) -> None:
        tokens = confidential.tokens()
        revoke(confidential, tokens["refresh_token"])

        assert introspect(confidential, tokens["access_token"]) == INACTIVE
        assert introspect(confidential, tokens["refresh_token"]) == INACTIVE

    def test_a_used_refresh_token_is_inactive(self, confidential: Flow) -> None:
        tokens = confidential.tokens()
        confidential.refresh(tokens["refresh_token"])

        assert introspect(confidential, tokens["refresh_token"]) == INACTIVE

    def test_the_refresh_token_of_a_closed_account_is_inactive(self, confidential: Flow) -> None:
        tokens = confidential.tokens()
        with confidential.work() as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(status="blocked"))

        assert introspect(confidential, tokens["refresh_token"]) == INACTIVE

    def test_a_public_client_may_not_ask(self, flow: Flow) -> None:
        response = flow.post("/oauth/introspect", token="x")

        assert response.status_code == 400
        assert response.json()["error"] == "invalid_client"

    def test_without_a_token_the_request_is_invalid(self, confidential: Flow) -> None:
        assert confidential.post("/oauth/introspect").json()["error"] == "invalid_request"
