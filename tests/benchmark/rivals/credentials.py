"""Who is calling: an access token of ours, an Ed25519 JWT (RFC 9068), verified with PyJWT."""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import jwt

from rivals import config

_KEY = jwt.PyJWK.from_json(config.PUBLIC_KEY)
_CLAIMS = ["iss", "aud", "exp", "iat", "sub", "jti", "client_id", "scope"]
_NEEDED = "circulation:write"

_remembered: dict[str, tuple[float, "Actor"]] = {}


class Refused(Exception):
    """The token is not good for this."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user, or a client for itself."""

    kind: str
    id: UUID


def verify(token: str) -> Actor:
    """Who acts with this token; verified each time, as PyJWT's documentation shows."""
    return _actor(_claims(token))


def verify_once(token: str) -> Actor:
    """The same, but a token that was good is remembered until it expires, as Circdesk does."""
    expires_at, actor = _remembered.get(token) or (0.0, None)
    if actor is None or expires_at <= time.time():
        claims = _claims(token)
        actor = _actor(claims)
        _remembered[token] = (claims["exp"], actor)
    return actor


def bearer_of(header: str | None) -> str:
    """The token in an Authorization header. Raises Refused."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer":
        raise Refused("no bearer token")
    return token


def _claims(token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            _KEY,
            algorithms=["EdDSA"],
            audience=config.AUDIENCE,
            issuer=config.ISSUER,
            options={"require": _CLAIMS},
        )
    except jwt.InvalidTokenError as error:
        raise Refused(str(error)) from error
    if _NEEDED not in claims["scope"].split():
        raise Refused("the scope is missing")
    return claims


def _actor(claims: dict[str, Any]) -> Actor:
    kind = "client" if claims["sub"] == claims["client_id"] else "user"
    return Actor(kind, UUID(claims["sub"]))
