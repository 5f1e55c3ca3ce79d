"""OAuth clients over HTTP."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select

from circdesk.audit.models import AuditEntry
from circdesk.auth.models import ApiKey, Consent, Grant, OAuthClient
from circdesk.auth.revocations import last_expiry
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.conftest import CountQueries
from tests.people import ADMIN_ID, MEMBER_ID
from tests.tokens import Mint

JSON = dict[str, Any]

PATH = "/api/admin/clients"
UNKNOWN = "019b8d2b-8c00-7000-8000-0000000000ff"
CONFIDENTIAL = {
    "name": "Till",
    "type": "confidential",
    "grant_types": ["client_credentials"],
    "scopes": ["users:read", "catalog:write"],
}
PUBLIC = {
    "name": "Reader's app",
    "type": "public",
    "grant_types": ["refresh_token", "authorization_code"],
    "redirect_uris": ["http://127.0.0.1/callback"],
    "scopes": ["profile:read"],
}


def register(caller: httpx.Client, content: JSON, **changes: Any) -> JSON:
    response = caller.post(PATH, json=content | changes)
    assert response.status_code == 201, response.text
    client: JSON = response.json()
    return client


def shown(client: JSON) -> JSON:
    """A client as it is shown later."""
    return {name: value for name, value in client.items() if name != "client_secret"}


def missing(problem: Any, response: httpx.Response) -> Any:
    return problem(response, "not_found", f"No client has the id {UNKNOWN}.")


def scope_missing(problem: Any, response: httpx.Response, scope: str) -> Any:
    message = f"The credential lacks the scope {scope}."
    fault = {
        "in": "header",
        "pointer": "/Authorization",
        "rule": "scope",
        "message": message,
        "allowed": [scope],
    }
    return problem(response, "scope_missing", message, details=[fault])


def stored_secret(sessions: Sessions, client_id: str) -> str | None:
    with unit_of_work(sessions, writing=False) as session:
        return session.get_one(OAuthClient, UUID(client_id)).secret_hash


def audit(sessions: Sessions, action: str) -> AuditEntry:
    with unit_of_work(sessions, writing=False) as session:
        return session.scalars(select(AuditEntry).where(AuditEntry.action == action)).one()


@pytest.fixture
def narrow(client: httpx.Client, sessions: Sessions) -> Iterator[httpx.Client]:
    """An administrator's key that looks after clients and may do nothing else."""
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            ApiKey(
                user_id=ADMIN_ID,
                name="Narrow",
                prefix="cdk_narrow",
                secret_hash=hash_secret("cdk_narrow"),
                scopes=["clients:read", "clients:write"],
            )
        )
    headers = {"X-API-Key": "cdk_narrow"}
    with httpx.Client(base_url=client.base_url, headers=headers, timeout=10) as caller:
        yield caller


class TestListClients:
    def test_the_latest_comes_first_and_no_secret_is_shown(self, admin: httpx.Client) -> None:
        first, second = register(admin, CONFIDENTIAL), register(admin, PUBLIC)

        response = admin.get(PATH)

        assert response.status_code == 200
        assert response.json() == {
            "items": [shown(second), shown(first)],
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": PATH, "first": PATH},
        }

    def test_a_cursor_walks_them_all(self, admin: httpx.Client) -> None:
        ids = [register(admin, CONFIDENTIAL)["id"] for _ in range(3)]

        found, cursor = [], "start"
        while cursor:
            part = admin.get(f"{PATH}?sort=created_at&per_page=2&cursor={cursor}").json()
            found += [client["id"] for client in part["items"]]
            cursor = part["next_cursor"]

        assert found == ids

    def test_it_takes_two_statements_at_most(
        self, admin: httpx.Client, count_queries: CountQueries
    ) -> None:
        for _ in range(3):
            register(admin, CONFIDENTIAL)

        admin.get(PATH)  # From now on the caller is known.
        with count_queries() as statements:
            admin.get(f"{PATH}?per_page=1")

        assert len(statements) <= 2

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.get(PATH)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    @pytest.mark.parametrize("caller", ["member", "librarian"])
    def test_others_may_not(
        self, request: pytest.FixtureRequest, caller: str, problem: Any
    ) -> None:
        response = request.getfixturevalue(caller).get(PATH)

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "clients:read")


