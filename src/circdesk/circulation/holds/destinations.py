"""Where a copy goes that somebody has in hand: to the next in the queue, home, or on the shelf."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from circdesk.catalog.models import Copy
from circdesk.circulation.deeds import Deed
from circdesk.circulation.holds.queue import is_picked_up_at, next_hold, trap
from circdesk.circulation.models import Hold
from circdesk.circulation.policies.calendars import Calendar

NextStep = Literal["shelve", "hold_shelf", "transfer"]


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a copy goes.

    Args:
        status: The status of the copy on the way or once it is there.
        next_step: What staff do with it.
        branch_id: The branch that it is sent to; None where it stays.
        hold: The hold that it is set aside for, if any.
    """

    status: str
    next_step: NextStep
    branch_id: UUID | None = None
    hold: Hold | None = None


def find_destination(
    session: Session,
    copy: Copy,
    branch_id: UUID | None,
    today: date,
    *,
    passing_over: UUID | None = None,
) -> Destination:
    """Where a copy goes that is at this branch today; one statement, which changes nothing.

    Args:
        session: See `queue.next_hold`.
        copy: The copy.
        branch_id: Where it is; None for one that is on its way.
        today: The day there.
        passing_over: The id of a hold that is about to end.
    """
    hold = next_hold(session, copy, today, passing_over=passing_over)
    if hold is not None:
        if branch_id is not None and is_picked_up_at(hold, branch_id):
            return Destination("on_hold_shelf", "hold_shelf", hold=hold)
        return Destination("in_transit", "transfer", hold.pickup_branch_id, hold)
    if copy.branch_id != branch_id:
        return Destination("in_transit", "transfer", copy.branch_id)
    return Destination("available", "shelve")


def send(
    deed: Deed,
    copy: Copy,
    destination: Destination,
    branch_id: UUID | None,
    calendar: Calendar,
    now: datetime,
) -> None:
    """Let a copy at this branch go where it belongs, which `calendar` is of; see `queue.trap`."""
    if destination.hold is None:
        deed.changes_copy(copy, destination.status)
    else:
        trap(deed, destination.hold, copy, branch_id, calendar, now)
