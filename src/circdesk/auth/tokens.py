"""Access tokens (RFC 9068): signed JWTs, verified by CPU alone.

They are held against the process's own copy of keys and revocations, never against the database.
"""

import asyncio
import base64
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.memory import Memory, remember_after_commit
from circdesk.auth.problems import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsMalformed,
    CredentialsRevoked,
    bearer_error,
)
from circdesk.auth.process_copy import ProcessCopy, Snapshot, read_snapshot
from circdesk.auth.revocations import ACCESS_TOKEN_LIFETIME
from circdesk.auth.signing_keys import ALGORITHM, find_signer
from circdesk.contract.problems import Problem
from circdesk.db.unit_of_work import Sessions
from circdesk.late import later
from circdesk.settings import Settings
from circdesk.visits import Caller

# None of our keys comes in a certificate.
with later("cryptography.x509"):
    import jwt

JSON = dict[str, Any]

# With the prefix or without it, as RFC 9068 (4) lets the type be written.
_TYPES = frozenset(("at+jwt", "application/at+jwt"))
_CLAIMS = ["iss", "aud", "exp", "iat", "sub", "jti", "client_id", "scope"]
# Seconds by which the clocks of two of our processes may differ.
_LEEWAY = 2
# Ours have less than 1,500 characters; a longer one is not worth reading.
_LONGEST = 8192
_MOST_REMEMBERED = 10_000
# Seconds in which all unknown keys share one look at the database.
_PAUSE = 0.1
# For as long a key that was just replaced may go on signing; what it signs can be verified.
_SECONDS_A_SIGNER_IS_REMEMBERED = 1.0


@dataclass(frozen=True, slots=True)
class _Verified:
    """A good token: who calls with it, until when, and what ends it earlier."""

    caller: Caller
    kid: str
    expires_at: float
    subjects: frozenset[str]


