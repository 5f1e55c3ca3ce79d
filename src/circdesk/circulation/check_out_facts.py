"""What a check-out depends on: the rule that decides, the borrower's hold, and all numbers."""

from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, aliased

from circdesk.accounts.models import User
from circdesk.catalog.models import Copy
from circdesk.circulation.facts import (
    Borrower,
    Item,
    Standing,
    counted_loans,
    standing_columns,
    standing_of,
)
from circdesk.circulation.holds.queue import is_eligible, takes
from circdesk.circulation.models import Hold, Loan, LoanPolicy
from circdesk.circulation.policies.matching import matching
from circdesk.db.direct import AnySelect
from circdesk.db.plain_rows import Part
from circdesk.db.rows import read_row


@dataclass(frozen=True, slots=True)
class CheckOutFacts:
    """Everything that decides whether this copy may be lent to this person.

    Args:
        now: The present moment by the clock of circulation.
        today: The day that it is at the copy's branch.
        rule: The rule that decides; None where none matches.
        standing: How the borrower stands.
        hold: The borrower's own active hold that this copy satisfies.
        loans: The borrower's loans that count against the rule's limit.
        same_title: The borrower's open loans of other copies of the title.
        lent_until: When the copy is due that is on loan already, whatever its status says.
        ahead: Holds of others that wait for such a copy, and come before the borrower's own.
        available: Copies of the title that are there and for loan, this one included.
    """

    now: datetime
    today: date
    borrower: Borrower
    item: Item
    rule: LoanPolicy | None
    standing: Standing
    hold: Hold | None
    loans: int
    same_title: int
    lent_until: datetime | None
    ahead: int
    available: int


def load_facts(session: Session, borrower: Borrower, item: Item, now: datetime) -> CheckOutFacts:
    """What else there is to know of a borrower and a copy; one statement.

    What counts is as it stands after the rows of both were locked, if they were.
    """
    copy, today = item.copy, item.calendar.local_day(now)
    numbers = read_row(
        session,
        _numbers(),
        {
            "user_id": borrower.id,
            "book_id": copy.book_id,
            "copy_id": copy.id,
            "user_category": borrower.category,
            "material_type": copy.material_type,
            "branch_id": copy.branch_id,
            "now": now,
            "today": today,
        },
    )
    values = iter(numbers)
    return CheckOutFacts(
        now=now,
        today=today,
        borrower=borrower,
        item=item,
        rule=_RULE.take(values),
        standing=standing_of(numbers),
        hold=_OWN_HOLD.take(values),
        loans=numbers.loans,
        same_title=numbers.same_title,
        lent_until=numbers.lent_until,
        ahead=numbers.ahead,
        available=numbers.available,
    )


# What a check-out asks of the rule and of the borrower's own hold. With all columns the statement
# would be longer than what psycopg remembers how to read, which is 4,096 characters.
_RULE = Part(
    LoanPolicy,
    *("name", "user_category", "material_type", "branch_id", "updated_at"),
    *("period_unit", "period_length", "period_date", "closed_days", "renewals"),
    *("max_loans", "max_overdue", "max_debt", "lends", "self_service"),
    *("fee_per_day", "fee_cap", "grace_days", "lost_fee"),
)
_own = aliased(Hold, name="own")
_OWN_HOLD = Part(Hold, "status", "rank", "trapped_copy_id", "ended_at", "event_id", alias=_own)


# To build this statement takes longer than to run it, so it is built once.
@cache
def _numbers() -> AnySelect:
    """The rule that decides, the borrower's own hold and all numbers, in one row."""
    user_id: Any = bindparam("user_id")
    book_id: Any = bindparam("book_id")
    copy_id: Any = bindparam("copy_id")
    scope: list[Any] = [bindparam(name) for name in ("user_category", "material_type", "branch_id")]
    rules = matching(*scope).with_only_columns(LoanPolicy.id).correlate(None).limit(1)
    own_hold = and_(
        _own.user_id == User.id,
        _own.book_id == book_id,
        _own.ended_at.is_(None),
        or_(_own.copy_id.is_(None), _own.copy_id == copy_id),
        # A copy that is set aside for the person already stays so, whatever else they take.
        or_(_own.trapped_copy_id.is_(None), _own.trapped_copy_id == copy_id),
    )
    return (
        select(
            *_RULE.columns,
            *_OWN_HOLD.columns,
            *standing_columns(user_id, bindparam("now")),
            _count_loans(user_id).label("loans"),
            _count_same_title(user_id, book_id, copy_id).label("same_title"),
            _lent_until(copy_id).label("lent_until"),
            _count_ahead(user_id, book_id, copy_id).label("ahead"),
            _count_available(book_id).label("available"),
        )
        .select_from(User)
        .outerjoin(LoanPolicy, LoanPolicy.id == rules.scalar_subquery())
        .outerjoin(_own, own_hold)
        .where(User.id == user_id)
    )


def _count_loans(user_id: Any) -> Any:
    """How many loans count against the rule's limit: those in the rule's own scope."""
    rule = LoanPolicy
    return (
        counted_loans(user_id)
        .where(
            or_(rule.material_type.is_(None), Loan.material_type == rule.material_type),
            or_(rule.branch_id.is_(None), Loan.branch_id == rule.branch_id),
        )
        .correlate(rule)
        .scalar_subquery()
    )


def _count_same_title(user_id: Any, book_id: Any, copy_id: Any) -> Any:
    others = counted_loans(user_id).where(Loan.book_id == book_id, Loan.copy_id != copy_id)
    return others.scalar_subquery()


def _lent_until(copy_id: Any) -> Any:
    return (
        select(Loan.due_at)
        .where(Loan.copy_id == copy_id, Loan.returned_at.is_(None))
        .scalar_subquery()
    )


def _count_ahead(user_id: Any, book_id: Any, copy_id: Any) -> Any:
    """All that wait, where the borrower has no place in the queue."""
    today: Any = bindparam("today")
    return (
        select(func.count())
        .where(
            Hold.book_id == book_id,
            Hold.user_id != user_id,
            is_eligible(today),
            takes(copy_id),
            or_(_own.rank.is_(None), Hold.rank < _own.rank),
        )
        .correlate(_own)
        .scalar_subquery()
    )


def _count_available(book_id: Any) -> Any:
    # Of all copies in the library most are available; only those of the book are to be read.
    there = func.count().filter(Copy.status == "available", Copy.loanable)
    return select(there).where(Copy.book_id == book_id).scalar_subquery()
