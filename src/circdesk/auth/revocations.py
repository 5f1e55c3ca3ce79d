"""Revocations: access tokens that are refused before they expire.

An access token is verified without the database, so what ends one is told to every process: each
holds a copy of these rows, at most two seconds old. A row is needed for as long as a token that it
ends could be alive.
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.auth.memory import forget_after_commit
from circdesk.auth.models import Revocation

ACCESS_TOKEN_LIFETIME = timedelta(minutes=10)
# Clocks differ, and one that was behind may be set right while tokens of before are still good.
_MARGIN = timedelta(hours=1)
_ENDED_KEY = "api_key:"


def last_expiry() -> datetime:
    """When all access tokens that there are, or that are just being made, will have expired."""
    return clock.now() + ACCESS_TOKEN_LIFETIME + _MARGIN


def revoke(session: Session, subject: UUID | str, expires_at: datetime | None = None) -> None:
    """Refuse all access tokens with this id, or of the grant or the client with this id.

    Args:
        session: The unit of work; every process refuses them within 2 seconds of its commit.
        subject: The id of a token (`jti`), of a grant, or of a client.
        expires_at: When the last of them expires; without it, when every token has expired.
    """
    _delete_expired(session)
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(Revocation).values(
        subject=str(subject), expires_at=expires_at or last_expiry()
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[Revocation.subject],
            set_={"expires_at": statement.excluded.expires_at},
        )
    )
    forget_after_commit(session)


def live_revocations(session: Session) -> frozenset[str]:
    """The subjects whose access tokens are refused now."""
    live = select(Revocation.subject).where(Revocation.expires_at > clock.now())
    # Keys that have ended are looked up one by one; a copy of them all would serve nobody.
    keys = Revocation.subject.startswith(_ENDED_KEY, autoescape=True)
    return frozenset(session.scalars(live.where(~keys)))


def ended_key(secret_hash: str) -> str:
    """The subject that tells of an API key that it was taken back."""
    return f"{_ENDED_KEY}{secret_hash}"


def is_revoked(session: Session, subject: str) -> bool:
    """Whether this subject is refused now, by what the database says."""
    revocation = session.get(Revocation, subject)
    return revocation is not None and revocation.expires_at > clock.now()


def _delete_expired(session: Session) -> None:
    """Delete what is over; what another transaction is deleting already is not waited for."""
    expired = select(Revocation.subject).where(Revocation.expires_at <= clock.now())
    subjects = expired.with_for_update(skip_locked=True)
    session.execute(
        delete(Revocation).where(Revocation.subject.in_(subjects)),
        execution_options={"synchronize_session": False},
    )
