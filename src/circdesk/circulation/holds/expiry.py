"""The hold shelf is cleared: what nobody came for goes to the next in the queue."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, literal_column, select
from sqlalchemy.orm import Session

from circdesk.circulation.chores import Chore
from circdesk.circulation.deeds import Deed
from circdesk.circulation.facts import STAFF
from circdesk.circulation.holds.ending import destination_of, end
from circdesk.circulation.holds.locking import find_held, lock_queues
from circdesk.circulation.models import Hold


def find_expired(session: Session, now: datetime) -> Sequence[UUID]:
    """The ids of the holds whose copy has been on the shelf for too long, the first one first."""
    # Written out, because a parameter would hide from SQLite that the partial index will do.
    ready = literal_column("holds.status = 'ready'", Boolean())
    due = select(Hold.id).where(ready, Hold.shelf_expires_at <= now)
    return session.scalars(due.order_by(Hold.shelf_expires_at, Hold.id)).all()


def expire(session: Session, now: datetime, hold_ids: Sequence[UUID]) -> int:
    """End those of these holds that are still due, each with an event; how many that were."""
    lock_queues(session, [*hold_ids])
    return sum(_expire(session, now, hold_id) for hold_id in hold_ids)


def _expire(session: Session, now: datetime, hold_id: UUID) -> bool:
    held = find_held(session, None, STAFF, hold_id, locking=True)
    if held is None or not _is_due(held.hold, now):
        return False
    deed = Deed("hold.expire", now=now, user_id=held.hold.user_id, undoable=False)
    end(session, deed, held, destination_of(session, held), status="expired")
    return True


def _is_due(hold: Hold, now: datetime) -> bool:
    expires_at = hold.shelf_expires_at
    return hold.status == "ready" and expires_at is not None and expires_at <= now


EXPIRY = Chore("holds_expired", find_expired, expire)
