"""Housekeeping: forgets what has served its purpose, so that no table grows without end.

It goes in small batches, each a transaction of its own: no statement is long, no lock is held for
long, and whoever is interrupted has lost nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    Update,
    and_,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from circdesk.audit.models import AuditEntry
from circdesk.auth.models import (
    AuthorizationCode,
    Grant,
    PasswordReset,
    RefreshToken,
    Revocation,
    SignInFailure,
    SigningKey,
    WebSession,
)
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.edge.models import ANSWERS_ARE_KEPT, IdempotencyKey

# How long it is known from which address somebody came, and with which browser.
ADDRESSES_ARE_KEPT = timedelta(days=90)
# How long what has expired can still be told apart from what never was.
EXPIRED_IS_KEPT = timedelta(days=1)

_BATCH = 500

Statement = Update | Delete


def tidy(
    sessions: Sessions, now: datetime, *, stopping: Callable[[], bool] = lambda: False
) -> Mapping[str, int]:
    """Forget what is due at this time; how many rows of each table were deleted or changed.

    Args:
        sessions: The sessions of the database.
        now: The present moment.
        stopping: Asked before each batch; what is left over is done the next time.
    """
    counts: dict[str, int] = {}
    for model, statement in _chores(now):
        done = _BATCH
        while done == _BATCH and not stopping():
            with unit_of_work(sessions, writing=True) as session:
                done = _carry_out(session, statement)
            counts[model.__tablename__] = counts.get(model.__tablename__, 0) + done
    return {name: count for name, count in counts.items() if count}


def _carry_out(session: Session, statement: Statement) -> int:
    result: CursorResult[Any] = session.connection().execute(statement)
    return result.rowcount


def _chores(now: datetime) -> Iterator[tuple[type[Base], Statement]]:
    """What is due, each as the statement of one batch; children go before their parents."""
    expired, addresses = now - EXPIRED_IS_KEPT, now - ADDRESSES_ARE_KEPT
    yield (
        IdempotencyKey,
        _delete(IdempotencyKey, IdempotencyKey.created_at <= now - ANSWERS_ARE_KEPT),
    )
    yield AuditEntry, _forget_addresses(addresses)
    yield WebSession, _delete(WebSession, WebSession.expires_at <= now)
    yield WebSession, _forget_visitors(addresses)
    yield PasswordReset, _delete(PasswordReset, PasswordReset.expires_at <= now)
    yield SignInFailure, _delete(SignInFailure, SignInFailure.last_failed_at < expired)
    yield RefreshToken, _delete(RefreshToken, RefreshToken.expires_at < expired)
    yield AuthorizationCode, _delete(AuthorizationCode, AuthorizationCode.expires_at < expired)
    yield Grant, _delete(Grant, Grant.expires_at < expired)
    yield Revocation, _delete(Revocation, Revocation.expires_at <= now)
    yield SigningKey, _delete(SigningKey, SigningKey.verifies_until <= now)


def _forget_addresses(before: datetime) -> Update:
    due = and_(AuditEntry.occurred_at < before, AuditEntry.address.is_not(None))
    return update(AuditEntry).where(_in_batch(AuditEntry, due)).values(address=None)


def _forget_visitors(before: datetime) -> Update:
    known = or_(WebSession.address.is_not(None), WebSession.user_agent.is_not(None))
    due = and_(WebSession.created_at < before, known)
    forgotten = {"address": None, "user_agent": None, "updated_at": WebSession.updated_at}
    return update(WebSession).where(_in_batch(WebSession, due)).values(forgotten)


def _delete(model: type[Base], due: ColumnElement[bool]) -> Delete:
    return delete(model).where(_in_batch(model, due))


def _in_batch(model: type[Base], due: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a row is among the first that are due; neither engine limits a DELETE itself."""
    (key,) = model.__mapper__.primary_key
    return key.in_(select(key).where(due).limit(_BATCH))
