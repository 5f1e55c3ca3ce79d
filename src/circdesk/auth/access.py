"""Access as a whole: what ends it for an account, on every way that it came in."""

from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import Grant, PasswordReset, WebSession
from circdesk.auth.revocations import revoke


def end_access(session: Session, user_id: UUID, *, keep_session: UUID | None = None) -> None:
    """Sign the account out everywhere: web sessions, resets of its password, and OAuth grants.

    API keys stay, which ask for the account's status and role at each use.

    Args:
        session: The unit of work of whatever makes this necessary.
        user_id: The account.
        keep_session: The one web session that goes on.
    """
    # Whoever signs in holds this row too, so that no session slips in between.
    session.execute(select(User.id).where(User.id == user_id).with_for_update())
    web_sessions = delete(WebSession).where(WebSession.user_id == user_id)
    if keep_session is not None:
        web_sessions = web_sessions.where(WebSession.id != keep_session)
    session.execute(web_sessions)
    session.execute(delete(PasswordReset).where(PasswordReset.user_id == user_id))
    end_grants(session, Grant.user_id == user_id)
    forget_after_commit(session)


def end_grants(session: Session, *which: ColumnElement[bool]) -> None:
    """End these grants with all their codes and tokens."""
    revoked = (
        update(Grant)
        .where(Grant.revoked_at.is_(None), *which)
        .values(revoked_at=clock.now())
        .returning(Grant.id)
    )
    for grant_id in session.scalars(revoked).all():
        revoke(session, grant_id)
