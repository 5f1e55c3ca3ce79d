"""Client credentials over HTTP, and how clients authenticate, on both databases."""

import base64
from typing import Any
from urllib.parse import quote_plus

import httpx
import jwt
import pytest

from tests.auth.oauth.registered import (
    CONFIDENTIAL_ID,
    OTHER_ID,
    PUBLIC_ID,
    SCOPES,
    SECRET,
    Flow,
    audited,
)

GRANT = {"grant_type": "client_credentials"}


def basic(user: str, password: str) -> dict[str, str]:
    """The header of HTTP Basic."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def encoded() -> dict[str, str]:
    """The confidential client's own header, encoded as RFC 6749 (2.3.1) says."""
    return basic(str(CONFIDENTIAL_ID), quote_plus(SECRET))


def refused(response: httpx.Response, error: str, description: str, status: int = 400) -> None:
    """Assert that an answer is an error in OAuth's form."""
    assert response.json() == {"error": error, "error_description": description}
    assert response.status_code == status
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"
    assert response.headers["Content-Type"] == "application/json"


class TestClientCredentials:
    def test_a_client_gets_a_token_with_all_of_its_scopes(
        self, confidential: Flow, base_url: str
    ) -> None:
        response = confidential.http.post("/oauth/token", data=GRANT, headers=encoded())

        body = response.json()
        claims = jwt.decode(body.pop("access_token"), options={"verify_signature": False})
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Pragma"] == "no-cache"
        assert body == {"token_type": "Bearer", "expires_in": 600, "scope": " ".join(SCOPES)}
        assert claims.pop("exp") == claims.pop("iat") + 600
        assert claims.pop("jti")
        assert claims == {
            "iss": base_url,
            "aud": f"{base_url}/api",
            "sub": str(CONFIDENTIAL_ID),
            "client_id": str(CONFIDENTIAL_ID),
            "scope": " ".join(SCOPES),
        }

    def test_the_token_opens_what_its_scopes_allow_and_nothing_else(
        self, confidential: Flow
    ) -> None:
        token = confidential.post(**GRANT, scope="profile:read").json()["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        post = {"title": "News", "body": "News.", "author": "A client"}

        assert confidential.http.get("/api/posts", headers=headers).status_code == 200
        refusal = confidential.http.post("/api/posts", json=post, headers=headers)
        assert refusal.json()["code"] == "scope_missing"

    def test_fewer_scopes_can_be_asked_for(self, confidential: Flow) -> None:
        response = confidential.post(**GRANT, scope="profile:read news:write")

        assert response.json()["scope"] == "news:write profile:read"

    @pytest.mark.parametrize("scope", ["users:read", "profile:read users:read", "unheard-of", " "])
    def test_scopes_beyond_the_clients_are_refused(self, confidential: Flow, scope: str) -> None:
        response = confidential.post(**GRANT, scope=scope)

        message = "The client has not all of the scopes that were requested."
        refused(response, "invalid_scope", message)

    def test_a_public_client_never_acts_for_itself(self, flow: Flow) -> None:
        refused(
            flow.post(**GRANT),
            "unauthorized_client",
            "The client is not authorized to use 'grant_type=client_credentials'",
        )

    def test_the_api_may_be_named_as_the_resource(self, confidential: Flow, base_url: str) -> None:
        assert confidential.post(**GRANT, resource=f"{base_url}/api").status_code == 200

    @pytest.mark.parametrize("path", ["", "/", "/api/", "/api/books", "/api#here"])
    def test_no_other_resource_has_tokens(
        self, confidential: Flow, base_url: str, path: str
    ) -> None:
        response = confidential.post(**GRANT, resource=base_url + path)

        message = f"Tokens are given for {base_url}/api alone."
        refused(response, "invalid_target", message)

    def test_each_token_is_an_entry_of_the_audit_log(self, confidential: Flow) -> None:
        confidential.post(**GRANT, scope="profile:read")

        with confidential.work() as session:
            assert audited(session, "token.issue") == [
                {
                    "outcome": "success",
                    "actor": ("client", CONFIDENTIAL_ID),
                    "target": ("client", CONFIDENTIAL_ID),
                    "details": {"grant_type": "client_credentials", "scopes": ["profile:read"]},
                }
            ]

    def test_it_costs_no_query_too_many(self, confidential: Flow, count_queries: Any) -> None:
        # The first one makes the key that signs, and all is forgotten then.
        for _ in range(2):
            confidential.post(**GRANT)

        with count_queries() as statements:
            confidential.post(**GRANT)

        # The client and the key that signs are remembered; the entry of the audit log is stored.
        assert len(statements) == 1, statements


class TestTheRequest:
    def test_unknown_parameters_are_ignored(self, confidential: Flow) -> None:
        assert confidential.post(**GRANT, colour="green").status_code == 200

    def test_a_parameter_without_a_value_counts_as_left_out(self, confidential: Flow) -> None:
        assert confidential.post(**GRANT, scope="", resource="").status_code == 200

    @pytest.mark.parametrize("name", ["grant_type", "scope", "client_id", "colour"])
    def test_a_repeated_parameter_is_an_invalid_request(
        self, confidential: Flow, name: str
    ) -> None:
        response = confidential.http.post(
            "/oauth/token",
            data={**GRANT, name: ["profile:read", "profile:read"]},
            headers=encoded(),
        )

        refused(response, "invalid_request", "A parameter is sent more than once.")

    @pytest.mark.parametrize(
        "content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""]
    )
    def test_only_forms_are_read(self, confidential: Flow, content_type: str) -> None:
        response = confidential.http.post(
            "/oauth/token",
            content=b"grant_type=client_credentials",
            headers={**encoded(), "Content-Type": content_type},
        )

        message = "The body must be sent as application/x-www-form-urlencoded."
        refused(response, "invalid_request", message)

    def test_a_charset_beside_the_media_type_is_no_fault(self, confidential: Flow) -> None:
        content_type = "Application/X-WWW-Form-URLencoded; charset=UTF-8"
        headers = {**encoded(), "Content-Type": content_type}
        content = b"grant_type=client_credentials"

        response = confidential.http.post("/oauth/token", content=content, headers=headers)

        assert response.status_code == 200

    @pytest.mark.parametrize("body", [b"grant_type=%ff", b"grant_type=\xff", b"a=1&" * 200])
    def test_what_cannot_be_read_is_an_invalid_request(
        self, confidential: Flow, body: bytes
    ) -> None:
        headers = {**encoded(), "Content-Type": "application/x-www-form-urlencoded"}

        response = confidential.http.post("/oauth/token", content=body, headers=headers)

        refused(response, "invalid_request", "The parameters cannot be read.")

    def test_an_empty_form_lacks_its_grant_type(self, confidential: Flow) -> None:
        headers = {**encoded(), "Content-Type": "application/x-www-form-urlencoded"}

        response = confidential.http.post("/oauth/token", headers=headers)

        refused(response, "invalid_request", "The parameter grant_type is missing.")

    def test_parameters_in_the_address_do_not_count(self, confidential: Flow) -> None:
        response = confidential.http.post(
            "/oauth/token", params=GRANT, data={"scope": "profile:read"}, headers=encoded()
        )

        refused(response, "invalid_request", "The parameter grant_type is missing.")

    @pytest.mark.parametrize("grant_type", ["password", "implicit", "Client_Credentials", '"é\\'])
    def test_other_grants_are_unsupported(self, confidential: Flow, grant_type: str) -> None:
        response = confidential.post(grant_type=grant_type)

        assert response.json() == {"error": "unsupported_grant_type"}
        assert response.status_code == 400


class TestClientAuthentication:
    def test_the_secret_may_stand_in_the_body(self, confidential: Flow) -> None:
        assert confidential.post(**GRANT).status_code == 200

    def test_a_client_that_does_not_encode_its_secret_is_understood(
        self, confidential: Flow
    ) -> None:
        headers = basic(str(CONFIDENTIAL_ID), SECRET)

        response = confidential.http.post("/oauth/token", data=GRANT, headers=headers)

        assert response.status_code == 200

    def test_a_wrong_secret_by_basic_is_a_401_that_offers_basic(self, confidential: Flow) -> None:
        headers = basic(str(CONFIDENTIAL_ID), "wrong")

        response = confidential.http.post("/oauth/token", data=GRANT, headers=headers)

        refused(response, "invalid_client", "The client authentication failed.", 401)
        assert response.headers["WWW-Authenticate"] == 'Basic realm="circdesk", charset="UTF-8"'

    @pytest.mark.parametrize(
        ("client_id", "secret"),
        [
            (CONFIDENTIAL_ID, "wrong"),
            (CONFIDENTIAL_ID, None),
            (CONFIDENTIAL_ID, ""),
            (PUBLIC_ID, "invented"),
            (OTHER_ID, SECRET),
            ("019b8d2b-8c00-7200-8000-0000000000ff", SECRET),
            (str(CONFIDENTIAL_ID).upper(), SECRET),
            (f"{{{CONFIDENTIAL_ID}}}", SECRET),
            ("nobody", "nothing"),
            (None, None),
            (None, SECRET),
        ],
    )
    def test_wrong_credentials_in_the_body_are_a_400_that_offers_nothing(
        self, confidential: Flow, client_id: Any, secret: str | None
    ) -> None:
        form = {**GRANT, "client_id": client_id and str(client_id), "client_secret": secret}
        sent = {name: value for name, value in form.items() if value is not None}

        response = confidential.http.post("/oauth/token", data=sent)

        refused(response, "invalid_client", "The client authentication failed.")
        assert "WWW-Authenticate" not in response.headers

    @pytest.mark.parametrize(
        "header", ["Basic", "Basic !", "Basic bm9ib2R5", "Basic /w==", "basic OnNlY3JldA=="]
    )
    def test_a_basic_header_that_says_nothing_is_a_401(
        self, confidential: Flow, header: str
    ) -> None:
        headers = {"Authorization": header}

        response = confidential.http.post("/oauth/token", data=GRANT, headers=headers)

        refused(response, "invalid_client", "The client authentication failed.", 401)

    def test_a_confidential_client_that_sends_basic_without_its_secret_is_refused(
        self, confidential: Flow
    ) -> None:
        headers = basic(str(CONFIDENTIAL_ID), "")

        response = confidential.http.post("/oauth/token", data=GRANT, headers=headers)

        refused(response, "invalid_client", "The client authentication failed.", 401)

    def test_another_scheme_than_basic_is_an_invalid_request(self, confidential: Flow) -> None:
        headers = {"Authorization": "Bearer something"}

        response = confidential.http.post("/oauth/token", data=GRANT, headers=headers)

        refused(response, "invalid_request", "Clients authenticate by Basic or in the body.")

    def test_two_ways_at_once_are_an_invalid_request(self, confidential: Flow) -> None:
        form = {**GRANT, "client_id": str(CONFIDENTIAL_ID), "client_secret": SECRET}

        response = confidential.http.post("/oauth/token", data=form, headers=encoded())

        refused(response, "invalid_request", "The client authenticates in two ways at once.")

    def test_two_clients_at_once_are_an_invalid_request(self, confidential: Flow) -> None:
        form = {**GRANT, "client_id": str(OTHER_ID)}

        response = confidential.http.post("/oauth/token", data=form, headers=encoded())

        refused(response, "invalid_request", "The request names two clients.")

    def test_the_clients_id_may_stand_in_the_body_beside_basic(self, confidential: Flow) -> None:
        form = {**GRANT, "client_id": str(CONFIDENTIAL_ID)}

        response = confidential.http.post("/oauth/token", data=form, headers=encoded())

        assert response.status_code == 200

    def test_other_credentials_beside_it_do_not_matter(self, confidential: Flow) -> None:
        headers = {**encoded(), "X-API-Key": "none of ours", "Cookie": "circdesk_session=stale"}

        response = confidential.http.post("/oauth/token", data=GRANT, headers=headers)

        assert response.status_code == 200

    def test_a_failure_is_audited_for_a_client_that_exists(self, newcomer: Flow) -> None:
        sent = basic(str(newcomer.client_id), "wrong")
        newcomer.http.post("/oauth/token", data=GRANT, headers=sent)
        newcomer.http.post("/oauth/token", data=GRANT, headers=basic("nobody", "wrong"))

        with newcomer.work() as session:
            assert audited(session, "client.authenticate") == [
                {
                    "outcome": "failure",
                    "actor": ("anonymous", None),
                    "target": ("client", newcomer.client_id),
                    "details": {"method": "client_secret_basic"},
                }
            ]

    def test_a_flood_of_failures_is_no_flood_of_entries(self, newcomer: Flow) -> None:
        for _ in range(20):
            newcomer.post(**GRANT, client_secret="wrong")

        with newcomer.work() as session:
            assert 1 <= len(audited(session, "client.authenticate")) < 10