class TestCreateClient:
    def test_a_confidential_client_is_told_its_secret_once(
        self, admin: httpx.Client, sessions: Sessions
    ) -> None:
        response = admin.post(PATH, json=CONFIDENTIAL)

        assert response.status_code == 201
        client = response.json()
        assert client == {
            "id": client["id"],
            "name": "Till",
            "type": "confidential",
            "grant_types": ["client_credentials"],
            "redirect_uris": [],
            "scopes": ["catalog:write", "users:read"],
            "client_secret": client["client_secret"],
            "created_at": client["created_at"],
            "updated_at": client["created_at"],
        }
        assert response.headers["Location"] == f"{PATH}/{client['id']}"
        assert response.headers["Cache-Control"] == "no-store"
        assert len(client["client_secret"]) == 43
        assert stored_secret(sessions, client["id"]) == hash_secret(client["client_secret"])
        assert admin.get(response.headers["Location"]).json() == shown(client)

    def test_a_public_client_has_no_secret(self, admin: httpx.Client, sessions: Sessions) -> None:
        client = register(admin, PUBLIC)

        assert client["client_secret"] is None
        assert client["grant_types"] == ["authorization_code", "refresh_token"]
        assert stored_secret(sessions, client["id"]) is None

    def test_it_is_an_audit_entry_without_secret_and_name(
        self, admin: httpx.Client, sessions: Sessions
    ) -> None:
        client = register(admin, CONFIDENTIAL)

        entry = audit(sessions, "client.create")
        assert (entry.actor_id, entry.outcome) == (ADMIN_ID, "success")
        assert (entry.target_type, str(entry.target_id)) == ("client", client["id"])
        assert entry.details == {"scopes": ["catalog:write", "users:read"]}

    @pytest.mark.parametrize(
        "uri",
        [
            "https://app.example/callback",
            "https://app.example:8443/callback?tenant=1",
            "https://[2001:db8::1]/callback",
            "http://127.0.0.1:4000/callback",
            "http://127.0.0.1/",
            "http://[::1]/callback",
            "http://localhost:3000",
            "com.example.app:/callback",
        ],
    )
    def test_safe_redirect_uris_are_taken(self, admin: httpx.Client, uri: str) -> None:
        assert register(admin, PUBLIC, redirect_uris=[uri])["redirect_uris"] == [uri]

    @pytest.mark.parametrize(
        ("uri", "reason"),
        [
            ("http://app.example/callback", "http is only for loopback addresses; use https"),
            ("http://127.0.0.1.evil.example/", "http is only for loopback addresses; use https"),
            ("https://user@app.example/", "the URI has no plain host and port"),
            ("https://app.example;script-src/", "the URI has no plain host and port"),
            ("https://app.example'self'", "the URI has no plain host and port"),
            ("https:///callback", "the URI has no plain host and port"),
            ("https://app.example:99999/", "the URI has no plain host and port"),
            ("https:app.example", "the URI has no plain host and port"),
            *(
                (uri, "a private-use scheme is a reversed domain name, with a dot (RFC 8252, 7.1)")
                for uri in ("javascript:alert(1)", "data:text/html,x", "myapp://callback")
            ),
        ],
    )
    def test_unsafe_redirect_uris_are_refused(
        self, admin: httpx.Client, problem: Any, uri: str, reason: str
    ) -> None:
        uris = ["https://app.example/", uri]

        response = admin.post(PATH, json=PUBLIC | {"redirect_uris": uris})

        assert response.status_code == 422
        fault = {
            "in": "body",
            "pointer": "/redirect_uris/1",
            "rule": "redirect_uri",
            "message": reason,
        }
        message = "A redirect URI cannot be used."
        assert response.json() == problem(
            response, "redirect_uri_invalid", message, details=[fault]
        )

    @pytest.mark.parametrize(
        "uri",
        [
            "https://app.example/#fragment",
            "https://*.app.example/",
            "https://app.example/\\..",
            "https://app.example/ ",
            "https://äpp.example/",
            "/callback",
        ],
    )
    def test_the_contract_takes_no_fragment_wildcard_or_odd_character(
        self, admin: httpx.Client, uri: str
    ) -> None:
        response = admin.post(PATH, json=PUBLIC | {"redirect_uris": [uri]})

        assert response.status_code == 400
        (fault,) = response.json()["details"]
        assert (fault["pointer"], fault["rule"]) == ("/redirect_uris/0", "pattern")

    def test_codes_need_a_redirect_uri(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.post(PATH, json=PUBLIC | {"redirect_uris": []})

        assert response.status_code == 422
        message = "The grant type authorization_code needs a redirect URI."
        fault = {"in": "body", "pointer": "/redirect_uris", "rule": "required", "message": message}
        assert response.json() == problem(
            response, "redirect_uri_invalid", message, details=[fault]
        )

    def test_a_public_client_cannot_act_for_itself(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.post(PATH, json=PUBLIC | {"grant_types": ["client_credentials"]})

        assert response.status_code == 422
        message = "A public client cannot have the grant type client_credentials."
        fault = {"in": "body", "pointer": "/grant_types", "rule": "grant_type", "message": message}
        assert response.json() == problem(
            response, "grant_type_impossible", message, details=[fault]
        )

    def test_a_scope_that_is_none_is_refused(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.post(PATH, json=CONFIDENTIAL | {"scopes": ["users:fly"]})

        assert response.status_code == 422
        message = "The credential cannot give what it does not have: users:fly."
        fault = {
            "in": "body",
            "pointer": "/scopes",
            "rule": "scope",
            "message": message,
            "allowed": sorted(ROLE_SCOPES["admin"]),
        }
        assert response.json() == problem(response, "scope_not_granted", message, details=[fault])

    def test_nobody_gives_what_the_credential_does_not_have(
        self, narrow: httpx.Client, problem: Any
    ) -> None:
        response = narrow.post(PATH, json=CONFIDENTIAL | {"scopes": ["users:read"]})

        assert response.status_code == 422
        message = "The credential cannot give what it does not have: users:read."
        fault = {
            "in": "body",
            "pointer": "/scopes",
            "rule": "scope",
            "message": message,
            "allowed": ["clients:read", "clients:write"],
        }
        assert response.json() == problem(response, "scope_not_granted", message, details=[fault])
        assert register(narrow, CONFIDENTIAL, scopes=["clients:read"])["client_secret"]

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.post(PATH, json=CONFIDENTIAL)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    @pytest.mark.parametrize("caller", ["member", "librarian"])
    def test_others_may_not(
        self, request: pytest.FixtureRequest, caller: str, problem: Any
    ) -> None:
        response = request.getfixturevalue(caller).post(PATH, json=CONFIDENTIAL)

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "clients:write")


class TestGetClient:
    def test_one_client(self, admin: httpx.Client) -> None:
        client = register(admin, PUBLIC)

        response = admin.get(f"{PATH}/{client['id']}")

        assert response.status_code == 200
        assert response.json() == shown(client)

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.get(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.get(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_librarians_may_not(self, librarian: httpx.Client, problem: Any) -> None:
        response = librarian.get(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "clients:read")


class TestUpdateClient:
    def test_what_is_left_out_stays(self, admin: httpx.Client, sessions: Sessions) -> None:
        client = register(admin, PUBLIC)
        changes = {"name": "Our app", "scopes": ["profile:write", "profile:read"]}

        response = admin.patch(
            f"{PATH}/{client['id']}",
            json=changes,
            headers={"Content-Type": "application/merge-patch+json"},
        )

        assert response.status_code == 200
        updated = response.json()
        assert updated == shown(client) | {
            "name": "Our app",
            "scopes": ["profile:read", "profile:write"],
            "updated_at": updated["updated_at"],
        }
        assert admin.get(f"{PATH}/{client['id']}").json() == updated
        entry = audit(sessions, "client.update")
        assert str(entry.target_id) == client["id"]
        assert entry.details == {
            "changed": ["name", "scopes"],
            "scopes": ["profile:read", "profile:write"],
        }

    def test_null_removes_the_redirect_uris(self, admin: httpx.Client) -> None:
        client = register(admin, CONFIDENTIAL, redirect_uris=["https://app.example/"])

        response = admin.patch(f"{PATH}/{client['id']}", json={"redirect_uris": None})

        assert response.json()["redirect_uris"] == []

    def test_a_public_client_stays_without_client_credentials(self, admin: httpx.Client) -> None:
        client = register(admin, PUBLIC)

        response = admin.patch(
            f"{PATH}/{client['id']}", json={"grant_types": ["client_credentials"]}
        )

        assert response.status_code == 422
        assert response.json()["code"] == "grant_type_impossible"
        assert admin.get(f"{PATH}/{client['id']}").json() == shown(client)

    def test_codes_keep_needing_a_redirect_uri(self, admin: httpx.Client) -> None:
        client = register(admin, PUBLIC)

        response = admin.patch(f"{PATH}/{client['id']}", json={"redirect_uris": []})

        assert response.status_code == 422
        assert response.json()["code"] == "redirect_uri_invalid"

    def test_a_client_that_may_more_cannot_be_taken_over(
        self, admin: httpx.Client, narrow: httpx.Client, problem: Any
    ) -> None:
        client = register(admin, CONFIDENTIAL, scopes=["clients:read", "roles:write"])
        changes = {"redirect_uris": ["https://evil.example/"]}

        response = narrow.patch(f"{PATH}/{client['id']}", json=changes)

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "roles:write")

    def test_nobody_gives_what_the_credential_does_not_have(self, narrow: httpx.Client) -> None:
        client = register(narrow, CONFIDENTIAL, scopes=["clients:read"])

        response = narrow.patch(f"{PATH}/{client['id']}", json={"scopes": ["roles:write"]})

        assert response.status_code == 422
        assert response.json()["code"] == "scope_not_granted"

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.patch(f"{PATH}/{UNKNOWN}", json={})

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.patch(f"{PATH}/{UNKNOWN}", json={})

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_librarians_may_not(self, librarian: httpx.Client, problem: Any) -> None:
        response = librarian.patch(f"{PATH}/{UNKNOWN}", json={})

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "clients:write")


class TestDeleteClient:
    def test_its_tokens_grants_and_consents_go_with_it(
        self, admin: httpx.Client, sessions: Sessions, settings: Settings, base_url: str
    ) -> None:
        client = register(admin, PUBLIC)
        client_id = UUID(client["id"])
        with unit_of_work(sessions, writing=True) as session:
            common: JSON = {"user_id": MEMBER_ID, "client_id": client_id, "scopes": []}
            session.add(Consent(**common))
            session.add(Grant(**common, resource=f"{base_url}/api", expires_at=last_expiry()))
        mint = Mint(sessions, base_url, settings.encryption_key)
        bearer = {
            "Authorization": "Bearer "
            + mint.for_user(MEMBER_ID, "member", "profile:read", client_id=client["id"])
        }
        assert httpx.get(f"{base_url}/api/posts", headers=bearer).status_code == 200

        response = admin.delete(f"{PATH}/{client['id']}")

        assert response.status_code == 204
        assert response.content == b""
        assert admin.get(f"{PATH}/{client['id']}").status_code == 404
        refused = httpx.get(f"{base_url}/api/posts", headers=bearer)
        assert refused.status_code == 401
        assert refused.json()["code"] == "credentials_revoked"
        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(Consent)).all() == []
            assert session.scalars(select(Grant)).all() == []
        assert audit(sessions, "client.delete").target_id == client_id

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.delete(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.delete(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_librarians_may_not(self, librarian: httpx.Client, problem: Any) -> None:
        response = librarian.delete(f"{PATH}/{UNKNOWN}")

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "clients:write")


class TestRotateClientSecret:
    def test_the_old_secret_ends_at_once(self, admin: httpx.Client, sessions: Sessions) -> None:
        client = register(admin, CONFIDENTIAL)

        response = admin.post(f"{PATH}/{client['id']}/secrets")

        assert response.status_code == 201
        secret = response.json()["client_secret"]
        assert response.json() == {"client_id": client["id"], "client_secret": secret}
        assert response.headers["Location"] == f"{PATH}/{client['id']}"
        assert response.headers["Cache-Control"] == "no-store"
        assert secret != client["client_secret"]
        assert stored_secret(sessions, client["id"]) == hash_secret(secret)
        assert str(audit(sessions, "client.secret_rotate").target_id) == client["id"]

    def test_a_public_client_has_none(self, admin: httpx.Client, problem: Any) -> None:
        client = register(admin, PUBLIC)

        response = admin.post(f"{PATH}/{client['id']}/secrets")

        assert response.status_code == 409
        message = "This client is public, so it has no secret."
        assert response.json() == problem(response, "client_has_no_secret", message)

    def test_a_client_that_may_more_cannot_be_taken_over(
        self, admin: httpx.Client, narrow: httpx.Client, problem: Any
    ) -> None:
        client = register(admin, CONFIDENTIAL, scopes=["clients:read", "roles:write"])

        response = narrow.post(f"{PATH}/{client['id']}/secrets")

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "roles:write")

    def test_an_unknown_id_is_not_found(self, admin: httpx.Client, problem: Any) -> None:
        response = admin.post(f"{PATH}/{UNKNOWN}/secrets")

        assert response.status_code == 404
        assert response.json() == missing(problem, response)

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Any) -> None:
        response = client.post(f"{PATH}/{UNKNOWN}/secrets")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_librarians_may_not(self, librarian: httpx.Client, problem: Any) -> None:
        response = librarian.post(f"{PATH}/{UNKNOWN}/secrets")

        assert response.status_code == 403
        assert response.json() == scope_missing(problem, response, "clients:write")
