"""One's own account, and what one may do, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.auth.scopes import ROLE_SCOPES
from tests.people import LIBRARIAN_ID, MEMBER_ID

Expected = Callable[..., dict[str, Any]]


class TestGetMyAccount:
    def test_it_shows_the_user_and_the_credential(
        self, member: httpx.Client, librarian: httpx.Client
    ) -> None:
        response = member.get("/api/me")

        assert response.status_code == 200
        assert response.json() == {
            "user": librarian.get("/api/users/card:20001").json(),
            "credential": {
                "type": "api_key",
                "id": str(UUID(int=MEMBER_ID.int + 16)),
                "scopes": sorted(ROLE_SCOPES["member"]),
                "client_id": None,
            },
        }

    def test_a_narrow_key_tells_its_own_scopes(self, caller: Any) -> None:
        narrow = caller(LIBRARIAN_ID, "profile:read", "roles:write", "users:read")

        scopes = narrow.get("/api/me").json()["credential"]["scopes"]

        # It never has more than its owner's role.
        assert scopes == ["profile:read", "users:read"]

    def test_a_key_without_the_scope_is_refused(self, caller: Any, problem: Expected) -> None:
        response = caller(MEMBER_ID, "credentials:read").get("/api/me")

        assert response.status_code == 403
        message = "The credential lacks the scope profile:read."
        (detail,) = response.json()["details"]
        assert response.json() == problem(response, "scope_missing", message, details=[detail])

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/me")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdateMyAccount:
    def test_what_is_not_named_stays(self, member: httpx.Client, audit: Any) -> None:
        member.patch("/api/me", json={"contact": {"phone": "040 123"}})
        before = member.get("/api/me").json()

        response = member.patch(
            "/api/me",
            json={
                "contact": {"postal_address": "Harbour Street 1"},
                "privacy": {"receives_news": True},
            },
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        after = response.json()
        assert after["user"]["updated_at"] > before["user"]["updated_at"]
        assert after == before | {
            "user": before["user"]
            | {
                "contact": {"phone": "040 123", "postal_address": "Harbour Street 1"},
                "privacy": {
                    "keeps_history": False,
                    "receives_news": True,
                    "unwanted_notices": [],
                },
                "updated_at": after["user"]["updated_at"],
            }
        }
        assert member.get("/api/me").json() == after
        first, second = audit("user.update")
        assert (first.details, second.details) == (
            {"fields": ["contact"]},
            {"fields": ["contact", "privacy"]},
        )
        assert first.actor_id == first.target_id == MEMBER_ID

    def test_null_removes(self, member: httpx.Client) -> None:
        member.patch("/api/me", json={"contact": {"phone": "040 123"}})

        changed = member.patch("/api/me", json={"contact": {"phone": None}}).json()

        assert changed["user"]["contact"] == {"phone": None, "postal_address": None}

    @pytest.mark.parametrize(
        "changes",
        [
            {"name": "Somebody Else"},
            {"email": "somebody.else@example.org"},
            {"card_number": "1"},
            {"category": "teacher"},
            {"role": "admin"},
            {"status": "active"},
            {"expires_on": None},
        ],
    )
    def test_the_rest_is_for_staff(self, member: httpx.Client, changes: dict[str, Any]) -> None:
        response = member.patch("/api/me", json=changes)

        assert response.status_code == 400
        (entry,) = response.json()["details"]
        (name,) = changes
        assert (entry["pointer"], entry["rule"]) == (f"/{name}", "additionalProperties")

    def test_a_key_that_may_only_read_is_refused(self, caller: Any) -> None:
        response = caller(MEMBER_ID, "profile:read").patch("/api/me", json={})

        assert response.status_code == 403
        assert response.json()["details"][0]["allowed"] == ["profile:write"]

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.patch("/api/me", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestGetMyCapabilities:
    def test_it_tells_nobody_what_anybody_may_do(self, client: httpx.Client) -> None:
        found = capabilities(client)

        assert found["list_books"] == (True, [])
        assert found["get_health"] == (True, [])
        assert found["create_post"] == (False, ["news:write"])
        assert found["get_my_account"] == (False, ["profile:read"])

    def test_it_tells_what_each_role_may_do(
        self, member: httpx.Client, librarian: httpx.Client, admin: httpx.Client
    ) -> None:
        assert capabilities(member)["get_user"] == (True, [])
        assert capabilities(member)["list_users"] == (False, ["users:read"])
        assert capabilities(librarian)["list_users"] == (True, [])
        refused = {name for name, (allowed, _) in capabilities(admin).items() if not allowed}
        # These are about the browser that is calling.
        assert refused == {"delete_session", "get_session"}

    def test_a_narrow_key_lacks_the_fewest_scopes_that_do(self, caller: Any) -> None:
        found = capabilities(caller(LIBRARIAN_ID, "news:write"))

        assert found["create_post"] == (True, [])
        # Either of two scopes would do.
        assert found["get_user"] == (False, ["users:read"])

    def test_every_operation_of_the_contract_is_there(self, client: httpx.Client) -> None:
        paths = client.get("/openapi.json").json()["paths"].values()
        documented = [
            node["operationId"]
            for item in paths
            for node in item.values()
            if isinstance(node, dict) and "operationId" in node
        ]

        assert sorted(capabilities(client)) == sorted(documented)

    def test_a_bad_key_is_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/me/capabilities", headers={"X-API-Key": "wrong"})

        assert response.status_code == 401
        assert response.json() == problem(
            response, "credentials_invalid", "The API key is not valid."
        )


def capabilities(caller: httpx.Client) -> dict[str, tuple[bool, list[str]]]:
    response = caller.get("/api/me/capabilities")
    assert response.status_code == 200, response.text
    return {
        item["operation_id"]: (item["allowed"], item["missing_scopes"])
        for item in response.json()["items"]
    }
