"""The demo's people, API keys and clients, with secrets that each instance has for itself."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.audit.demo import seed_audit_log
from circdesk.auth.api_keys import SECRET_PREFIX, VISIBLE
from circdesk.auth.models import ApiKey, OAuthClient
from circdesk.auth.passwords import hashing
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret, new_secret
from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.catalog.models import Branch
from circdesk.db.text import sort_key

LOOPBACK_REDIRECT = "http://127.0.0.1/callback"
CONFIDENTIAL_CLIENT_ID = demo_id(Kind.CLIENT, 1)
PUBLIC_CLIENT_ID = demo_id(Kind.CLIENT, 2)

_TIMES = {"created_at": MOMENT, "updated_at": MOMENT}
# People's own credentials are no business of a machine.
_MACHINE_SCOPES = ROLE_SCOPES["admin"] - {"credentials:read", "credentials:write"}


# A password and its hash, by role.
Passwords = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class DemoPerson:
    """A user of the demo: one for each role."""

    number: int
    role: str
    name: str
    email: str
    card_number: str

    @property
    def id(self) -> UUID:
        """The user's id, the same in every demo."""
        return demo_id(Kind.USER, self.number)


PEOPLE = (
    DemoPerson(1, "member", "Ada Reader", "reader@example.org", "20001"),
    DemoPerson(2, "librarian", "Ben Librarian", "librarian@example.org", "20002"),
    DemoPerson(3, "admin", "Cora Admin", "admin@example.org", "20003"),
)


@dataclass(frozen=True, slots=True)
class DemoSecrets:
    """What proves who the demo's users and clients are; passwords and keys stand by role."""

    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    client_secret: str | None = field(default=None, repr=False)


def choose_passwords(session: Session, kept: DemoSecrets) -> Passwords:
    """A password and its hash for each role: what was kept, where it still is the right one."""
    chosen = {}
    for person in PEOPLE:
        user, password = session.get(User, person.id), kept.passwords.get(person.role)
        chosen[person.role] = _choose_password(user.password_hash if user else None, password)
    return chosen


def seed_access(
    session: Session, kept: DemoSecrets, public_url: str, passwords: Passwords | None = None
) -> DemoSecrets:
    """Store the demo's people, keys and clients, and return their secrets.

    Those secrets that were kept from an earlier start and still are the right ones stay as they
    are; each of the others is made anew. Who people are and what they may do is set again, so
    that the demo is the same after each start; what they have made besides stays.

    Args:
        session: A writing unit of work.
        kept: The secrets of an earlier start.
        passwords: From `choose_passwords`, for whoever must not hash while the session locks.
        public_url: Where Swagger UI stands, which the public client returns to.
    """
    branch_id = session.scalar(select(Branch.id).where(Branch.code == "central"))
    passwords, api_keys = passwords or choose_passwords(session, kept), {}
    for person in PEOPLE:
        user = _user(session, person, branch_id)
        hashed = passwords[person.role][1]
        if user.password_hash != hashed:
            user.password_hash, user.password_changed_at = hashed, MOMENT
        session.flush()
        api_keys[person.role] = _api_key(session, person, kept.api_keys.get(person.role))
    client_secret = _confidential_client(session, kept.client_secret)
    _public_client(session, f"{public_url}/docs/oauth2-redirect.html")
    seed_audit_log(session)
    session.flush()
    return DemoSecrets(
        {role: told for role, (told, _) in passwords.items()}, api_keys, client_secret
    )


def _user(session: Session, person: DemoPerson, branch_id: UUID | None) -> User:
    user = session.get(User, person.id) or User(id=person.id, branch_id=branch_id, **_TIMES)
    session.add(user)
    user.name, user.sort_name = person.name, sort_key(person.name)
    user.email, user.card_number = person.email, person.card_number
    user.role, user.status, user.anonymised_at = person.role, "active", None
    return user


def _choose_password(stored: str | None, kept: str | None) -> tuple[str, str]:
    with hashing() as hasher:
        if stored and kept and hasher.verify(stored, kept):
            return kept, stored
        password = secrets.token_urlsafe(15)
        return password, hasher.hash(password)


def _api_key(session: Session, person: DemoPerson, kept: str | None) -> str:
    key_id = demo_id(Kind.API_KEY, person.number)
    key = session.get(ApiKey, key_id) or ApiKey(id=key_id, name="Demo", **_TIMES)
    session.add(key)
    key.user_id, key.scopes, key.expires_at = person.id, sorted(ROLE_SCOPES[person.role]), None
    if kept is not None and key.secret_hash == hash_secret(kept):
        return kept
    # What is visible of it is the same in every demo; the rest still has 210 random bits.
    visible = f"{SECRET_PREFIX}demo{person.number:04}"
    secret = visible + new_secret(SECRET_PREFIX)[VISIBLE:]
    key.prefix, key.secret_hash = visible, hash_secret(secret)
    key.previous_hash = key.previous_expires_at = None
    return secret


def _confidential_client(session: Session, kept: str | None) -> str:
    client = _client(
        session,
        CONFIDENTIAL_CLIENT_ID,
        name="Demo service",
        type="confidential",
        grant_types=["authorization_code", "client_credentials", "refresh_token"],
        redirect_uris=[LOOPBACK_REDIRECT],
        scopes=sorted(_MACHINE_SCOPES),
    )
    if kept is not None and client.secret_hash == hash_secret(kept):
        return kept
    secret = new_secret()
    client.secret_hash = hash_secret(secret)
    return secret


def _public_client(session: Session, swagger_redirect: str) -> None:
    client = _client(
        session,
        PUBLIC_CLIENT_ID,
        name="Swagger UI",
        type="public",
        grant_types=["authorization_code", "refresh_token"],
        redirect_uris=[swagger_redirect, LOOPBACK_REDIRECT],
        scopes=sorted(ROLE_SCOPES["admin"]),
    )
    client.secret_hash = None


def _client(session: Session, client_id: UUID, **values: Any) -> OAuthClient:
    client = session.get(OAuthClient, client_id) or OAuthClient(id=client_id, **_TIMES)
    session.add(client)
    for name, value in values.items():
        setattr(client, name, value)
    return client
