"""Consents: what one has allowed applications, listed and taken back."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.auth.access import end_access
from circdesk.auth.consents import delete_consent
from circdesk.auth.models import ApiKey, Consent, Grant
from circdesk.auth.oauth.authorization import approve, is_consented, read_authorization_request
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.visits import Visit, visiting
from tests.auth.oauth.registered import CONFIDENTIAL_ID, SECRET, Flow, audited, register_clients
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key, api_key_id

Expected = Callable[..., dict[str, Any]]

CONSENTS = "/api/me/consents"
UNKNOWN = "019b8d2b-8c00-700e-8000-0000000000ff"
VISIT = Visit(caller=None, request_id="test")


@pytest.fixture
def flow(sessions: Sessions, client: httpx.Client, base_url: str) -> Flow:
    """The flow of the public client."""
    with unit_of_work(sessions, writing=True) as session:
        register_clients(session)
    return Flow(lambda: unit_of_work(sessions, writing=True), client, base_url)


@pytest.fixture
def confidential(flow: Flow) -> Flow:
    """The flow of the confidential client."""
    return Flow(flow.work, flow.http, flow.issuer, CONFIDENTIAL_ID, SECRET)


@pytest.fixture
def consent(flow: Flow) -> Consent:
    """What the member has allowed the public client."""
    flow.approve()
    with flow.work() as session:
        return session.scalars(select(Consent)).one()


def narrow(flow: Flow, *scopes: str) -> None:
    """Let the member's key have these scopes alone."""
    with flow.work() as session:
        mine = update(ApiKey).where(ApiKey.id == api_key_id("member"))
        session.execute(mine.values(scopes=[*scopes]))


def instant(moment: Any) -> str:
    return str(moment.isoformat()).replace("+00:00", "Z")


class TestListMyConsents:
    def test_what_was_allowed_is_listed(
        self, member: httpx.Client, consent: Consent, flow: Flow
    ) -> None:
        response = member.get(CONSENTS)

        assert response.status_code == 200
        assert response.json() == {
            "items": [
                {
                    "id": str(consent.id),
                    "client": {"id": str(flow.client_id), "name": "The public client"},
                    "scopes": ["profile:read", "profile:write"],
                    "created_at": instant(consent.created_at),
                    "updated_at": instant(consent.updated_at),
                }
            ],
            "page": 1,
            "per_page": 20,
            "total": 1,
            "total_relation": "exact",
            "next_cursor": None,
            "links": response.json()["links"],
        }

    def test_the_latest_comes_first(
        self, member: httpx.Client, flow: Flow, confidential: Flow
    ) -> None:
        flow.approve()
        confidential.approve()

        def names(**query: str) -> list[str]:
            items = member.get(CONSENTS, params=query).json()["items"]
            return [item["client"]["name"] for item in items]

        assert names() == ["The confidential client", "The public client"]
        assert names(sort="created_at") == ["The public client", "The confidential client"]

    @pytest.mark.usefixtures("consent")
    def test_others_are_not_listed(self, librarian: httpx.Client) -> None:
        assert librarian.get(CONSENTS).json()["items"] == []

    def test_it_takes_two_statements(
        self,
        member: httpx.Client,
        flow: Flow,
        confidential: Flow,
        count_queries: CountQueries,
    ) -> None:
        flow.approve()
        confidential.approve()
        # The key is looked up before, and remembered.
        member.get(CONSENTS)
        with count_queries() as statements:
            assert len(member.get(CONSENTS).json()["items"]) == 2
        assert len(statements) <= 2

    def test_nobody_has_none(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get(CONSENTS)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_a_narrow_key_is_told_what_it_lacks(
        self, member: httpx.Client, flow: Flow, problem: Expected
    ) -> None:
        narrow(flow, "profile:read")
        response = member.get(CONSENTS)

        message = "The credential lacks the scope credentials:read."
        assert response.status_code == 403
        assert response.json() == problem(
            response,
            "scope_missing",
            message,
            details=[
                {
                    "in": "header",
                    "pointer": "/Authorization",
                    "rule": "scope",
                    "message": message,
                    "allowed": ["credentials:read"],
                }
            ],
        )

    def test_an_unknown_sort_is_refused(self, member: httpx.Client) -> None:
        response = member.get(CONSENTS, params={"sort": "name"})

        assert response.status_code == 400
        assert [each["pointer"] for each in response.json()["details"]] == ["/sort"]


class TestDeleteMyConsent:
    def test_all_that_hangs_on_it_ends_at_once(
        self, member: httpx.Client, flow: Flow, confidential: Flow, client: httpx.Client
    ) -> None:
        tokens, others = flow.tokens(), confidential.tokens()
        unused = flow.approve()["code"]
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert client.get("/api/me", headers=bearer).status_code == 200
        (consent,) = [
            item
            for item in member.get(CONSENTS).json()["items"]
            if item["client"]["id"] == str(flow.client_id)
        ]
        response = member.delete(f"{CONSENTS}/{consent['id']}")

        assert (response.status_code, response.content) == (204, b"")
        refused = client.get("/api/me", headers=bearer)
        assert (refused.status_code, refused.json()["code"]) == (401, "credentials_revoked")
        for attempt in (flow.refresh(tokens["refresh_token"]), flow.redeem(unused)):
            assert (attempt.status_code, attempt.json()["error"]) == (400, "invalid_grant")
        # What another application was allowed goes on.
        assert len(member.get(CONSENTS).json()["items"]) == 1
        kept = {"Authorization": f"Bearer {others['access_token']}"}
        assert client.get("/api/me", headers=kept).status_code == 200

    def test_it_is_audited(self, member: httpx.Client, consent: Consent, flow: Flow) -> None:
        member.delete(f"{CONSENTS}/{consent.id}")

        with flow.work() as session:
            assert audited(session, "consent.revoke") == [
                {
                    "outcome": "success",
                    "actor": ("user", MEMBER_ID),
                    "target": ("client", flow.client_id),
                    "details": {},
                }
            ]

    def test_what_somebody_else_allowed_the_same_client_goes_on(
        self, member: httpx.Client, consent: Consent, flow: Flow
    ) -> None:
        tokens = Flow(flow.work, flow.http, flow.issuer, user_id=LIBRARIAN_ID).tokens()
        member.delete(f"{CONSENTS}/{consent.id}")

        assert flow.refresh(tokens["refresh_token"]).status_code == 200

    def test_it_is_deleted_once(
        self, member: httpx.Client, consent: Consent, problem: Expected
    ) -> None:
        assert member.delete(f"{CONSENTS}/{consent.id}").status_code == 204
        again = member.delete(f"{CONSENTS}/{consent.id}")

        message = f"You have no consent with the id {consent.id}."
        assert again.status_code == 404
        assert again.json() == problem(again, "not_found", message)

    def test_others_consents_are_as_unknown_ones(
        self, librarian: httpx.Client, consent: Consent, flow: Flow, problem: Expected
    ) -> None:
        for consent_id in (consent.id, UUID(UNKNOWN)):
            response = librarian.delete(f"{CONSENTS}/{consent_id}")

            message = f"You have no consent with the id {consent_id}."
            assert response.status_code == 404
            assert response.json() == problem(response, "not_found", message)
        with flow.work() as session:
            assert session.scalars(select(Grant.revoked_at)).all() == [None]

    def test_an_id_that_is_none_is_refused(self, member: httpx.Client) -> None:
        response = member.delete(f"{CONSENTS}/mine")

        assert response.status_code == 400
        assert [each["pointer"] for each in response.json()["details"]] == ["/consent_id"]

    def test_nobody_has_none(self, client: httpx.Client, problem: Expected) -> None:
        response = client.delete(f"{CONSENTS}/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_to_read_is_not_to_take_back(
        self, member: httpx.Client, consent: Consent, flow: Flow
    ) -> None:
        narrow(flow, "credentials:read")
        response = member.delete(f"{CONSENTS}/{consent.id}")

        assert response.status_code == 403
        assert response.json()["details"][0]["allowed"] == ["credentials:write"]

    def test_an_application_for_itself_has_none(
        self, client: httpx.Client, confidential: Flow
    ) -> None:
        tokens = confidential.post(grant_type="client_credentials").json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        response = client.delete(f"{CONSENTS}/{UNKNOWN}", headers=headers)

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"

    def test_two_at_once_are_one_success(self, base_url: str, consent: Consent, flow: Flow) -> None:
        headers = {"X-API-Key": api_key("member")}

        def delete(_: int) -> int:
            url = f"{base_url}{CONSENTS}/{consent.id}"
            return httpx.delete(url, headers=headers, timeout=10).status_code

        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(delete, range(4))) == [204, 404, 404, 404]
        with flow.work() as session:
            assert len(audited(session, "consent.revoke")) == 1


