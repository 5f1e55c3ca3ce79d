"""API keys: secrets for scripts, with at most their owner's scopes."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session, joinedload

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import ApiKey
from circdesk.auth.problems import (
    CredentialsExpired,
    CredentialsInvalid,
    CredentialsRevoked,
    challenge,
    scope_missing,
)
from circdesk.auth.revocations import ended_key, is_revoked, revoke
from circdesk.auth.scopes import granted, raise_if_beyond
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.versions import raise_if_modified, show_version
from circdesk.visits import Caller, current_caller, current_user_id

JSON = dict[str, Any]

SECRET_PREFIX = "cdk_"  # noqa: S105 - it only tells what follows.
# So many characters of a secret are shown, for its owner to recognise it.
VISIBLE = 12

_MOST = 100
_LONGEST = timedelta(days=366)
# For so long a script whose key was taken back is told so, instead of that there is no such key.
_REVOKED_IS_KNOWN = timedelta(days=30)


class TooManyApiKeys(Problem):
    """One person has as many keys as anybody may have."""

    code = "too_many_api_keys"
    status = 409
    title = "There are too many API keys."
    advice = "Revoke a key that is not used any more; `list_api_keys` tells when each was used."


class ExpiryImpossible(Problem):
    """A key would have expired before it is made, or live for longer than keys do."""

    code = "expiry_impossible"
    status = 422
    title = "The key cannot expire then."
    advice = "Choose a time in the future, at most 366 days ahead, or none."


def list_api_keys(session: Session, query: PageQuery) -> Page:
    """One page of the caller's own keys."""
    return paginate(
        session,
        select(ApiKey).where(ApiKey.user_id == current_user_id()),
        sorts={"created_at": (ApiKey.created_at,)},
        query=query,
        present=_present_row,
        scope="list_api_keys",
    )


def create_api_key(session: Session, content: JSON) -> JSON:
    """Make a key, and tell its secret, this once.

    Raises:
        ScopeNotGranted: A scope is none of the caller's own.
        ExpiryImpossible: It would expire in the past, or too late.
        TooManyApiKeys: The caller has as many as anybody may have.
    """
    raise_if_beyond(content["scopes"], current_caller().scopes)
    _raise_if_impossible(content["expires_at"])
    user_id = current_user_id()
    _raise_if_too_many(session, user_id)
    key = ApiKey(user_id=user_id, name=content["name"], expires_at=content["expires_at"])
    key.scopes = sorted(content["scopes"])
    secret = _renew_secret(key)
    session.add(key)
    session.flush()
    record(session, "api_key.create", "api_key", key.id, scopes=key.scopes)
    return present(key) | {"secret": secret}


def read_api_key(session: Session, key_id: UUID) -> JSON:
    """One of the caller's own keys. Raises NotFound."""
    key = _find(session, key_id)
    show_version(session, key)
    return present(key)


