"""Access tokens for tests: good ones, and ones that are wrong in one way each."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from circdesk.auth.models import Revocation
from circdesk.auth.revocations import last_expiry
from circdesk.auth.signing_keys import find_signer
from circdesk.db.unit_of_work import Sessions, unit_of_work

JSON = dict[str, Any]

CLIENT_ID = UUID("019b8d2b-8c00-7200-8000-000000000001")


@dataclass(frozen=True)
class Mint:
    """Makes tokens with the very key of a service, which no caller has.

    Args:
        sessions: The database of the service.
        issuer: The public URL of the service.
        encryption_key: That of the service.
    """

    sessions: Sessions
    issuer: str
    encryption_key: SecretStr

    def signer(self) -> tuple[str, Ed25519PrivateKey]:
        """The key that signs now, with its id."""
        with unit_of_work(self.sessions, writing=True) as session:
            return find_signer(session, self.encryption_key)

    def claims(self, **changes: Any) -> JSON:
        """The claims of a good token of a client that acts for itself; None leaves a claim out."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": f"{self.issuer}/api",
            "sub": str(CLIENT_ID),
            "client_id": str(CLIENT_ID),
            "iat": now,
            "exp": now + 600,
            "jti": str(uuid4()),
            "scope": "clients:read",
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, head: Mapping[str, Any] | None = None, /, **changes: Any) -> str:
        """A token that is good but for these changes of its head and its claims."""
        kid, key = self.signer()
        headers = {"typ": "at+jwt", "kid": kid, **(head or {})}
        return jwt.encode(self.claims(**changes), key, algorithm="EdDSA", headers=headers)

    def for_user(self, user_id: UUID, role: str, scope: str, **changes: Any) -> str:
        """A token of a client that acts for a user."""
        of_user = {"sub": str(user_id), "roles": [role], "scope": scope, "grant_id": str(uuid4())}
        return self.token(**(of_user | changes))


def encode(part: object) -> str:
    """One part of a JWT."""
    content = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _unsigned(mint: Mint) -> str:
    head = {"typ": "at+jwt", "alg": "none", "kid": mint.signer()[0]}
    return f"{encode(head)}.{encode(mint.claims())}."


def _signed_with_public_key(mint: Mint, encoding: Encoding, form: PublicFormat) -> str:
    """HS256 with what everybody knows; PyJWT itself refuses to make such a token."""
    kid, key = mint.signer()
    secret = key.public_key().public_bytes(encoding, form)
    head = {"typ": "at+jwt", "alg": "HS256", "kid": kid}
    content = f"{encode(head)}.{encode(mint.claims())}"
    mac = HMAC(secret, SHA256())
    mac.update(content.encode())
    return f"{content}.{encode(mac.finalize())}"


def _stolen_head(mint: Mint) -> str:
    """Signed with a key of the caller's own, which the head brings along."""
    key = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().public_bytes_raw())}
    head = {"typ": "at+jwt", "kid": mint.signer()[0], "jwk": jwk, "jku": "https://evil.example/"}
    return jwt.encode(mint.claims(), key, algorithm="EdDSA", headers=head)


def _tampered(mint: Mint) -> str:
    head, _, signature = mint.token().split(".")
    return f"{head}.{encode(mint.claims(scope='clients:read clients:write'))}.{signature}"


def _revoked(mint: Mint, claim: str) -> str:
    subject = str(uuid4())
    with unit_of_work(mint.sessions, writing=True) as session:
        session.add(Revocation(subject=subject, expires_at=last_expiry()))
    own = {"sub": subject} if claim == "client_id" else {}
    return mint.token(**{claim: subject}, **own)


_VALID = "The access token is not valid."
_OURS = "The JWT is no access token of ours."
_KEY = "The access token names no key of ours."
_JWT = "The access token is no JWT."
_API = "The access token is not for this API."
_OVER = "The access token has expired."
_REVOKED = "The access token was revoked."

# Every way in which a token can be wrong: how it is made, and the code and the message it gets.
WRONG: dict[str, tuple[Callable[[Mint], str], str, str]] = {
    "expired": (
        lambda mint: mint.token(iat=int(time.time()) - 700, exp=int(time.time()) - 100),
        *("credentials_expired", _OVER),
    ),
    "revoked token": (lambda mint: _revoked(mint, "jti"), "credentials_revoked", _REVOKED),
    "revoked grant": (lambda mint: _revoked(mint, "grant_id"), "credentials_revoked", _REVOKED),
    "revoked client": (lambda mint: _revoked(mint, "client_id"), "credentials_revoked", _REVOKED),
    "wrong audience": (
        lambda mint: mint.token(aud="https://other.example/api"),
        *("credentials_invalid", _API),
    ),
    "several audiences": (
        lambda mint: mint.token(aud=[f"{mint.issuer}/api", "https://other.example/api"]),
        *("credentials_invalid", _API),
    ),
    "wrong issuer": (
        lambda mint: mint.token(iss="https://other.example"),
        *("credentials_invalid", _VALID),
    ),
    "alg none": (_unsigned, "credentials_invalid", _OURS),
    "HS256 with the public key as PEM": (
        lambda mint: _signed_with_public_key(mint, Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        *("credentials_invalid", _OURS),
    ),
    "HS256 with the public key as it is": (
        lambda mint: _signed_with_public_key(mint, Encoding.Raw, PublicFormat.Raw),
        *("credentials_invalid", _OURS),
    ),
    "unknown kid": (
        lambda mint: mint.token({"kid": str(uuid4())}),
        *("credentials_invalid", _KEY),
    ),
    "no kid": (
        lambda mint: jwt.encode(
            mint.claims(), mint.signer()[1], algorithm="EdDSA", headers={"typ": "at+jwt"}
        ),
        *("credentials_invalid", _KEY),
    ),
    "a kid that is no text": (
        lambda _mint: f"{encode({'typ': 'at+jwt', 'alg': 'EdDSA', 'kid': 1})}.{encode({})}.AAAA",
        *("credentials_invalid", _VALID),
    ),
    "a key in its own head": (_stolen_head, "credentials_invalid", _VALID),
    "no type": (lambda mint: mint.token({"typ": None}), "credentials_invalid", _OURS),
    "another type": (lambda mint: mint.token({"typ": "JWT"}), "credentials_invalid", _OURS),
    "good only later": (
        lambda mint: mint.token(nbf=int(time.time()) + 100),
        *("credentials_invalid", _VALID),
    ),
    "tampered": (_tampered, "credentials_invalid", _VALID),
    "cut short": (lambda mint: mint.token()[:-10], "credentials_invalid", _VALID),
    "no JWT": (lambda _mint: "abc", "credentials_malformed", _JWT),
    "nothing": (lambda _mint: "", "credentials_malformed", _JWT),
    "not base64url": (lambda _mint: "ä.ö.ü", "credentials_malformed", _JWT),
    "a head that is no object": (
        lambda _mint: f"{encode([])}.{encode({})}.AAAA",
        *("credentials_malformed", _JWT),
    ),
    "critical head that nobody knows": (
        lambda mint: mint.token({"crit": ["exp"], "exp": 1}),
        *("credentials_invalid", _VALID),
    ),
    **{
        f"no {claim}": (
            lambda mint, claim=claim: mint.token(**{claim: None}),  # type: ignore[misc]  # mypy knows no default here.
            "credentials_invalid",
            _VALID,
        )
        for claim in ("iss", "aud", "exp", "iat", "sub", "jti", "client_id", "scope")
    },
}
