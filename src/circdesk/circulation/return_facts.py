"""What a return depends on, in two statements: which copy and whose loan, and whose turn it is."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ScalarSelect, and_, bindparam, case, select
from sqlalchemy.orm import Session, aliased

from circdesk.catalog.branches import CODE
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.fact_statements import BRANCH, CALENDAR, COPY, locked
from circdesk.circulation.facts import BARCODE, is_named_by, value_of
from circdesk.circulation.holds.destinations import Destination, find_destination
from circdesk.circulation.loans import is_overdue
from circdesk.circulation.models import Fee, Loan
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.terms import FeeTerms, overdue_fee
from circdesk.db.direct import AnySelect
from circdesk.db.plain_rows import Part
from circdesk.db.rows import read_row

# Copies in these states stay in them when their loan ends, and are given to whom that concerns.
KEPT = {"in_repair": "repair", "withdrawn": "inspect"}

_lender = aliased(Branch)
_LENDER = Part(Branch, *CALENDAR, alias=_lender)
# All that is told of a loan when it ends, and what it may cost.
_LOAN = Part(
    Loan,
    *("user_id", "copy_id", "book_id", "branch_id", "material_type", "status", "lent_at"),
    *("due_at", "returned_at", "renewals", "renewed_at", "recalled_at", "policy_id"),
    *("created_at", "updated_at", "terms", "accrues_at", "event_id"),
)


class OpenLoan(NamedTuple):
    """A loan that has not ended, with the branch and the charge that `Lent` tells of."""

    loan: Loan
    lender: Branch | None
    charged: Decimal | None


@dataclass(frozen=True, slots=True)
class Place:
    """A copy, the branch where somebody has it in hand, and its loan where it is on loan."""

    copy: Copy
    branch: Branch | None
    loan: OpenLoan | None


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
    """The copy with this key, where somebody has it in hand, and its loan.

    One statement where the copy is on loan, as most are that come back, and three where it is not.
    None where there is no such copy. With `locking` the rows of the book, the copy and the loan
    stay locked.

    Args:
        session: A unit of work.
        key: The copy's id or barcode.
        branch_key: The branch where it is; None for the one that it belongs to.
        locking: Whether what is found is going to be changed.
    """
    found, lent = _places(
        is_barcode=is_named_by(key, BARCODE),
        is_at_home=branch_key is None,
        is_code=branch_key is not None and is_named_by(branch_key, CODE),
        locking=locking,
    )
    keys = {
        "copy_key": value_of(key),
        "branch_key": None if branch_key is None else value_of(branch_key),
    }
    row = read_row(session, lent, keys)
    if row is None:
        row = read_row(session, found, keys)
        if row is None:
            return None
        # It may have been lent between the two, but not any more once it is locked.
        row = read_row(session, lent, keys) or row
    values = iter(row)
    copy, branch, loan = COPY.take(values), BRANCH.take(values), _LOAN.take(values)
    assert copy is not None  # noqa: S101 - The statements find no row without it.
    if loan is None:
        return Place(copy, branch, None)
    return Place(copy, branch, OpenLoan(loan, _LENDER.take(values), next(values)))


# To build these statements takes longer than to run them.
@cache
def _places(
    *, is_barcode: bool, is_at_home: bool, is_code: bool, locking: bool
) -> tuple[AnySelect, AnySelect]:
    """The columns of `Place`: of any copy without its loan, and of one that is on loan.

    Their parameters are `copy_key` and, unless the copy is at home, `branch_key`.
    """
    branch: Any = Branch.code if is_code else Branch.id
    here = branch == (Copy.branch_id if is_at_home else bindparam("branch_key"))
    copy: Any = Copy.barcode if is_barcode else Copy.id
    found = (
        select(*COPY.columns, *BRANCH.columns)
        .join_from(Book, Copy, Copy.book_id == Book.id)
        .outerjoin(Branch, here)
        .where(copy == bindparam("copy_key"))
    )
    lent = (
        found.add_columns(*_LOAN.columns, *_LENDER.columns, _charged())
        .join(Loan, and_(Loan.copy_id == Copy.id, Loan.returned_at.is_(None)))
        .outerjoin(_lender, _lender.id == Loan.branch_id)
    )
    if locking:
        return locked(found, [Book, Copy]), locked(lent, [Book, Copy, Loan])
    return found, lent


def load_facts(session: Session, place: Place, branch: Branch, now: datetime) -> ReturnFacts:
    """What else there is to know of a copy at a branch; one statement at most."""
    copy, lent = place.copy, place.loan and _reckoned(place.loan, now)
    destination = None
    if lent is None or copy.status not in KEPT:
        today = Calendar.of(branch).local_day(now)
        destination = find_destination(session, copy, branch.id, today)
    return ReturnFacts(now, copy, branch, lent, destination)


def _reckoned(open_loan: OpenLoan, now: datetime) -> Lent:
    """The loan with what it costs by now."""
    loan, lender, charged = open_loan
    overdue = is_overdue(loan, now)
    fee = NOTHING
    if overdue:
        fee = overdue_fee(FeeTerms.of_loan(loan), Calendar.of(lender), loan.due_at, now)
    return Lent(loan, overdue, fee, charged, lender)


def _charged() -> ScalarSelect[Decimal]:
    """What the loan around this was charged for being overdue since it was last renewed."""
    earlier = case((Fee.loan_renewals == Loan.renewals, Fee.earlier), else_=Fee.amount)
    return (
        select(Fee.amount - earlier)
        .where(Fee.loan_id == Loan.id, Fee.kind == "overdue")
        .correlate(Loan)
        .scalar_subquery()
    )
