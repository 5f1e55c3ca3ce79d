"""Accrual: overdue fees grow day by day while a loan is out."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from circdesk.catalog.models import Branch
from circdesk.circulation.chores import Chore
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.fees.entries import lock_fees
from circdesk.circulation.fees.ledger import settle_overdue
from circdesk.circulation.models import Loan
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.terms import FeeTerms, overdue_fee


def find_accruing(session: Session, now: datetime) -> Sequence[UUID]:
    """The loans whose overdue fee is to be reckoned, those that were due first first.

    Each is reckoned once when it is overdue, and once in each day at its branch from then on.
    """
    found = select(Loan.id).where(*_is_due(now)).order_by(Loan.due_at, Loan.id)
    return session.scalars(found).all()


def accrue(session: Session, now: datetime, loan_ids: Sequence[UUID]) -> int:
    """Let the overdue fees of these loans be what they have to be by now.

    Args:
        session: A writing unit of work.
        now: The desk's time.
        loan_ids: What `find_accruing` found; whatever was returned, renewed, claimed, lost or
            reckoned since then is left alone.

    Returns:
        How many fees have changed.
    """
    rows = _lock_loans(session, now, loan_ids)
    fees = lock_fees(session, [loan.id for loan, _ in rows], "overdue")
    deeds = []
    for loan, calendar in rows:
        deed = Deed("fee.accrue", now=now, user_id=loan.user_id, undoable=False)
        total = overdue_fee(FeeTerms.of_loan(loan), calendar, loan.due_at, now)
        fee = settle_overdue(session, deed, loan, total, fees)
        if fee is not None and fee.event_id == deed.id:
            deeds.append((deed, fee))
    if deeds:
        record_deeds(session, deeds)
    _postpone(session, now, rows)
    return len(deeds)


def _is_due(now: datetime) -> list[ColumnElement[bool]]:
    return [
        Loan.returned_at.is_(None),
        Loan.status == "open",
        Loan.due_at < now,
        or_(Loan.accrues_at.is_(None), Loan.accrues_at <= now),
    ]


def _lock_loans(
    session: Session, now: datetime, loan_ids: Sequence[UUID]
) -> list[tuple[Loan, Calendar]]:
    """Those of the loans that are due still, locked, each with its branch's calendar."""
    found = (
        select(Loan, Branch)
        .outerjoin(Branch, Branch.id == Loan.branch_id)
        .where(Loan.id.in_(loan_ids), *_is_due(now))
        .order_by(Loan.id)
        # Whoever has one of them in hand settles it anyway, or it is reckoned in a minute.
        .with_for_update(key_share=True, of=Loan, skip_locked=True)
        .execution_options(populate_existing=True)
    )
    return [(loan, Calendar.of(branch)) for loan, branch in session.execute(found)]


def _postpone(session: Session, now: datetime, rows: Sequence[tuple[Loan, Calendar]]) -> None:
    """Let the loans be reckoned again in the next day at their branch.

    That is no change that anybody sees, so `updated_at` stays.
    """
    by_moment = defaultdict(list)
    for loan, calendar in rows:
        by_moment[_next_day(calendar, now)].append(loan.id)
    for moment, ids in by_moment.items():
        values = {"accrues_at": moment, "updated_at": Loan.updated_at}
        session.execute(
            update(Loan).where(Loan.id.in_(ids)).values(values),
            execution_options={"synchronize_session": False},
        )


def _next_day(calendar: Calendar, now: datetime) -> datetime:
    tomorrow = calendar.local_day(now) + timedelta(days=1)
    return datetime.combine(tomorrow, time(), calendar.zone).astimezone(UTC)


ACCRUAL = Chore("accrual", find_accruing, accrue)
