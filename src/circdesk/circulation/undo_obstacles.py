"""What keeps an action from being taken back, although nothing that it changed has changed since.

Somebody may have got a copy, or a place among so many, only because of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from circdesk.circulation.deeds import Row
from circdesk.circulation.facts import count_loans
from circdesk.circulation.holds.place_reasons import counts_for
from circdesk.circulation.holds.titles import load_places
from circdesk.circulation.models import Fee, Hold, Loan
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.matching import find_rules
from circdesk.contract.problems import Problem, fault
from circdesk.events.models import Event

JSON = dict[str, Any]


class ReversalImpossible(Problem):
    """The action cannot be taken back, or not any more."""

    code: ClassVar[str] = "reversal_impossible"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "This cannot be taken back."
    advice: ClassVar[str] = (
        "`details` says why in its `rule`: it was `reversed` already, the `deadline` has passed, "
        "something has `changed` since, or it is `final`. Do what puts it right instead."
    )


@dataclass(frozen=True, slots=True)
class Image:
    """A row that the event changed, and its columns before; None for a row that it made."""

    row: Row
    before: JSON | None

    def ends(self, column: str) -> bool:
        """Whether the event has set this moment, which was open before."""
        before = self.before
        return before is not None and column in before and before[column] is None


def cannot_undo(rule: str, message: str) -> ReversalImpossible:
    """The refusal: reversed, final, deadline or changed."""
    return ReversalImpossible(message, details=[fault("path", "/event_id", rule, message)])


def raise_if_relied_upon(session: Session, event: Event, images: Sequence[Image]) -> None:
    """Let nobody lose what they got only because of the action.

    Args:
        session: A unit of work that has locked all the rows, and the books with their queues.
        event: What is to be taken back.
        images: The rows that it changed, as it left them.

    Raises:
        ReversalImpossible: Something later depends on it.
    """
    obstacles = [*_obstacles(event, images)]
    if obstacles and session.scalar(select(or_(*obstacles))):
        raise cannot_undo("changed", "Something that was done since depends on it.")


def uncounted(images: Sequence[Image]) -> list[Loan | Hold]:
    """The loans and holds that count against no limit, as the event left them."""
    rows = [image.row for image in images]
    return [row for row in rows if isinstance(row, Loan | Hold) and not _counts(row)]


def raise_if_over_limits(
    session: Session, event: Event, rows: Sequence[Loan | Hold], category: str
) -> None:
    """Keep the limits where something counts again, and the person has taken more since.

    Args:
        session: A unit of work that has locked the user, and restored the rows.
        event: What is taken back.
        rows: Those of `uncounted`.
        category: The category of whose loans and holds they are.

    Raises:
        ReversalImpossible: There are more then than the rule allows.
    """
    for row in rows:
        if not _counts(row) or not session.scalar(select(_taken_since(event, row))):
            continue
        if _is_over(session, row, category):
            raise cannot_undo("changed", "The user has taken as much as is allowed since.")


def _counts(row: Loan | Hold) -> bool:
    if isinstance(row, Hold):
        return row.ended_at is None
    return row.returned_at is None and row.status != "lost"


def _taken_since(event: Event, row: Loan | Hold) -> ColumnElement[bool]:
    """Whether the user of a loan has another one since, or that of a hold another hold."""
    model, begun = (Loan, Loan.lent_at) if isinstance(row, Loan) else (Hold, Hold.placed_at)
    return exists().where(
        model.user_id == row.user_id, _is_since(event, begun, model.id), model.id != row.id
    )


def _is_over(session: Session, row: Loan | Hold, category: str) -> bool:
    if isinstance(row, Loan):
        return _over_loans(session, row, category)
    return _over_holds(session, row, category)


def _over_loans(session: Session, loan: Loan, category: str) -> bool:
    rules = find_rules(session, category, loan.material_type, loan.branch_id)
    if not rules or rules[0].max_loans is None:
        return False
    scope = {"material_type": rules[0].material_type, "branch_id": rules[0].branch_id}
    count = session.scalar(select(count_loans(loan.user_id, **scope))) or 0
    return count > rules[0].max_loans


def _over_holds(session: Session, hold: Hold, category: str) -> bool:
    places = load_places(session, Hold.user_id == hold.user_id)
    own = next(place for place in places if place.hold_id == hold.id)
    rules = find_rules(session, category, own.material_type, own.pickup_branch_id)
    if not rules or rules[0].max_holds is None:
        return False
    return sum(counts_for(rules[0], place) for place in places) > rules[0].max_holds


def _obstacles(event: Event, images: Sequence[Image]) -> Iterator[ColumnElement[bool]]:
    loans = [image.row for image in images if isinstance(image.row, Loan)]
    holds = [image.row for image in images if isinstance(image.row, Hold)]
    for image in images:
        row = image.row
        if isinstance(row, Loan) and image.before is None:
            # What was charged for it since, because it is overdue, stays charged.
            yield exists().where(Fee.loan_id == row.id, Fee.amount != NOTHING)
        elif isinstance(row, Loan) and image.ends("returned_at"):
            # Nobody waits for what they have.
            yield exists().where(
                Hold.user_id == row.user_id,
                Hold.book_id == row.book_id,
                _is_since(event, Hold.placed_at, Hold.id),
                Hold.ended_at.is_(None),
            )
        elif isinstance(row, Hold) and image.ends("ended_at"):
            yield exists().where(Loan.book_id == row.book_id, _lent_since(event, loans))
            # Somebody behind it was served before it.
            yield exists().where(
                Hold.book_id == row.book_id,
                Hold.rank > row.rank,
                Hold.trapped_copy_id.is_not(None),
                Hold.ended_at.is_(None),
                Hold.event_id > event.id,
                Hold.id.not_in([hold.id for hold in holds]),
            )


def _lent_since(event: Event, loans: Sequence[Loan]) -> ColumnElement[bool]:
    """Whether a loan was made since, other than these."""
    others = Loan.id.not_in([loan.id for loan in loans])
    return and_(_is_since(event, Loan.lent_at, Loan.id), others)


def _is_since(
    event: Event, begun: InstrumentedAttribute[datetime], identity: InstrumentedAttribute[UUID]
) -> ColumnElement[bool]:
    """Whether something was begun after the event; ids tell where the desk's clock stands still."""
    at = event.occurred_at
    return or_(begun > at, and_(begun == at, identity > event.id))
