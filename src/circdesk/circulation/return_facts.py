"""What a return depends on, in three statements: which copy and where, whose loan, whose turn."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ScalarSelect, case, select
from sqlalchemy.orm import Session

from circdesk.catalog.branches import is_branch
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.facts import is_copy
from circdesk.circulation.holds.destinations import Destination, find_destination
from circdesk.circulation.loans import is_overdue
from circdesk.circulation.models import Fee, Loan
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.terms import FeeTerms, overdue_fee

# Copies in these states stay in them when their loan ends, and are given to whom that concerns.
KEPT = {"in_repair": "repair", "withdrawn": "inspect"}


@dataclass(frozen=True, slots=True)
class Place:
    """A copy, its book's row locked with it, and the branch where somebody has it in hand."""

    copy: Copy
    branch: Branch | None


@dataclass(frozen=True, slots=True)
class Lent:
    """The loan of a copy, and what it costs by now.

    Args:
        loan: Open, lost, or claimed to be returned.
        overdue: Whether it should be back already.
        overdue_fee: What being overdue comes to since the loan was last renewed.
        charged: How much of that was charged already; None for a loan without such a fee.
        lender: The branch by whose calendar it costs something; None once that is gone.
    """

    loan: Loan
    overdue: bool
    overdue_fee: Decimal
    charged: Decimal | None
    lender: Branch | None


@dataclass(frozen=True, slots=True)
class ReturnFacts:
    """Everything that decides what becomes of a copy that is returned.

    Args:
        now: The present moment by the clock of circulation.
        copy: The copy.
        branch: Where it is.
        lent: Its loan; None where it was not on loan.
        destination: Where it goes; None where it stays as it is.
    """

    now: datetime
    copy: Copy
    branch: Branch
    lent: Lent | None
    destination: Destination | None

    @property
    def next_step(self) -> str:
        """What staff do with the copy."""
        return KEPT[self.copy.status] if self.destination is None else self.destination.next_step

    @property
    def moves(self) -> bool:
        """Whether the copy, or the hold that it is for, changes at all."""
        if self.destination is None:
            return False
        hold = self.destination.hold
        if hold is None:
            return self.destination.status != self.copy.status
        set_aside = "ready" if self.destination.status == "on_hold_shelf" else "in_transit"
        before = (hold.trapped_copy_id, hold.status, self.copy.status)
        return before != (self.copy.id, set_aside, self.destination.status)


def find_place(
    session: Session, key: str, branch_key: str | None, *, locking: bool
) -> Place | None:
    """The copy with this key, at the branch with the other one or where it belongs; one statement.

    None where there is no such copy. With `locking` its row and its book's row stay locked.
    """
    here = Branch.id == Copy.branch_id if branch_key is None else is_branch(branch_key)
    found = (
        select(Copy, Branch)
        .join_from(Book, Copy, Copy.book_id == Book.id)
        .outerjoin(Branch, here)
        .where(is_copy(key))
    )
    if locking:
        found = found.with_for_update(key_share=True, of=[Book, Copy]).execution_options(
            populate_existing=True
        )
    row = session.execute(found).one_or_none()
    return None if row is None else Place(*row)


def load_facts(
    session: Session, copy: Copy, branch: Branch, now: datetime, *, locking: bool
) -> ReturnFacts:
    """What else there is to know of a copy at a branch; two statements."""
    lent = _find_loan(session, copy.id, now, locking=locking)
    destination = None
    if lent is None or copy.status not in KEPT:
        today = Calendar.of(branch).local_day(now)
        destination = find_destination(session, copy, branch.id, today)
    return ReturnFacts(now, copy, branch, lent, destination)


def _find_loan(session: Session, copy_id: UUID, now: datetime, *, locking: bool) -> Lent | None:
    found = (
        select(Loan, Branch, _charged())
        .outerjoin(Branch, Branch.id == Loan.branch_id)
        .where(Loan.copy_id == copy_id, Loan.returned_at.is_(None))
    )
    if locking:
        found = found.with_for_update(key_share=True, of=Loan).execution_options(
            populate_existing=True
        )
    row = session.execute(found).one_or_none()
    if row is None:
        return None
    loan, branch, charged = row
    overdue = is_overdue(loan, now)
    fee = NOTHING
    if overdue:
        fee = overdue_fee(FeeTerms.of_loan(loan), Calendar.of(branch), loan.due_at, now)
    return Lent(loan, overdue, fee, charged, branch)


def _charged() -> ScalarSelect[Decimal]:
    """What the loan around this was charged for being overdue since it was last renewed."""
    earlier = case((Fee.loan_renewals == Loan.renewals, Fee.earlier), else_=Fee.amount)
    return (
        select(Fee.amount - earlier)
        .where(Fee.loan_id == Loan.id, Fee.kind == "overdue")
        .correlate(Loan)
        .scalar_subquery()
    )
