"""All data held on a person, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.db.unit_of_work import Sessions
from tests.accounts.belongings import give_credentials
from tests.people import LIBRARIAN_ID, MEMBER_ID

Expected = Callable[..., dict[str, Any]]

UNKNOWN = "019b8d2b-8c00-7009-8000-0000000000ff"


class TestExportUser:
    def test_it_has_everything_that_is_held_and_no_secret(
        self, member: httpx.Client, librarian: httpx.Client, sessions: Sessions, audit: Any
    ) -> None:
        client_id = give_credentials(sessions, MEMBER_ID)
        librarian.patch("/api/users/card:20001", json={"name": "Grace"})
        member.patch("/api/me", json={"contact": {"phone": "040 1"}})

        response = member.get(f"/api/users/{MEMBER_ID}/export")

        assert response.status_code == 200
        body = response.json()
        assert body == {
            "user": member.get("/api/me").json()["user"],
            "sessions": [
                {
                    "id": body["sessions"][0]["id"],
                    "current": False,
                    "address": "192.0.2.1",
                    "user_agent": "A browser",
                    "created_at": body["sessions"][0]["created_at"],
                    "last_used_at": body["sessions"][0]["last_used_at"],
                    "expires_at": body["sessions"][0]["expires_at"],
                }
            ],
            "api_keys": [
                {
                    "id": str(UUID(int=MEMBER_ID.int + 16)),
                    "name": "For tests",
                    "prefix": "cdk_the-key-",
                    "scopes": sorted(ROLE_SCOPES["member"]),
                    "expires_at": None,
                    "last_used_at": body["api_keys"][0]["last_used_at"],
                    "old_secret_expires_at": None,
                    "created_at": body["api_keys"][0]["created_at"],
                    "updated_at": body["api_keys"][0]["updated_at"],
                }
            ],
            "consents": [
                {
                    "id": body["consents"][0]["id"],
                    "client": {"id": str(client_id), "name": "An application"},
                    "scopes": ["profile:read"],
                    "created_at": body["consents"][0]["created_at"],
                    "updated_at": body["consents"][0]["updated_at"],
                }
            ],
            "grants": [
                {
                    "id": body["grants"][0]["id"],
                    "client": {"id": str(client_id), "name": "An application"},
                    "scopes": ["profile:read"],
                    "resource": "http://127.0.0.1/api",
                    "created_at": body["grants"][0]["created_at"],
                    "expires_at": body["grants"][0]["expires_at"],
                    "revoked_at": None,
                }
            ],
            "loans": [],
            "holds": [],
            "fees": [],
            "ledger_entries": [],
            "blocks": [],
            "notices": [],
            "audit_entries": body["audit_entries"],
        }
        told = [
            (entry["action"], entry["actor"]["id"], entry["address"])
            for entry in body["audit_entries"]
        ]
        # Where the librarian sat is not told.
        assert told == [
            ("user.export", str(MEMBER_ID), "127.0.0.1"),
            ("user.update", str(MEMBER_ID), "127.0.0.1"),
            ("user.update", str(LIBRARIAN_ID), None),
        ]
        (entry,) = audit("user.export")
        assert (entry.actor_id, entry.target_id) == (MEMBER_ID, MEMBER_ID)
        for secret in ("secret_hash", "token_hash", "password_hash", "sha256"):
            assert secret not in response.text

    def test_staff_exports_for_members(self, librarian: httpx.Client, audit: Any) -> None:
        response = librarian.get("/api/users/card:20001/export")

        assert response.status_code == 200
        assert response.json()["user"]["id"] == str(MEMBER_ID)
        (entry,) = audit("user.export")
        assert (entry.actor_id, entry.target_id) == (LIBRARIAN_ID, MEMBER_ID)

    def test_librarians_export_no_other_staff(
        self, librarian: httpx.Client, admin: httpx.Client, audit: Any
    ) -> None:
        response = librarian.get("/api/users/card:20003/export")

        assert response.status_code == 403
        assert response.json()["details"][0]["allowed"] == ["roles:write"]
        assert audit("user.export") == []
        assert librarian.get("/api/users/card:20002/export").status_code == 200
        assert admin.get("/api/users/card:20002/export").status_code == 200

    @pytest.mark.parametrize("key", [str(LIBRARIAN_ID), "card:20002", UNKNOWN, "card:99999"])
    def test_members_do_not_learn_whether_somebody_else_exists(
        self, member: httpx.Client, problem: Expected, key: str
    ) -> None:
        response = member.get(f"/api/users/{key}/export")

        assert response.status_code == 404
        assert response.json() == problem(response, "not_found", f"No user has the key {key}.")

    def test_a_key_without_either_scope_is_refused(self, caller: Any) -> None:
        response = caller(MEMBER_ID, "credentials:read").get("/api/users/card:20001/export")

        assert response.status_code == 403
        assert response.json()["details"][0]["allowed"] == ["users:read"]

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.get("/api/users/card:20001/export")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
