"""Impact: how many open loans and active holds a rule would decide otherwise, were it there."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import cache
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, Select, func, literal_column, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from circdesk.accounts.models import User
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.models import Fee, Hold, Loan, LoanPolicy
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.due_dates import due_date
from circdesk.circulation.policies.loan_policies import unsaved_policy
from circdesk.circulation.policies.outcomes import (
    OF_HOLDS,
    OF_LOANS,
    AnyRow,
    DueDate,
    Outcome,
    Person,
    outcome,
)
from circdesk.circulation.policies.rulebook import Rulebook
from circdesk.circulation.time import now

JSON = dict[str, Any]
Batch = Sequence[AnyRow]

# Loans are given up on after this many seconds, and holds after as many again.
_PATIENCE = 4.0
_USERS_AT_ONCE = 500


def measure_impact(session: Session, content: JSON) -> JSON:
    """What a rule would change, counted; it takes the place of the one for the same, or is added.

    Args:
        session: A unit of work that only reads.
        content: The whole rule, as it would be created.

    Raises LoanPeriodInvalid and ReferenceUnknown.
    """
    rule = unsaved_policy(session, content)
    before = Rulebook.load(session)
    change = _Change(
        before,
        before.with_rule(rule),
        {branch.id: Calendar.of(branch) for branch in session.scalars(select(Branch))},
        _debts(session),
        now(session),
    )
    loans, all_loans = change.tally(_loans(session), "lent_at", OF_LOANS)
    holds, all_holds = change.tally(_holds(session), "placed_at", OF_HOLDS)
    return {"loans": loans, "holds": holds, "complete": all_loans and all_holds}


@dataclass(frozen=True, slots=True)
class _Change:
    """The rules before and after, and what they are applied to."""

    before: Rulebook
    after: Rulebook
    calendars: Mapping[UUID, Calendar]
    debts: Mapping[UUID, Decimal]
    now: datetime
    # Each due date is asked for several times: worked out once, it costs half of the time.
    due_date: DueDate = field(default_factory=lambda: cache(due_date))

    def tally(
        self, batches: Iterator[Batch], since: str, facets: Mapping[str, Outcome]
    ) -> tuple[JSON, bool]:
        """The counts, and whether all batches were looked at; at least one is."""
        counts = Counter(dict.fromkeys(("examined", "changed", *facets), 0))
        deadline = time.monotonic() + _PATIENCE
        for batch in batches:
            for user_id, group in groupby(batch, attrgetter("user_id")):
                rows = list(group)
                debt = self.debts.get(user_id, NOTHING)
                person = Person(rows, since, debt, self.now, self.due_date)
                for row in rows:
                    different = self._differences(row, person, facets)
                    counts.update(("examined", *(("changed",) if different else ()), *different))
            if time.monotonic() > deadline:
                return dict(counts), next(batches, None) is None
        return dict(counts), True

    def _differences(
        self, row: AnyRow, person: Person, facets: Mapping[str, Outcome]
    ) -> Sequence[str]:
        asked = row.category, row.asked_material, row.asked_branch
        old, new = self.before.deciding(*asked), self.after.deciding(*asked)
        if old is new:
            return ()
        of = row, self.calendars.get(row.asked_branch) or Calendar.of(None), person
        return [name for name, facet in facets.items() if _differs(facet, old, new, of)]


def _differs(
    facet: Outcome, old: LoanPolicy | None, new: LoanPolicy | None, of: tuple[Any, ...]
) -> bool:
    return bool(outcome(facet, old, *of) != outcome(facet, new, *of))


def _debts(session: Session) -> Mapping[UUID, Decimal]:
    """What everybody owes who does."""
    # Written out, because a parameter would hide from SQLite that the partial index will do.
    outstanding = literal_column("fees.outstanding > 0", Boolean())
    owed = select(Fee.user_id, func.sum(Fee.outstanding).label("debt")).where(outstanding)
    return {row.user_id: row.debt for row in session.execute(owed.group_by(Fee.user_id))}


def _loans(session: Session) -> Iterator[Batch]:
    """All open loans, those of one person beside each other and in one batch.

    Rules are asked for the copy as it is now; limits count the loan as it was lent.
    """
    is_open = Loan.returned_at.is_(None)
    columns = (
        Loan.id,
        Loan.user_id,
        User.category,
        Loan.material_type,
        Loan.branch_id,
        func.coalesce(Copy.material_type, Loan.material_type).label("asked_material"),
        func.coalesce(Copy.branch_id, Loan.branch_id).label("asked_branch"),
        Loan.status,
        Loan.lent_at,
        Loan.renewed_at,
        Loan.due_at,
        Loan.renewals,
    )
    found = (
        select(*columns)
        .join(User, User.id == Loan.user_id)
        .outerjoin(Copy, Copy.id == Loan.copy_id)
        .where(is_open)
    )
    return _batches(session, found, Loan.user_id, is_open)


def _holds(session: Session) -> Iterator[Batch]:
    """All active holds, in batches like the loans."""
    is_active = Hold.ended_at.is_(None)
    material = func.coalesce(Copy.material_type, Book.material_type)
    columns = (
        Hold.id,
        Hold.user_id,
        User.category,
        material.label("material_type"),
        material.label("asked_material"),
        Hold.pickup_branch_id.label("branch_id"),
        Hold.pickup_branch_id.label("asked_branch"),
        Hold.status,
        Hold.placed_at,
    )
    found = (
        select(*columns)
        .join(User, User.id == Hold.user_id)
        .outerjoin(Book, Book.id == Hold.book_id)
        .outerjoin(Copy, Copy.id == Hold.copy_id)
        .where(is_active)
    )
    return _batches(session, found, Hold.user_id, is_active)


def _batches(
    session: Session,
    found: Select[*tuple[Any, ...]],
    user_id: InstrumentedAttribute[UUID | None],
    condition: ColumnElement[bool],
) -> Iterator[Batch]:
    """What was found, of so many users at a time."""
    users = select(user_id).distinct().where(condition).order_by(user_id).limit(_USERS_AT_ONCE)
    following = users
    while batch := session.execute(found.where(user_id.in_(following)).order_by(user_id)).all():
        yield batch
        following = users.where(user_id > batch[-1].user_id)
