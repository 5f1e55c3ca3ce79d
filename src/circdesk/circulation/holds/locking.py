"""A hold that is there already: found for whoever may reach it, and locked with its queue."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.holds.keys import is_open_to
from circdesk.circulation.models import Hold
from circdesk.circulation.policies.calendars import Calendar
from circdesk.contract.requests import NotFound
from circdesk.visits import Caller


@dataclass(frozen=True, slots=True)
class Held:
    """A hold, the copy that is set aside for it if there is one, and its pickup branch."""

    hold: Hold
    copy: Copy | None
    pickup: Branch | None

    @property
    def calendar(self) -> Calendar:
        """The calendar of the pickup branch."""
        return Calendar.of(self.pickup)

    @property
    def copy_at(self) -> UUID | None:
        """Where the copy that is set aside is; None while it is on its way."""
        return self.hold.pickup_branch_id if self.hold.status == "ready" else None


def find_held(
    session: Session, caller: Caller | None, scope: str, hold_id: UUID, *, locking: bool = False
) -> Held | None:
    """The hold with this id, for who may reach it: all with the scope, others their own.

    Args:
        session: A unit of work.
        caller: Who asks; None is the service itself.
        scope: The scope for holds of others.
        hold_id: The hold's id.
        locking: Whether the row of its book, and with it the queue, and its own stay locked.
    """
    reachable = (Hold.id == hold_id) & is_open_to(caller, scope, Hold.user_id)
    if locking:
        lock_queues(session, [hold_id])
    found = (
        select(Hold, Copy, Branch)
        .outerjoin(Copy, Copy.id == Hold.trapped_copy_id)
        .outerjoin(Branch, Branch.id == Hold.pickup_branch_id)
        .where(reachable)
    )
    if locking:
        found = found.with_for_update(key_share=True, of=Hold).execution_options(
            populate_existing=True
        )
    row = session.execute(found).one_or_none()
    return None if row is None else Held(*row)


def lock_queues(session: Session, hold_ids: list[UUID]) -> None:
    """Lock the rows of the books of these holds, in one order for all who lock several."""
    books = select(Hold.book_id).where(Hold.id.in_(hold_ids))
    session.execute(
        select(Book.id)
        .where(Book.id.in_(books))
        .order_by(Book.id)
        .with_for_update(key_share=True, of=Book)
    )


def unknown_hold(hold_id: UUID) -> NotFound:
    """The same whether there is none or it is not the caller's."""
    return NotFound(f"No hold has the id {hold_id}.")
