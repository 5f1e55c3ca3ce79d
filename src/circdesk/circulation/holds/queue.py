"""The queue of a title: whose turn it is, and what a turn does to a hold and its copy.

Whoever changes a queue has locked the row of its book first, so that the queue stands still.
"""

from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, or_, select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Copy
from circdesk.circulation.deeds import Deed
from circdesk.circulation.models import Hold
from circdesk.circulation.policies.calendars import Calendar
from circdesk.db.direct import AnySelect
from circdesk.db.plain_rows import Part
from circdesk.db.rows import read_row
from circdesk.db.sessions import ReadingSession

_HOLD = Part(Hold)


def is_active() -> ColumnElement[bool]:
    """Whether a hold has a place in a queue: it waits, is on its way, or is ready."""
    return Hold.ended_at.is_(None)


def is_eligible(today: Any) -> ColumnElement[bool]:
    """Whether a hold waits for its turn, and is not suspended.

    Args:
        today: The day at the branch where the copy is, which is where the queue is served; a
            date, or a parameter.
    """
    resumed = or_(Hold.suspended_until.is_(None), Hold.suspended_until <= today)
    return (Hold.status == "waiting") & is_active() & resumed


def takes(copy_id: Any) -> ColumnElement[bool]:
    """Whether a hold is content with the copy of its title that has this id, or parameter."""
    return or_(Hold.copy_id.is_(None), Hold.copy_id == copy_id)


def next_hold(
    session: Session, copy: Copy, today: date, *, passing_over: UUID | None = None
) -> Hold | None:
    """The hold that the copy is for: the one it was set aside for, else the first that may have it.

    The hold is locked for who acts. A copy that is not for loan is only for who asked for this very
    one, or has it set aside already.

    Args:
        session: A unit of work that has locked the book, or one that only asks.
        copy: The copy that somebody has in hand.
        today: The day at the branch where that is, as `Calendar.local_day` tells it.
        passing_over: The id of a hold that is about to end.
    """
    found = _next_hold(
        is_loanable=copy.loanable,
        passes_over=passing_over is not None,
        # Who only asks waits for nobody.
        locking=not isinstance(session, ReadingSession),
    )
    values = {
        "copy_id": copy.id,
        "book_id": copy.book_id,
        "today": today,
        "passed_over": passing_over,
    }
    row = read_row(session, found, values)
    return None if row is None else _HOLD.take(iter(row))


# To build this statement takes longer than to run it.
@cache
def _next_hold(*, is_loanable: bool, passes_over: bool, locking: bool) -> AnySelect:
    copy_id: Any = bindparam("copy_id")
    set_aside = Hold.trapped_copy_id == copy_id
    fits = takes(copy_id) if is_loanable else Hold.copy_id == copy_id
    found = (
        select(*_HOLD.columns)
        .where(
            Hold.book_id == bindparam("book_id"),
            is_active(),
            or_(set_aside, is_eligible(bindparam("today")) & fits),
        )
        # False is before true on both engines, and null is not the copy.
        .order_by(func.coalesce(set_aside, False).desc(), Hold.rank)
        .limit(1)
    )
    if passes_over:
        found = found.where(Hold.id != bindparam("passed_over"))
    if locking:
        found = found.with_for_update(key_share=True, of=Hold)
    return found


def is_picked_up_at(hold: Hold, branch_id: UUID) -> bool:
    """Whether a copy at this branch is where the hold wants it.

    A hold whose branch has closed down is picked up wherever its copy turns up.
    """
    return hold.pickup_branch_id in (None, branch_id)


def trap(
    deed: Deed, hold: Hold, copy: Copy, branch_id: UUID | None, calendar: Calendar, now: datetime
) -> None:
    """Set the copy aside for the hold: on the shelf of this branch, or on its way to another.

    Args:
        deed: What does it; the rows of the book, the copy and the hold are locked.
        hold: The hold whose turn it is.
        copy: The copy.
        branch_id: The branch where the copy is; None for one that is on its way.
        calendar: That branch's calendar.
        now: The present moment by the clock of circulation.
    """
    if branch_id is None or not is_picked_up_at(hold, branch_id):
        deed.changes_copy(copy, "in_transit")
        _set_aside(deed, hold, copy, status="in_transit", ready_at=None, shelf_expires_at=None)
        return
    deed.changes_copy(copy, "on_hold_shelf")
    if hold.status == "ready":
        # It is only looked at again, which gains nobody a day.
        return
    _set_aside(
        deed,
        hold,
        copy,
        status="ready",
        pickup_branch_id=branch_id,
        ready_at=now,
        shelf_expires_at=shelf_expiry(hold.shelf_days, calendar, now),
    )


def shelf_expiry(shelf_days: int, calendar: Calendar, now: datetime) -> datetime:
    """Until when a copy that comes to the hold shelf now stays there, in UTC.

    That is the closing time of the last day; where the branch is closed then, of the next open one.
    """
    last = calendar.local_day(now) + timedelta(days=shelf_days)
    return calendar.closing(calendar.next_open_day(last))


def fulfil(deed: Deed, hold: Hold, now: datetime) -> None:
    """End the hold because its title is lent to its user.

    Where another copy was set aside for it, that one is to be passed on; see `destinations`.
    """
    deed.change(hold, status="fulfilled", ended_at=now)


def _set_aside(deed: Deed, hold: Hold, copy: Copy, **values: object) -> None:
    deed.change(hold, trapped_copy_id=copy.id, **values)
