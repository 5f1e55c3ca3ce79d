"""What OAuth 2 clients find out about the server without asking anybody."""

import httpx
import jwt

from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.signing_keys import create_signing_key
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.tokens import Mint

METADATA = "/.well-known/oauth-authorization-server"
KEYS = "/.well-known/jwks.json"


class TestGetServerMetadata:
    def test_it_is_what_rfc_8414_wants(self, client: httpx.Client, base_url: str) -> None:
        response = client.get(METADATA)

        assert response.status_code == 200
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Cache-Control"] == "public, max-age=60"
        assert response.json() == {
            "issuer": base_url,
            "authorization_endpoint": f"{base_url}/oauth/authorize",
            "token_endpoint": f"{base_url}/oauth/token",
            "revocation_endpoint": f"{base_url}/oauth/revoke",
            "introspection_endpoint": f"{base_url}/oauth/introspect",
            "jwks_uri": f"{base_url}/.well-known/jwks.json",
            "scopes_supported": sorted(ROLE_SCOPES["admin"]),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "client_credentials", "refresh_token"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic", "client_secret_post", "none",
            ],
            "revocation_endpoint_auth_methods_supported": [
                "client_secret_basic", "client_secret_post", "none",
            ],
            "introspection_endpoint_auth_methods_supported": [
                "client_secret_basic", "client_secret_post",
            ],
            "authorization_response_iss_parameter_supported": True,
            "service_documentation": f"{base_url}/docs",
        }  # fmt: skip

    def test_credentials_are_ignored(self, client: httpx.Client) -> None:
        response = client.get(METADATA, headers={"Authorization": "Bearer stale"})

        assert response.status_code == 200


class TestGetKeySet:
    def test_a_client_that_knows_nothing_else_verifies_a_token(
        self, client: httpx.Client, sessions: Sessions, settings: Settings, base_url: str
    ) -> None:
        token = Mint(sessions, base_url, settings.encryption_key).token()

        response = client.get(KEYS)

        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=60"
        (key,) = jwt.PyJWKSet.from_dict(response.json()).keys
        assert key.key_id == jwt.get_unverified_header(token)["kid"]
        jwt.decode(token, key, audience=f"{base_url}/api", issuer=base_url)

    def test_private_halves_are_not_in_it(
        self, client: httpx.Client, sessions: Sessions, settings: Settings
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            key = create_signing_key(session, settings.encryption_key)

        assert client.get(KEYS).json() == {
            "keys": [
                {
                    "kty": "OKP",
                    "crv": "Ed25519",
                    "x": key["public_jwk"]["x"],
                    "kid": str(key["id"]),
                    "use": "sig",
                    "alg": "EdDSA",
                }
            ]
        }

    def test_an_old_key_stays_while_its_tokens_are_good(
        self, client: httpx.Client, sessions: Sessions, settings: Settings
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            old = create_signing_key(session, settings.encryption_key)
            new = create_signing_key(session, settings.encryption_key)

        keys = client.get(KEYS).json()["keys"]

        assert [key["kid"] for key in keys] == [str(new["id"]), str(old["id"])]

    def test_there_is_none_before_the_first_token(self, client: httpx.Client) -> None:
        assert client.get(KEYS).json() == {"keys": []}
