"""Signing keys: Ed25519 key pairs (RFC 8037) that sign access tokens.

One key signs at a time. A key that was replaced verifies what it has signed until the last of it
has expired; its private half is gone at once. Private halves are stored encrypted.
"""

import base64
from functools import lru_cache
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import SecretStr
from sqlalchemy import Row, or_, select, text, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.audit.entries import record
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import SigningKey
from circdesk.auth.revocations import last_expiry
from circdesk.auth.sealing import SealBroken, Sealer
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.settings import SettingsError, variable

JSON = dict[str, Any]

ALGORITHM = "EdDSA"
_PURPOSE = "circdesk signing keys"
# Asked for each token, so it is made once, and of plain columns.
_KEYS = SigningKey.__table__.c
_CURRENT = select(_KEYS.id, _KEYS.private_key).where(_KEYS.retired_at.is_(None))


def create_signing_key(session: Session, encryption_key: SecretStr) -> JSON:
    """Make the key that signs from now on; the one before it only verifies what it has signed."""
    _wait_for_others(session)
    retired = {"retired_at": clock.now(), "verifies_until": last_expiry(), "private_key": None}
    session.execute(update(SigningKey).where(SigningKey.retired_at.is_(None)).values(retired))
    return present(_add_key(session, encryption_key, cause="rotation"))


def list_signing_keys(session: Session, query: PageQuery) -> Page:
    """One page of the keys that are not forgotten yet, without their private halves."""
    return paginate(
        session,
        select(SigningKey),
        sorts={"created_at": (SigningKey.created_at,)},
        query=query,
        present=_present_row,
    )


def find_signer(session: Session, encryption_key: SecretStr) -> tuple[str, Ed25519PrivateKey]:
    """The key that signs now, with its `kid`; the first one is made where there is none.

    Raises:
        SettingsError: It was encrypted with another key than the one that is set.
    """
    current = session.execute(_CURRENT).one_or_none() or _first(session, encryption_key)
    return str(current.id), _decrypt(current.id, current.private_key, encryption_key)


def verifying_jwks(session: Session) -> list[JSON]:
    """The public halves (RFC 7517) of the keys that verify tokens now, the signing one first."""
    lives = or_(SigningKey.verifies_until.is_(None), SigningKey.verifies_until > clock.now())
    found = select(SigningKey.public_jwk).where(lives).order_by(SigningKey.id.desc())
    return list(session.scalars(found))


def public_key(jwk: JSON) -> Ed25519PublicKey:
    """The key that a public JWK of ours describes."""
    return Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(jwk["x"] + "="))


def present(key: SigningKey) -> JSON:
    """A key as the contract shows it."""
    return {
        "id": key.id,
        "alg": key.algorithm,
        "public_jwk": key.public_jwk,
        "created_at": key.created_at,
        "retired_at": key.retired_at,
        "verifies_until": key.verifies_until,
    }


def _present_row(row: Row[*tuple[Any, ...]]) -> JSON:
    return present(row[0])


def _first(session: Session, encryption_key: SecretStr) -> Row[*tuple[Any, ...]]:
    """The key that signs, made here unless another transaction has been faster."""
    _wait_for_others(session)
    if session.execute(_CURRENT).one_or_none() is None:
        _add_key(session, encryption_key, cause="first_use")
    return session.execute(_CURRENT).one()


def _wait_for_others(session: Session) -> None:
    """Let one transaction at a time change the keys; SQLite has one writer in any case."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"))


def _add_key(session: Session, encryption_key: SecretStr, *, cause: str) -> SigningKey:
    key_id, private = uuid7(), Ed25519PrivateKey.generate()
    key = SigningKey(
        id=key_id,
        algorithm=ALGORITHM,
        public_jwk=_jwk(key_id, private.public_key()),
        private_key=_encrypt(private, key_id, encryption_key),
        created_at=clock.now(),
    )
    session.add(key)
    session.flush()
    record(session, "signing_key.create", "signing_key", key_id, cause=cause)
    forget_after_commit(session)
    return key


def _jwk(key_id: UUID, public: Ed25519PublicKey) -> JSON:
    x = base64.urlsafe_b64encode(public.public_bytes_raw()).rstrip(b"=").decode()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": x,
        "kid": str(key_id),
        "use": "sig",
        "alg": ALGORITHM,
    }


def _encrypt(private: Ed25519PrivateKey, key_id: UUID, encryption_key: SecretStr) -> str:
    sealed = Sealer(encryption_key, _PURPOSE).seal(private.private_bytes_raw(), key_id.bytes)
    return base64.b64encode(sealed).decode()


@lru_cache(maxsize=4)
def _decrypt(key_id: UUID, private_key: str, encryption_key: SecretStr) -> Ed25519PrivateKey:
    sealed = base64.b64decode(private_key)
    try:
        raw = Sealer(encryption_key, _PURPOSE).unseal(sealed, key_id.bytes)
    except SealBroken:
        raise SettingsError(
            f"{variable('encryption_key')} is not the one with which the signing key was "
            "encrypted; set that one, or run `circdesk keys rotate`"
        ) from None
    return Ed25519PrivateKey.from_private_bytes(raw)
