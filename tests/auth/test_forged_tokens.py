"""Access tokens that somebody has forged or altered, or that are good for something else."""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from circdesk import clock
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.signing_keys import find_signer
from circdesk.auth.tokens import AccessTokens
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.settings import Settings
from tests.auth.columns import (
    CLIENT_ID,
    STRICT,
    UNKNOWN_ID,
    bad,
    bearer,
    good,
    mismatches,
    send_to_all,
)
from tests.people import PEOPLE


def encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class TestForgedTokens:
    """Each is a good token of the administrator's but for one thing."""

    @pytest.fixture
    def key(
        self, settings: Settings, sessions: Sessions, client: httpx.Client
    ) -> tuple[str, Ed25519PrivateKey]:
        """The service's own signing key, with its id."""
        del client
        with unit_of_work(sessions, writing=True) as session:
            return find_signer(session, settings.encryption_key)

    @pytest.fixture
    def claims(self, tokens: AccessTokens, base_url: str) -> dict[str, Any]:
        """The claims of a good token."""
        now = int(clock.now().timestamp())
        return {
            "iss": base_url,
            "aud": tokens.resource,
            "sub": str(PEOPLE["admin"]),
            "client_id": str(CLIENT_ID),
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid4()),
            "scope": " ".join(ROLE_SCOPES["admin"]),
            "grant_id": str(uuid4()),
            "roles": ["admin"],
        }

    def test_unforged_it_would_be_good(
        self, base_url: str, key: tuple[str, Ed25519PrivateKey], claims: dict[str, Any]
    ) -> None:
        kid, private = key
        token = jwt.encode(claims, private, "EdDSA", headers={"typ": "at+jwt", "kid": kid})
        answers = send_to_all(base_url, STRICT, bearer(token))
        assert mismatches(answers, good(ROLE_SCOPES["admin"], "OAuth2")) == []

    @pytest.mark.parametrize(
        ("headers", "changes"),
        [
            pytest.param({}, {"exp": 1_700_000_000}, id="expired"),
            pytest.param({}, {"aud": "https://other.example.org/api"}, id="wrong audience"),
            pytest.param({}, {"aud": None}, id="no audience"),
            pytest.param({}, {"iss": "https://other.example.org"}, id="wrong issuer"),
            pytest.param({}, {"jti": None}, id="no id"),
            pytest.param({}, {"scope": None}, id="no scope"),
            pytest.param({"typ": "JWT"}, {}, id="another type"),
            pytest.param({"kid": str(UNKNOWN_ID)}, {}, id="unknown kid"),
            pytest.param({"kid": "../../etc/passwd"}, {}, id="a path for a kid"),
        ],
    )
    def test_signed_by_the_service_itself(
        self,
        base_url: str,
        key: tuple[str, Ed25519PrivateKey],
        claims: dict[str, Any],
        headers: dict[str, str],
        changes: dict[str, Any],
    ) -> None:
        kid, private = key
        changed = {name: value for name, value in {**claims, **changes}.items() if value}
        head = {"typ": "at+jwt", "kid": kid, **headers}
        token = jwt.encode(changed, private, "EdDSA", headers=head)
        assert mismatches(send_to_all(base_url, STRICT, bearer(token)), bad) == []

    @pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA", "EdDSA of a sent key"])
    def test_signed_by_somebody_else(
        self,
        base_url: str,
        key: tuple[str, Ed25519PrivateKey],
        claims: dict[str, Any],
        algorithm: str,
    ) -> None:
        kid, private = key
        other = Ed25519PrivateKey.generate()
        head: dict[str, Any] = {"typ": "at+jwt", "kid": kid, "alg": algorithm.split(maxsplit=1)[0]}
        if "sent" in algorithm:
            raw = other.public_key().public_bytes_raw()
            x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
            head["jwk"] = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid}
        signed = f"{encoded(head)}.{encoded(claims)}".encode()
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        signatures = {"none": b"", "HS256": hmac.digest(public, signed, "sha256")}
        signature = signatures.get(algorithm, other.sign(signed))
        text = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        token = f"{signed.decode()}.{text}"
        assert mismatches(send_to_all(base_url, STRICT, bearer(token)), bad) == []
