"""Refresh tokens over HTTP: rotated, used once, never widened; on both databases."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import select, update

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.models import Grant, OAuthClient, RefreshToken
from tests.auth.oauth.registered import PUBLIC_ID, Flow, audited
from tests.people import MEMBER_ID

GOOD = "profile:read profile:write"


def is_invalid_grant(response: httpx.Response) -> bool:
    """Whether an answer says that the grant is not good."""
    return response.status_code == 400 and response.json()["error"] == "invalid_grant"


class TestRotation:
    def test_a_refresh_token_gives_new_tokens(self, flow: Flow) -> None:
        first = flow.tokens()

        response = flow.refresh(first["refresh_token"])

        second = response.json()
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert second.pop("refresh_token") != first["refresh_token"]
        assert second.pop("access_token") != first["access_token"]
        assert second == {"token_type": "Bearer", "expires_in": 600, "scope": GOOD}

    def test_the_chain_goes_on(self, flow: Flow) -> None:
        tokens = flow.tokens()
        for _ in range(5):
            tokens = flow.refresh(tokens["refresh_token"]).json()

        assert tokens["scope"] == GOOD

    def test_a_used_token_ends_the_whole_family(self, flow: Flow) -> None:
        first = flow.tokens()
        second = flow.refresh(first["refresh_token"]).json()

        assert is_invalid_grant(flow.refresh(first["refresh_token"]))

        assert is_invalid_grant(flow.refresh(second["refresh_token"]))
        headers = {"Authorization": f"Bearer {second['access_token']}"}
        refusal = flow.http.get("/api/posts", headers=headers)
        assert refusal.json()["code"] == "credentials_revoked"
        with flow.work() as session:
            grant = session.scalars(select(Grant)).one()
            assert audited(session, "grant.revoke") == [
                {
                    "outcome": "success",
                    "actor": ("client", PUBLIC_ID),
                    "target": ("grant", grant.id),
                    "details": {"reason": "refresh_token_reused"},
                }
            ]

    def test_other_grants_of_the_user_go_on(self, flow: Flow) -> None:
        first, other = flow.tokens(), flow.tokens()
        flow.refresh(first["refresh_token"])
        flow.refresh(first["refresh_token"])

        assert flow.refresh(other["refresh_token"]).status_code == 200

    def test_requests_at_once_never_have_two_live_successors(self, flow: Flow) -> None:
        refresh_token = flow.tokens()["refresh_token"]

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(flow.refresh, [refresh_token] * 4))

        assert sum(answer.status_code == 200 for answer in answers) == 1
        with flow.work() as session:
            assert len(session.scalars(select(RefreshToken)).all()) == 2
            assert session.scalars(select(Grant)).one().revoked_at is not None

    def test_a_grant_ends_30_days_after_the_sign_in(self, flow: Flow) -> None:
        tokens = flow.tokens()
        with flow.work() as session:
            grant = session.scalars(select(Grant)).one()
            ends = grant.expires_at
            assert ends - grant.created_at == pytest.approx(
                timedelta(days=30), abs=timedelta(seconds=1)
            )

        flow.refresh(tokens["refresh_token"])

        with flow.work() as session:
            assert set(session.scalars(select(RefreshToken.expires_at))) == {ends}

    def test_a_token_that_has_expired_is_worth_nothing(self, flow: Flow) -> None:
        tokens = flow.tokens()
        with flow.work() as session:
            session.execute(update(RefreshToken).values(expires_at=clock.now()))

        assert is_invalid_grant(flow.refresh(tokens["refresh_token"]))

    def test_an_unknown_token_is_an_invalid_grant(self, flow: Flow) -> None:
        assert is_invalid_grant(flow.refresh("cdr_invented"))

    def test_without_a_token_the_request_is_invalid(self, flow: Flow) -> None:
        response = flow.post(grant_type="refresh_token")

        assert response.json()["error"] == "invalid_request"

    def test_each_is_an_entry_of_the_audit_log(self, flow: Flow) -> None:
        flow.refresh(flow.tokens()["refresh_token"])

        with flow.work() as session:
            kinds = [entry["details"]["grant_type"] for entry in audited(session, "token.issue")]
        assert kinds == ["authorization_code", "refresh_token"]


class TestWhoRefreshes:
    def test_a_token_in_the_hands_of_another_client_ends_its_grant(
        self, flow: Flow, other: Flow
    ) -> None:
        tokens = flow.tokens()

        assert is_invalid_grant(other.refresh(tokens["refresh_token"]))

        assert is_invalid_grant(flow.refresh(tokens["refresh_token"]))

    def test_a_confidential_client_proves_who_it_is(self, confidential: Flow) -> None:
        refresh_token = confidential.tokens()["refresh_token"]

        refusal = confidential.refresh(refresh_token, client_secret=None)

        assert refusal.json()["error"] == "invalid_client"
        assert confidential.refresh(refresh_token).status_code == 200

    def test_a_client_that_may_not_refresh_is_refused(self, flow: Flow) -> None:
        tokens = flow.tokens()
        with flow.work() as session:
            session.execute(update(OAuthClient).values(grant_types=["authorization_code"]))

        assert flow.refresh(tokens["refresh_token"]).json()["error"] == "unauthorized_client"

    @pytest.mark.parametrize("status", ["blocked", "deleted"])
    def test_a_closed_account_is_an_invalid_grant(self, flow: Flow, status: str) -> None:
        tokens = flow.tokens()
        with flow.work() as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(status=status))

        assert is_invalid_grant(flow.refresh(tokens["refresh_token"]))


class TestScopes:
    def test_fewer_can_be_asked_for_and_the_next_time_all_again(self, flow: Flow) -> None:
        first = flow.tokens()

        second = flow.refresh(first["refresh_token"], scope="profile:read").json()
        third = flow.refresh(second["refresh_token"]).json()

        assert second["scope"] == "profile:read"
        assert third["scope"] == GOOD

    def test_more_is_refused_and_does_not_use_the_token_up(self, flow: Flow) -> None:
        first = flow.tokens(scope="profile:read")

        refusal = flow.refresh(first["refresh_token"], scope="profile:read profile:write")

        assert refusal.json()["error"] == "invalid_scope"
        assert flow.refresh(first["refresh_token"]).status_code == 200

    def test_they_follow_the_role_of_the_user(self, flow: Flow) -> None:
        with flow.work() as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(role="librarian"))
        first = flow.tokens(scope="profile:read news:write")
        with flow.work() as session:
            session.execute(update(User).where(User.id == MEMBER_ID).values(role="member"))

        second = flow.refresh(first["refresh_token"]).json()

        assert first["scope"] == "news:write profile:read"
        assert second["scope"] == "profile:read"

    def test_they_follow_the_client(self, flow: Flow) -> None:
        first = flow.tokens()
        with flow.work() as session:
            session.execute(update(OAuthClient).values(scopes=["profile:write"]))

        assert flow.refresh(first["refresh_token"]).json()["scope"] == "profile:write"

    def test_another_resource_is_refused_and_does_not_use_the_token_up(self, flow: Flow) -> None:
        first = flow.tokens()

        refusal = flow.refresh(first["refresh_token"], resource="https://other.example")

        assert refusal.json()["error"] == "invalid_target"
        assert flow.refresh(first["refresh_token"]).status_code == 200