class AccessTokens:
    """Issues and verifies access tokens.

    Args:
        sessions: Where keys and revocations are read.
        settings: They name the issuer, `public_url`.
    """

    def __init__(self, sessions: Sessions, settings: Settings) -> None:
        self._settings = settings
        self._issuer = settings.public_url or ""
        self.resource = api_resource(settings)
        self._copy = ProcessCopy(sessions)
        # What is revoked is looked up in the copy each time, so nothing here grows stale.
        self._verified: dict[str, _Verified] = {}
        self._signers: Memory[tuple[str, Ed25519PrivateKey]] = Memory(
            _SECONDS_A_SIGNER_IS_REMEMBERED
        )

    def close(self) -> None:
        """Free the thread."""
        self._copy.close()

    def issue(
        self,
        session: Session,
        *,
        subject: UUID,
        client_id: UUID,
        scopes: Collection[str],
        resource: str,
        grant_id: UUID | None,
    ) -> tuple[str, int]:
        """An access token, and in how many seconds it expires.

        Args:
            session: A writing unit of work, in which the first signing key is made.
            subject: The user, or the client itself where it acts for itself.
            client_id: The client.
            scopes: What the token may do; nobody narrows them any further.
            resource: The audience, `resource` of this very object for our own API (RFC 8707).
            grant_id: What the user granted; the token ends with it.
        """
        kid, key = self._signer(session)
        now = int(clock.now().timestamp())
        lifetime = int(ACCESS_TOKEN_LIFETIME.total_seconds())
        claims: JSON = {
            "iss": self._issuer,
            "aud": resource,
            "sub": str(subject),
            "client_id": str(client_id),
            "iat": now,
            "exp": now + lifetime,
            "jti": str(uuid4()),
            "scope": " ".join(sorted(scopes)),
        }
        if grant_id is not None:
            user = session.get_one(User, subject)
            claims |= {"grant_id": str(grant_id), "roles": [user.role]}
        return _sign(claims, kid, key), lifetime

    async def verify(self, token: str) -> Caller:
        """Who calls with this access token.

        Raises:
            CredentialsMalformed: It is no JWT.
            CredentialsExpired: It was good once.
            CredentialsRevoked: It was taken back, or its grant, or its client.
            CredentialsInvalid: It is not ours, or not for us.
            DatabaseUnavailable: Nobody can tell, because the copy is too old.
        """
        known = await self._copy.recent()
        verified = self._verified.get(token)
        if verified is None or verified.kid not in known.keys:
            known, verified = await self._verify(token, known)
        if verified.expires_at <= clock.now().timestamp():
            raise _refusal(CredentialsExpired, "The access token has expired.")
        if not known.revoked.isdisjoint(verified.subjects):
            raise _refusal(CredentialsRevoked, "The access token was revoked.")
        return verified.caller

    def read(self, session: Session, token: str) -> JSON:
        """The claims of a good access token, by what the database says now. Raises as `verify`."""
        known = read_snapshot(session, time.monotonic())
        claims = self._read_claims(token, known.keys.get(_read_kid(token)))
        if not known.revoked.isdisjoint(_subjects(claims)):
            raise _refusal(CredentialsRevoked, "The access token was revoked.")
        return claims

    def _signer(self, session: Session) -> tuple[str, Ed25519PrivateKey]:
        signer = self._signers.get(None)
        if signer is None:
            asked_at = time.monotonic()
            signer = find_signer(session, self._settings.encryption_key)
            # The session may have made the key itself, and may yet be rolled back.
            remember_after_commit(session, self._signers, None, signer, asked_at=asked_at)
        return signer

    async def _verify(self, token: str, known: Snapshot) -> tuple[Snapshot, _Verified]:
        kid = _read_kid(token)
        if kid not in known.keys:
            # Another process may just have made the key. Callers that make one up all wait for
            # one look, so that they cannot have the database asked as often as they like.
            began = time.monotonic()
            await asyncio.sleep(_PAUSE)
            known = await self._copy.asked_since(began)
        claims = self._read_claims(token, known.keys.get(kid))
        until = int(claims["exp"]) + _LEEWAY
        verified = _Verified(_caller(claims), kid, until, _subjects(claims))
        if len(self._verified) >= _MOST_REMEMBERED:
            self._verified.clear()
        self._verified[token] = verified
        return known, verified

    def _read_claims(self, token: str, key: Ed25519PublicKey | None) -> JSON:
        """The claims of a token that this key has signed, and that is good but for revocations."""
        if key is None:
            raise _refusal(CredentialsInvalid, "The access token names no key of ours.")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self.resource,
                issuer=self._issuer,
                leeway=_LEEWAY,
                # One audience alone: what is also meant for others could be used here by them.
                # That it was signed in the future says only that clocks differ, or that ours was
                # set back; who could not be verified could not be revoked.
                options={"require": _CLAIMS, "strict_aud": True, "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise _refusal(CredentialsExpired, "The access token has expired.") from None
        except jwt.InvalidAudienceError:
            raise _refusal(CredentialsInvalid, "The access token is not for this API.") from None
        except jwt.InvalidTokenError:
            raise _refusal(CredentialsInvalid, "The access token is not valid.") from None


def api_resource(settings: Settings) -> str:
    """The resource that access tokens of our own API are for (RFC 8707)."""
    return f"{settings.public_url}/api"


def _sign(claims: JSON, kid: str, key: Ed25519PrivateKey) -> str:
    """A JWS in its compact form (RFC 7515, 7.1).

    PyJWT would look for every token at the key and the head anew, which takes as long as to sign.
    """
    head = {"alg": ALGORITHM, "kid": kid, "typ": "at+jwt"}
    signed = b".".join(_base64url(orjson.dumps(part)) for part in (head, claims))
    return b".".join((signed, _base64url(key.sign(signed)))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _read_kid(token: str) -> str:
    """The `kid` of a token whose head is such as ours have.

    Whatever else a head may say of keys (`jku`, `jwk`, `x5u`, `x5c`) is never looked at.
    """
    if len(token) > _LONGEST:
        raise _refusal(CredentialsMalformed, "The access token is too long to be one.")
    try:
        header = jwt.get_unverified_header(token)
    except jwt.DecodeError:
        raise _refusal(CredentialsMalformed, "The access token is no JWT.") from None
    except jwt.InvalidTokenError:
        raise _refusal(CredentialsInvalid, "The access token is not valid.") from None
    if str(header.get("typ")).lower() not in _TYPES or header.get("alg") != ALGORITHM:
        raise _refusal(CredentialsInvalid, "The JWT is no access token of ours.")
    return str(header.get("kid"))


def _caller(claims: JSON) -> Caller:
    subject, client_id = UUID(claims["sub"]), UUID(claims["client_id"])
    is_user = subject != client_id
    return Caller(
        scopes=frozenset(claims["scope"].split()),
        credential="bearer",
        credential_id=UUID(claims["jti"]),
        user_id=subject if is_user else None,
        role=claims.get("roles", [None])[0],
        client_id=client_id,
    )


def _subjects(claims: JSON) -> frozenset[str]:
    """What ends the token when it is revoked."""
    named = (claims.get(name) for name in ("jti", "grant_id", "client_id"))
    return frozenset(subject for subject in named if subject is not None)


def _refusal(problem: type[Problem], message: str) -> Problem:
    return problem(message, headers=bearer_error("invalid_token", message))
