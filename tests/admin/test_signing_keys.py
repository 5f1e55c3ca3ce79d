"""Signing keys over HTTP."""

from typing import Any

import httpx
import jwt
import pytest
from sqlalchemy import select

from circdesk.audit.models import AuditEntry
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.conftest import CountQueries
from tests.people import ADMIN_ID
from tests.tokens import Mint

PATH = "/api/admin/signing-keys"


def scope_missing(scope: str) -> tuple[str, list[dict[str, Any]]]:
    message = f"The credential lacks the scope {scope}."
    fault = {
        "in": "header",
        "pointer": "/Authorization",
        "rule": "scope",
        "message": message,
        "allowed": [scope],
    }
    return message, [fault]


class TestListSigningKeys:
    def test_the_latest_key_comes_first_and_no_private_half_is_shown(
        self, admin: httpx.Client
    ) -> None:
        old, new = (admin.post(PATH).json() for _ in range(2))

        response = admin.get(PATH)

        assert response.status_code == 200
        body = response.json()
        retired = body["items"][1]
        assert body == {
            "items": [
                new,
                old | {name: retired[name] for name in ("retired_at", "verifies_until")},
            ],
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": PATH, "first": PATH},
        }
        assert retired["retired_at"] < retired["verifies_until"]

    def test_it_takes_two_statements_at_most(
        self, admin: httpx.Client, count_queries: CountQueries
    ) -> None:
        for _ in range(3):
            admin.post(PATH)

        admin.get(PATH)  # From now on the caller is known.
        with count_queries() as statements:
            admin.get(f"{PATH}?per_page=1")

        assert len(statements) <= 2

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.get(PATH)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_librarians_may_not(self, librarian: httpx.Client, problem: Any) -> None:
        response = librarian.get(PATH)

        message, details = scope_missing("signing_keys:read")
        assert response.status_code == 403
        assert response.json() == problem(response, "scope_missing", message, details=details)


class TestCreateSigningKey:
    def test_the_new_key_signs_from_now_on(
        self, admin: httpx.Client, sessions: Sessions, settings: Settings, base_url: str
    ) -> None:
        mint = Mint(sessions, base_url, settings.encryption_key)
        old = mint.token()

        response = admin.post(PATH)

        assert response.status_code == 201
        assert response.headers["Location"] == PATH
        key = response.json()
        assert key == {
            "id": key["id"],
            "alg": "EdDSA",
            "public_jwk": {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": key["public_jwk"]["x"],
                "kid": key["id"],
                "use": "sig",
                "alg": "EdDSA",
            },
            "created_at": key["created_at"],
            "retired_at": None,
            "verifies_until": None,
        }
        new = mint.token()
        assert jwt.get_unverified_header(new)["kid"] == key["id"]
        for token in (old, new):
            bearer = {"Authorization": f"Bearer {token}"}
            assert httpx.get(f"{base_url}/api/admin/clients", headers=bearer).status_code == 200

    def test_it_is_an_audit_entry(self, admin: httpx.Client, sessions: Sessions) -> None:
        key = admin.post(PATH).json()

        with unit_of_work(sessions, writing=False) as session:
            (entry,) = session.scalars(
                select(AuditEntry).where(AuditEntry.action == "signing_key.create")
            )
        assert (entry.actor_type, entry.actor_id) == ("user", ADMIN_ID)
        assert (entry.target_type, str(entry.target_id)) == ("signing_key", key["id"])
        assert (entry.outcome, entry.details) == ("success", {"cause": "rotation"})

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.post(PATH)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    @pytest.mark.parametrize("caller", ["member", "librarian"])
    def test_others_may_not(
        self, request: pytest.FixtureRequest, caller: str, problem: Any
    ) -> None:
        response = request.getfixturevalue(caller).post(PATH)

        message, details = scope_missing("signing_keys:write")
        assert response.status_code == 403
        assert response.json() == problem(response, "scope_missing", message, details=details)
