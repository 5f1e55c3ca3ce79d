"""What renewals depend on, for any number of loans in the same few statements.

Locks are taken in the order that all keep: the users' rows, then the loans'. What a lock guards is
read in a later statement.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.catalog.models import Branch, Copy
from circdesk.circulation.facts import (
    Borrower,
    Standing,
    find_borrowers,
    load_standings,
    standing_columns,
    standing_of,
)
from circdesk.circulation.loans import is_overdue
from circdesk.circulation.models import Hold, Loan, LoanPolicy
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.matching import specificity
from circdesk.circulation.policies.terms import FeeTerms, overdue_fee

# What decides which rule is for a loan: category, material and branch.
Scope = tuple[str, str, UUID]


@dataclass(frozen=True, slots=True)
class Queue:
    """Who waits for what a loan keeps away.

    Args:
        waiting: Holds of others that wait for a copy like this one.
        available: Copies of the title that are there and for loan.
    """

    waiting: int = 0
    available: int = 0


@dataclass(frozen=True, slots=True)
class RenewalFacts:
    """Everything that decides whether a loan may be renewed.

    Args:
        now: The present moment by the clock of circulation.
        loan: The loan.
        copy: Its copy; None once it has left the catalogue.
        branch: The branch that the copy belongs to now.
        calendar: Its calendar, by which the loan is due once it is renewed.
        today: The day that it is there.
        lent_by: The branch that it belonged to when it was lent, by whose hours it is due.
        borrower: Whose loan it is; None for one that is nobody's any more.
        standing: How the borrower stands.
        rule: The rule that decides now; None where none matches.
        queue: Who waits for it.
    """

    now: datetime
    loan: Loan
    copy: Copy | None
    branch: Branch | None
    calendar: Calendar
    today: date
    lent_by: Branch | None
    borrower: Borrower | None
    standing: Standing | None
    rule: LoanPolicy | None
    queue: Queue

    @property
    def overdue(self) -> bool:
        """Whether the loan should be back already."""
        return is_overdue(self.loan, self.now)

    @property
    def overdue_fee(self) -> Decimal:
        """What being overdue comes to since the loan was last renewed."""
        if not self.overdue:
            return NOTHING
        terms, calendar = FeeTerms.of_loan(self.loan), Calendar.of(self.lent_by)
        return overdue_fee(terms, calendar, self.loan.due_at, self.now)


@dataclass(frozen=True, slots=True)
class _Row:
    loan: Loan
    copy: Copy | None


def read_renewals(
    session: Session, loan_ids: Collection[UUID], visible: ColumnElement[bool], now: datetime
) -> dict[UUID, RenewalFacts]:
    """What there is to know of these loans, by their ids, as far as they are visible.

    Nothing is locked; five statements.
    """
    rows = _find_rows(session, loan_ids, visible)
    users = {row.loan.user_id for row in rows}
    found = select(
        *(User.id, User.category, User.status, User.expires_on),
        *standing_columns(User.id, now),
    ).where(User.id.in_(users), User.status != "deleted")
    people = [
        (Borrower(row.id, row.category, row.status, row.expires_on), standing_of(row))
        for row in session.execute(found)
    ]
    return _gather(session, rows, people, now)


def lock_renewals(
    session: Session, loan_ids: Collection[UUID], visible: ColumnElement[bool], now: datetime
) -> dict[UUID, RenewalFacts]:
    """The same as it stays, because the rows of the users and of the loans are locked first."""
    found = select(Loan.id, Loan.user_id).where(Loan.id.in_(loan_ids), visible)
    owners = session.execute(found).all()
    users = [user_id for _, user_id in owners if user_id is not None]
    borrowers = find_borrowers(session, users, locking=True)
    rows = _find_rows(session, [loan_id for loan_id, _ in owners], visible, locking=True)
    standings = load_standings(session, borrowers, now)
    people = [(person, standings[person.id]) for person in borrowers.values()]
    return _gather(session, rows, people, now)


def _gather(
    session: Session,
    rows: Sequence[_Row],
    people: Sequence[tuple[Borrower, Standing]],
    now: datetime,
) -> dict[UUID, RenewalFacts]:
    """The rest of the facts, in three statements."""
    branches = _find_branches(session, rows)
    known: dict[UUID | None, tuple[Borrower, Standing]] = {each[0].id: each for each in people}
    scopes = {row.loan.id: _scope(row, known) for row in rows}
    rules = _find_rules(session, {scope for scope in scopes.values() if scope is not None})
    homes = {
        row.loan.id: None if row.copy is None else branches.get(row.copy.branch_id) for row in rows
    }
    calendars = {loan_id: Calendar.of(branch) for loan_id, branch in homes.items()}
    days = {loan_id: calendar.local_day(now) for loan_id, calendar in calendars.items()}
    queues = _find_queues(session, days)
    facts = {}
    for row in rows:
        borrower, standing = known.get(row.loan.user_id, (None, None))
        scope = scopes[row.loan.id]
        facts[row.loan.id] = RenewalFacts(
            now=now,
            loan=row.loan,
            copy=row.copy,
            branch=homes[row.loan.id],
            calendar=calendars[row.loan.id],
            today=days[row.loan.id],
            lent_by=branches.get(row.loan.branch_id),
            borrower=borrower,
            standing=standing,
            rule=None if scope is None else rules.get(scope),
            queue=queues.get(row.loan.id, Queue()),
        )
    return facts


def _find_rows(
    session: Session,
    loan_ids: Collection[UUID],
    visible: ColumnElement[bool],
    *,
    locking: bool = False,
) -> list[_Row]:
    found = (
        select(Loan, Copy)
        .outerjoin(Copy, Copy.id == Loan.copy_id)
        .where(Loan.id.in_(loan_ids), visible)
        .order_by(Loan.id)
    )
    if locking:
        found = found.with_for_update(key_share=True, of=Loan).execution_options(
            populate_existing=True
        )
    return [_Row(*row) for row in session.execute(found)]


def _scope(row: _Row, people: Mapping[UUID | None, tuple[Borrower, Standing]]) -> Scope | None:
    person = people.get(row.loan.user_id)
    if person is None or row.copy is None:
        return None
    return person[0].category, row.copy.material_type, row.copy.branch_id


def _find_rules(session: Session, scopes: Collection[Scope]) -> dict[Scope, LoanPolicy]:
    """The rule that decides for each of these; none for those that no rule is for."""
    if not scopes:
        return {}
    categories, materials, branches = (set(names) for names in zip(*scopes, strict=True))
    found = (
        select(LoanPolicy)
        .where(
            or_(LoanPolicy.user_category.is_(None), LoanPolicy.user_category.in_(categories)),
            or_(LoanPolicy.material_type.is_(None), LoanPolicy.material_type.in_(materials)),
            or_(LoanPolicy.branch_id.is_(None), LoanPolicy.branch_id.in_(branches)),
        )
        .order_by(specificity().desc())
    )
    rules = session.scalars(found).all()
    first = ((scope, _first(rules, scope)) for scope in scopes)
    return {scope: rule for scope, rule in first if rule is not None}


def _first(rules: Sequence[LoanPolicy], scope: Scope) -> LoanPolicy | None:
    for rule in rules:
        named = (rule.user_category, rule.material_type, rule.branch_id)
        if all(name in (None, value) for name, value in zip(named, scope, strict=True)):
            return rule
    return None


def _find_branches(session: Session, rows: Sequence[_Row]) -> dict[UUID | None, Branch]:
    """The branches of the copies, now and when they were lent.

    Joined to the loans, the hours of a few branches would be read hundreds of times.
    """
    ids = {row.loan.branch_id for row in rows} | {row.copy.branch_id for row in rows if row.copy}
    found = select(Branch).where(Branch.id.in_(ids))
    return {branch.id: branch for branch in session.scalars(found)}


def _find_queues(session: Session, days: Mapping[UUID, date]) -> dict[UUID, Queue]:
    """Who waits for the copies of these loans, each on the day that it is at its branch."""
    available = (
        select(func.count())
        .where(Copy.book_id == Loan.book_id, Copy.status == "available", Copy.loanable)
        .correlate(Loan)
        .scalar_subquery()
    )
    waits = and_(
        Hold.book_id == Loan.book_id,
        Hold.ended_at.is_(None),
        Hold.status == "waiting",
        Hold.user_id.is_distinct_from(Loan.user_id),
        or_(Hold.copy_id.is_(None), Hold.copy_id == Loan.copy_id),
    )
    found = (
        select(Loan.id, Hold.suspended_until, func.count(), available)
        .join(Hold, waits)
        .where(Loan.id.in_(days))
        .group_by(Loan.id, Hold.suspended_until)
    )
    waiting: defaultdict[UUID, int] = defaultdict(int)
    there = {}
    for loan_id, suspended_until, number, copies in session.execute(found):
        there[loan_id] = copies
        if suspended_until is None or suspended_until <= days[loan_id]:
            waiting[loan_id] += number
    return {loan_id: Queue(number, there[loan_id]) for loan_id, number in waiting.items()}