class TestAtOnce:
    """Whoever comes in between waits, and acts upon what there is then."""

    @pytest.fixture
    def later(self, sessions: Sessions) -> Iterator[Callable[[Callable[[Session], Any]], Any]]:
        """Call a function in a unit of work of its own, which has to wait for this one's end."""

        def call(function: Callable[[Session], Any]) -> Any:
            with visiting(VISIT), unit_of_work(sessions, writing=True) as session:
                # As on the pages, the user was read before, and stays in the session.
                user = session.get_one(User, MEMBER_ID)
                result = function(session)
                assert user in session
                return result

        def later(function: Callable[[Session], Any]) -> Any:
            result = pool.submit(call, function)
            with pytest.raises(TimeoutError):
                result.result(0.3)
            return result

        with ThreadPoolExecutor(1) as pool, visiting(VISIT):
            yield later

    def test_nothing_is_granted_while_a_consent_is_taken_back(
        self, later: Callable[..., Any], consent: Consent, flow: Flow
    ) -> None:
        def ask(session: Session) -> bool:
            request = read_authorization_request(session, flow.query(), issuer=flow.issuer)
            return is_consented(session, MEMBER_ID, request)

        with flow.work() as session:
            delete_consent(session, MEMBER_ID, consent.id)
            session.flush()
            asked = later(ask)
        assert asked.result(10) is False

    def test_nothing_is_granted_while_an_account_is_blocked(
        self, later: Callable[..., Any], flow: Flow
    ) -> None:
        def allow(session: Session) -> str:
            request = read_authorization_request(session, flow.query(), issuer=flow.issuer)
            return approve(session, request, MEMBER_ID)

        with flow.work() as session:
            session.get_one(User, MEMBER_ID).status = "blocked"
            end_access(session, MEMBER_ID)
            session.flush()
            allowed = later(allow)
        assert "error=access_denied" in allowed.result(10)
