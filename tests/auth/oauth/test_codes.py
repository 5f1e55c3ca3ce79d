"""The exchange of codes for tokens over HTTP, on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import select, update

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import AuthorizationCode, Grant, OAuthClient, RefreshToken, Revocation
from circdesk.auth.secrets import hash_secret
from tests.auth.oauth.registered import (
    CHALLENGE,
    CONFIDENTIAL_ID,
    OTHER_ID,
    PUBLIC_ID,
    VERIFIER,
    Flow,
    audited,
)
from tests.people import MEMBER_ID

GOOD = "profile:read profile:write"


def is_invalid_grant(response: httpx.Response) -> bool:
    """Whether an answer says that the grant is not good."""
    return response.status_code == 400 and response.json()["error"] == "invalid_grant"


def reasons(flow: Flow) -> list[Any]:
    """Why grants have ended, by the audit log."""
    with flow.work() as session:
        return [entry["details"]["reason"] for entry in audited(session, "grant.revoke")]


def opens(flow: Flow, access_token: str) -> bool:
    """Whether an access token is good."""
    headers = {"Authorization": f"Bearer {access_token}"}
    return flow.http.get("/api/posts", headers=headers).status_code == 200


class TestExchange:
    def test_a_code_gives_an_access_token_and_a_refresh_token(
        self, flow: Flow, base_url: str
    ) -> None:
        response = flow.redeem(flow.approve()["code"])

        body = response.json()
        claims = jwt.decode(body.pop("access_token"), options={"verify_signature": False})
        refresh_token = body.pop("refresh_token")
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Pragma"] == "no-cache"
        assert body == {"token_type": "Bearer", "expires_in": 600, "scope": GOOD}
        with flow.work() as session:
            grant = session.scalars(select(Grant)).one()
            stored = session.scalars(select(RefreshToken)).one()
            assert stored.token_hash == hash_secret(refresh_token)
            assert stored.expires_at == grant.expires_at
        assert claims["iss"] == base_url
        assert claims["aud"] == f"{base_url}/api"
        assert claims["sub"] == str(MEMBER_ID)
        assert claims["client_id"] == str(PUBLIC_ID)
        assert claims["grant_id"] == str(grant.id)
        assert claims["scope"] == GOOD

    def test_a_confidential_client_proves_who_it_is(self, confidential: Flow) -> None:
        code = confidential.approve()["code"]

        refusal = confidential.redeem(code, client_secret=None)

        assert refusal.json()["error"] == "invalid_client"
        assert confidential.redeem(code).status_code == 200

    def test_the_access_token_is_good_for_the_api(self, flow: Flow) -> None:
        assert opens(flow, flow.tokens()["access_token"])

    def test_the_code_is_stored_hashed(self, flow: Flow) -> None:
        code = flow.approve()["code"]

        with flow.work() as session:
            stored = session.scalars(select(AuthorizationCode)).one()
            assert stored.code_hash == hash_secret(code)

    def test_a_client_that_may_not_refresh_gets_no_refresh_token(self, flow: Flow) -> None:
        with flow.work() as session:
            session.execute(update(OAuthClient).values(grant_types=["authorization_code"]))

        assert "refresh_token" not in flow.tokens()

    def test_tokens_are_narrowed_to_what_the_user_has(self, flow: Flow) -> None:
        tokens = flow.tokens(scope="profile:read catalog:write")

        assert tokens["scope"] == "profile:read"

    def test_tokens_are_narrowed_to_what_the_client_still_has(self, flow: Flow) -> None:
        code = flow.approve()["code"]
        with flow.work() as session:
            session.execute(update(OAuthClient).values(scopes=["profile:read"]))

        assert flow.redeem(code).json()["scope"] == "profile:read"

    def test_nothing_is_given_where_nothing_is_left(self, flow: Flow) -> None:
        code = flow.approve()["code"]
        with flow.work() as session:
            session.execute(update(OAuthClient).values(scopes=["news:write"]))

        assert flow.redeem(code).json()["error"] == "invalid_scope"

    @pytest.mark.parametrize("status", ["blocked", "deleted"])
    def test_a_closed_account_gives_nothing(self, flow: Flow, status: str) -> None:
        code = flow.approve()["code"]
        with flow.work() as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(status=status))

        assert is_invalid_grant(flow.redeem(code))

    def test_grant_and_token_are_entries_of_the_audit_log(self, flow: Flow) -> None:
        flow.tokens()

        with flow.work() as session:
            grant = session.scalars(select(Grant)).one()
            assert audited(session, "grant.create") == [
                {
                    "outcome": "success",
                    "actor": ("user", MEMBER_ID),
                    "target": ("grant", grant.id),
                    "details": {"client_id": str(PUBLIC_ID), "scopes": GOOD.split()},
                }
            ]
            assert audited(session, "token.issue") == [
                {
                    "outcome": "success",
                    "actor": ("client", PUBLIC_ID),
                    "target": ("grant", grant.id),
                    "details": {"grant_type": "authorization_code", "scopes": GOOD.split()},
                }
            ]


class TestSingleUse:
    def test_a_replay_is_refused_and_ends_what_the_code_gave(self, flow: Flow) -> None:
        code = flow.approve()["code"]
        tokens = flow.redeem(code).json()
        assert opens(flow, tokens["access_token"])

        assert is_invalid_grant(flow.redeem(code))

        assert is_invalid_grant(flow.refresh(tokens["refresh_token"]))
        assert not opens(flow, tokens["access_token"])
        assert reasons(flow) == ["code_replayed"]
        with flow.work() as session:
            grant = session.scalars(select(Grant)).one()
            assert session.get(Revocation, str(grant.id)) is not None

    def test_of_two_exchanges_at_once_one_succeeds_and_nothing_stays_alive(
        self, flow: Flow
    ) -> None:
        code = flow.approve()["code"]

        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(flow.redeem, [code, code]))

        good = [answer.json() for answer in answers if answer.status_code == 200]
        assert len(good) == 1
        assert not opens(flow, good[0]["access_token"])

    def test_a_code_is_good_for_60_seconds(self, flow: Flow) -> None:
        code = flow.approve()["code"]
        with flow.work() as session:
            stored = session.scalars(select(AuthorizationCode)).one()
            assert stored.expires_at - stored.created_at == timedelta(seconds=60)
            stored.expires_at = clock.now()

        assert is_invalid_grant(flow.redeem(code))

    def test_an_unknown_code_is_an_invalid_grant(self, flow: Flow) -> None:
        assert is_invalid_grant(flow.redeem("cdc_invented"))

    def test_a_code_of_a_grant_that_has_ended_is_worth_nothing(self, flow: Flow) -> None:
        code = flow.approve()["code"]
        with flow.work() as session:
            session.execute(update(Grant).values(revoked_at=clock.now()))

        assert is_invalid_grant(flow.redeem(code))

    def test_without_a_code_the_request_is_invalid(self, flow: Flow) -> None:
        response = flow.post(grant_type="authorization_code")

        assert response.json() == {
            "error": "invalid_request",
            "error_description": "Missing 'code' in request.",
        }


class TestMixedUpClients:
    @pytest.mark.parametrize("client_id", [CONFIDENTIAL_ID, OTHER_ID])
    def test_a_code_in_the_hands_of_another_client_ends_its_grant(
        self, flow: Flow, confidential: Flow, other: Flow, client_id: Any
    ) -> None:
        code = flow.approve()["code"]
        thief = confidential if client_id == CONFIDENTIAL_ID else other

        assert is_invalid_grant(thief.redeem(code))

        assert is_invalid_grant(flow.redeem(code))
        assert reasons(flow) == ["code_of_other_client"]

    def test_a_public_client_cannot_take_the_name_of_a_confidential_one(
        self, flow: Flow, confidential: Flow
    ) -> None:
        code = confidential.approve()["code"]

        assert is_invalid_grant(flow.redeem(code))


class TestRedirectUri:
    @pytest.mark.parametrize(
        "redirect_uri", ["https://client.example/callback/", "http://127.0.0.1/callback", None]
    )
    def test_the_exchange_names_the_same_redirect_uri(
        self, flow: Flow, redirect_uri: str | None
    ) -> None:
        assert is_invalid_grant(flow.redeem(flow.approve()["code"], redirect_uri=redirect_uri))

    def test_it_may_be_left_out_where_the_request_left_it_out(self, flow: Flow) -> None:
        with flow.work() as session:
            only = ["https://client.example/callback"]
            session.execute(update(OAuthClient).values(redirect_uris=only))

        code = flow.approve(redirect_uri=None)["code"]

        assert flow.redeem(code, redirect_uri=None).status_code == 200

    def test_where_it_is_named_after_all_it_must_be_right(self, flow: Flow) -> None:
        with flow.work() as session:
            only = ["https://client.example/callback"]
            session.execute(update(OAuthClient).values(redirect_uris=only))

        code = flow.approve(redirect_uri=None)["code"]

        assert is_invalid_grant(flow.redeem(code, redirect_uri="https://evil.example/"))

    def test_the_port_of_a_loopback_address_belongs_to_it(self, flow: Flow) -> None:
        redirect_uri = "http://127.0.0.1:51004/callback"
        first, second = (flow.approve(redirect_uri=redirect_uri)["code"] for _ in range(2))

        assert flow.redeem(first, redirect_uri=redirect_uri).status_code == 200
        assert is_invalid_grant(flow.redeem(second, redirect_uri="http://127.0.0.1:51005/callback"))


class TestProofKey:
    @pytest.mark.parametrize("kind", ["public", "confidential"])
    def test_without_a_verifier_no_client_gets_a_token(
        self, flow: Flow, confidential: Flow, kind: str
    ) -> None:
        chosen = flow if kind == "public" else confidential

        response = chosen.redeem(chosen.approve()["code"], code_verifier=None)

        assert response.json()["error"] == "invalid_request"
        assert response.status_code == 400

    def test_a_wrong_verifier_is_an_invalid_grant(self, flow: Flow) -> None:
        code = flow.approve()["code"]

        assert is_invalid_grant(flow.redeem(code, code_verifier=VERIFIER[::-1]))

    def test_the_challenge_itself_is_no_verifier(self, flow: Flow) -> None:
        code = flow.approve()["code"]

        assert is_invalid_grant(flow.redeem(code, code_verifier=CHALLENGE))

    def test_a_code_has_one_try(self, flow: Flow) -> None:
        code = flow.approve()["code"]
        flow.redeem(code, code_verifier=VERIFIER[::-1])

        assert is_invalid_grant(flow.redeem(code))

    @pytest.mark.parametrize("verifier", ["short", "x" * 129, f"{VERIFIER}\n", "é" * 50])
    def test_a_verifier_has_the_form_of_one(self, flow: Flow, verifier: str) -> None:
        response = flow.redeem(flow.approve()["code"], code_verifier=verifier)

        assert response.json()["error"] in {"invalid_request", "invalid_grant"}
        assert response.status_code == 400


class TestResource:
    def test_the_exchange_may_name_the_resource_again(self, flow: Flow, base_url: str) -> None:
        resource = f"{base_url}/api"
        code = flow.approve(resource=resource)["code"]

        assert flow.redeem(code, resource=resource).status_code == 200

    def test_it_cannot_name_another(self, flow: Flow) -> None:
        response = flow.redeem(flow.approve()["code"], resource="https://other.example/api")

        assert response.json()["error"] == "invalid_target"
