"""Exports: all data held on a person (GDPR, article 15)."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.sql.base import ExecutableOption

from circdesk.accounts.access import is_visible_to, raise_unless_member
from circdesk.accounts.contents import present
from circdesk.accounts.users import find_user
from circdesk.audit import log
from circdesk.audit.entries import record
from circdesk.audit.models import AuditEntry
from circdesk.auth import api_keys, consents, sessions
from circdesk.auth.models import ApiKey, Consent, Grant, WebSession
from circdesk.circulation.exports import export_desk
from circdesk.db.unit_of_work import unit_of_work_before
from circdesk.visits import Caller

JSON = dict[str, Any]
Owned = TypeVar("Owned", WebSession, ApiKey, Consent, Grant)

# Of each kind an export has the newest, as many as the contract says.
_MOST = 10_000


def export_user(session: Session, caller: Caller, key: str) -> JSON:
    """All data held on a user; secrets are held as hashes alone, and are not among it.

    Args:
        session: A unit of work that has not touched the database yet.
        caller: Who asks.
        key: The user's id, or `card:` and the card's number.

    Raises:
        NotFound: There is no such user, or the caller may not see it: the same for both.
        ScopeMissing: It is somebody else, whose role is above a member's.
    """
    with unit_of_work_before(session, writing=True) as before:
        user = find_user(before, key, is_visible_to(caller))
        if user.id != caller.user_id:
            raise_unless_member(caller, user.role)
        record(before, "user.export", "user", user.id)
    return {
        "user": present(user),
        "sessions": [sessions.present_entry(row) for row in _own(session, WebSession, user.id)],
        "api_keys": [api_keys.present(row) for row in _own(session, ApiKey, user.id)],
        "consents": [
            consents.present(row)
            for row in _own(session, Consent, user.id, joinedload(Consent.client))
        ],
        "grants": [
            _present_grant(row) for row in _own(session, Grant, user.id, joinedload(Grant.client))
        ],
        **export_desk(session, caller, user.id, _MOST),
        "audit_entries": [_present_entry(row, user.id) for row in _entries(session, user.id)],
    }


def _own(
    session: Session, kind: type[Owned], user_id: UUID, *options: ExecutableOption
) -> Sequence[Owned]:
    own = select(kind).where(kind.user_id == user_id).options(*options)
    return session.scalars(own.order_by(kind.id.desc()).limit(_MOST)).all()


def _entries(session: Session, user_id: UUID) -> Sequence[AuditEntry]:
    """What the audit log tells of what the user did, and of what others did to the user."""
    about = or_(AuditEntry.actor_id == user_id, AuditEntry.target_id == user_id)
    return session.scalars(
        select(AuditEntry).where(about).order_by(AuditEntry.id.desc()).limit(_MOST)
    ).all()


def _present_entry(entry: AuditEntry, user_id: UUID) -> JSON:
    """An entry; where somebody else was is no business of the user's."""
    shown = log.present(entry)
    return shown if entry.actor_id == user_id else {**shown, "address": None}


def _present_grant(grant: Grant) -> JSON:
    return {
        "id": grant.id,
        "client": {"id": grant.client_id, "name": grant.client.name},
        "scopes": grant.scopes,
        "resource": grant.resource,
        "created_at": grant.created_at,
        "expires_at": grant.expires_at,
        "revoked_at": grant.revoked_at,
    }
