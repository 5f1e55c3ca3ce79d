"""Grants: what a user allowed a client at one sign-in, and the end of it (RFC 9700, 4.14)."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.models import Grant
from circdesk.auth.oauth.clients import Client
from circdesk.auth.revocations import revoke

# However often it is refreshed, a grant ends; then the user signs in again.
GRANT_LIFETIME = timedelta(days=30)


def begin_grant(
    session: Session, user: User, client: Client, scopes: Collection[str], resource: str
) -> Grant:
    """Store what a user allows a client."""
    grant = Grant(
        id=uuid7(),
        user_id=user.id,
        client_id=client.id,
        scopes=sorted(scopes),
        resource=resource,
        expires_at=clock.now() + GRANT_LIFETIME,
    )
    session.add(grant)
    record(
        session,
        "grant.create",
        "grant",
        grant.id,
        user_id=user.id,
        client_id=str(client.id),
        scopes=grant.scopes,
    )
    return grant


def end_grant(session: Session, grant_id: UUID, *, client_id: UUID, reason: str) -> None:
    """End a grant with all its codes and tokens; one that has ended stays as it is.

    Args:
        session: The unit of work.
        grant_id: The grant.
        client_id: The client that brought it about, by its doing or its fault.
        reason: Why, for the audit log: a word such as `code_replayed`.
    """
    ended = session.execute(
        update(Grant)
        .where(Grant.id == grant_id, Grant.revoked_at.is_(None))
        .values(revoked_at=clock.now())
        .returning(Grant.id)
    )
    if ended.scalar_one_or_none() is None:
        return
    revoke(session, grant_id)
    record(session, "grant.revoke", "grant", grant_id, acting_client=client_id, reason=reason)