def patch_api_key(session: Session, key_id: UUID, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396). Raises NotFound and PreconditionFailed."""
    key = _find(session, key_id, changing=True)
    key.name = changes.get("name", key.name)
    session.flush()
    record(session, "api_key.update", "api_key", key_id, changed=sorted(changes))
    return present(key)


def revoke_api_key(session: Session, key_id: UUID) -> None:
    """End a key. Raises NotFound and PreconditionFailed."""
    key = _find(session, key_id, changing=True)
    session.delete(key)
    _remember_end(session, key.secret_hash, key.previous_hash)
    record(session, "api_key.revoke", "api_key", key_id)


def rotate_api_key(session: Session, key_id: UUID, overlap_seconds: int) -> JSON:
    """Give a key a new secret, which is told this once; the old one is good for a while longer.

    Raises:
        NotFound: The caller has no such key.
        ScopeMissing: It has more scopes than the caller, who would get them by its secret.
    """
    key = _find(session, key_id, changing=True)
    _raise_if_stronger(key)
    overlap = timedelta(seconds=overlap_seconds)
    _remember_end(session, key.previous_hash, None if overlap else key.secret_hash)
    key.previous_hash = key.secret_hash if overlap else None
    key.previous_expires_at = clock.now() + overlap if overlap else None
    secret = _renew_secret(key)
    session.flush()
    record(session, "api_key.rotate", "api_key", key_id, overlap_seconds=overlap_seconds)
    return present(key) | {"secret": secret}


def present(key: ApiKey) -> JSON:
    """A key as the contract shows it."""
    overlap_ends = key.previous_expires_at
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
        "last_used_at": key.last_used_at,
        "old_secret_expires_at": None if _is_over(overlap_ends) else overlap_ends,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }


def find_by_secret(session: Session, secret: str, *, basic: bool = False) -> Caller:
    """Who calls with this key.

    Raises:
        CredentialsInvalid: There is no such key, or its owner may not sign in.
        CredentialsRevoked: There was one, which only those can tell who have its secret.
        CredentialsExpired: The key was good once, or its secret was before a rotation.
    """
    hashed = hash_secret(secret)
    found = select(ApiKey).where(or_(ApiKey.secret_hash == hashed, ApiKey.previous_hash == hashed))
    key = session.scalars(found.options(joinedload(ApiKey.user))).one_or_none()
    offer = challenge(["Basic" if basic else "ApiKey"], basic=basic)
    if key is None and is_revoked(session, ended_key(hashed)):
        raise CredentialsRevoked("The API key was revoked.", headers=offer)
    if key is None or key.user.status != "active":
        raise CredentialsInvalid("The API key is not valid.", headers=offer)
    old = hashed == key.previous_hash
    if _is_over(key.expires_at) or (old and _is_over(key.previous_expires_at)):
        raise CredentialsExpired("The API key has expired.", headers=offer)
    return Caller(
        scopes=granted(key.user.role, key.scopes),
        credential="api_key",
        credential_id=key.id,
        user_id=key.user_id,
        role=key.user.role,
    )


def find_by_id_and_secret(session: Session, key_id: str, secret: str) -> Caller:
    """Who calls with the id and the secret of a key by HTTP Basic. Raises as `find_by_secret`."""
    caller = find_by_secret(session, secret, basic=True)
    if not _is_id(key_id, caller.credential_id):
        offer = challenge(["Basic"], basic=True)
        raise CredentialsInvalid("The API key is not valid.", headers=offer)
    return caller


def _present_row(row: Row[*tuple[Any, ...]]) -> JSON:
    return present(row[0])


def _find(session: Session, key_id: UUID, *, changing: bool = False) -> ApiKey:
    """One of the caller's own keys; those of others are none.

    With `changing` it is locked, and of a version that the caller knows.
    """
    lock = {"key_share": True} if changing else None
    key = session.get(ApiKey, key_id, with_for_update=lock)
    if key is None or key.user_id != current_user_id():
        raise NotFound(f"No API key has the id {key_id}.")
    if changing:
        raise_if_modified(session, key)
    return key


def _renew_secret(key: ApiKey) -> str:
    secret = new_secret(SECRET_PREFIX)
    key.prefix, key.secret_hash = secret[:VISIBLE], hash_secret(secret)
    return secret


def _remember_end(session: Session, *hashes: str | None) -> None:
    """Let those who have these secrets be told that they were taken back, and forget who they are.

    A rotation without overlap takes the old secret back as well.
    """
    forget_after_commit(session)
    for secret_hash in filter(None, hashes):
        revoke(session, ended_key(secret_hash), clock.now() + _REVOKED_IS_KNOWN)


def _raise_if_impossible(expires_at: datetime | None) -> None:
    now = clock.now()
    if expires_at is not None and not now < expires_at <= now + _LONGEST:
        message = f"A key expires in the future, at most {_LONGEST.days} days ahead, or never."
        raise ExpiryImpossible(message, details=[fault("body", "/expires_at", "expiry", message)])


def _raise_if_too_many(session: Session, user_id: UUID) -> None:
    # Two requests at once would count the same keys; the second one waits for the first.
    session.execute(select(User.id).where(User.id == user_id).with_for_update())
    count = select(func.count()).select_from(ApiKey).where(ApiKey.user_id == user_id)
    if session.scalars(count).one() >= _MOST:
        raise TooManyApiKeys(f"Nobody has more than {_MOST} API keys.")


def _raise_if_stronger(key: ApiKey) -> None:
    missing = sorted(set(key.scopes) - current_caller().scopes)
    if missing:
        raise scope_missing(missing)


def _is_over(moment: datetime | None) -> bool:
    return moment is not None and moment <= clock.now()


def _is_id(text: str, key_id: UUID) -> bool:
    try:
        return UUID(text) == key_id
    except ValueError:
        return False
