"""Departures: what keeps a person who has business at the desk, and what ends when one goes."""

from collections.abc import Iterator
from typing import ClassVar
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from circdesk.catalog.checks import suggestion
from circdesk.circulation.deeds import Deed
from circdesk.circulation.facts import debt_of
from circdesk.circulation.fees.fees import currency_of
from circdesk.circulation.holds.ending import destination_of, end
from circdesk.circulation.holds.locking import find_held, lock_queues
from circdesk.circulation.holds.queue import is_active
from circdesk.circulation.models import Block, Hold, Loan, Notice
from circdesk.circulation.time import now
from circdesk.contract.problems import Problem, fault
from circdesk.events.models import Event
from circdesk.events.recording import forget_whose


class UserHasLoans(Problem):
    """Somebody who still has copies of ours cannot be forgotten."""

    code: ClassVar[str] = "user_has_loans"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The user has open loans."
    advice: ClassVar[str] = "Take the copies back first; the list in `suggestions` shows them."


class UserOwesFees(Problem):
    """Somebody who owes the library something cannot be forgotten."""

    code: ClassVar[str] = "user_owes_fees"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The user has fees that are not settled."
    advice: ClassVar[str] = "Take or waive them first; the list in `suggestions` shows them."


def find_ties(session: Session, user_id: UUID) -> Iterator[Problem]:
    """What the person has not settled at the desk; the user's row must be locked."""
    open_loans = select(func.count()).where(Loan.user_id == user_id, Loan.returned_at.is_(None))
    owed, loans = session.execute(select(debt_of(user_id), open_loans.scalar_subquery())).one()
    if loans:
        message = "The user has an open loan." if loans == 1 else f"{loans} loans are open."
        yield _tie(UserHasLoans, message, "list_user_loans", user_id)
    if owed:
        message = f"The user owes {owed} {currency_of(session)}."
        yield _tie(UserOwesFees, message, "list_user_fees", user_id)


def leave(session: Session, user_id: UUID) -> None:
    """End the person's holds, and forget whose the past loans and holds, and what came of them.

    The user's row must be locked, so that nothing new comes of it.
    """
    active = select(Hold.id).where(Hold.user_id == user_id, is_active()).order_by(Hold.id)
    hold_ids = session.scalars(active).all()
    # All at once, in the order that all keep, so that no two who lock several cross.
    lock_queues(session, [*hold_ids])
    for hold_id in hold_ids:
        held = find_held(session, None, "", hold_id, locking=True)
        if held is not None and held.hold.ended_at is None:
            deed = Deed("hold.cancel", now=now(session), user_id=user_id, undoable=False)
            end(session, deed, held, destination_of(session, held), status="cancelled")
    session.execute(delete(Notice).where(Notice.user_id == user_id))
    session.execute(delete(Block).where(Block.user_id == user_id))
    for past in (Loan, Hold):
        forgotten = update(past).where(past.user_id == user_id)
        session.execute(forgotten.values(user_id=None, updated_at=past.updated_at))
    session.execute(forget_whose(Event.user_id == user_id))


def _tie(kind: type[Problem], message: str, operation_id: str, user_id: UUID) -> Problem:
    parameters = {"user_id": str(user_id), "status": "open"}
    return kind(
        message,
        details=[fault("path", "/user_id", "in_use", message)],
        suggestions=[suggestion(operation_id, parameters, reason="These are in the way.")],
    )
