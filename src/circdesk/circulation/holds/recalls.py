"""Recalls: a loan is asked back sooner, for somebody who waits and finds no copy there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.circulation.deeds import Deed
from circdesk.circulation.holds.titles import TitleCopy
from circdesk.circulation.models import Loan
from circdesk.circulation.policies.calendars import Calendar


@dataclass(frozen=True, slots=True)
class Recall:
    """The loan that is to be asked back, and until when."""

    loan_id: UUID
    due_at: datetime


def find_recall(copies: Iterator[TitleCopy], now: datetime) -> Recall | None:
    """What to recall of the loans of these copies: the one that is due last, if that helps.

    A loan is recalled once, where the rule that decided about it says so, and never put off.
    """
    lent = [copy for copy in copies if _can_be_recalled(copy)]
    last = max(lent, key=lambda copy: copy.due_at or now, default=None)
    if last is None or last.loan_id is None or last.due_at is None or last.recall_days is None:
        return None
    calendar = Calendar.of(last.lender)
    due_at = calendar.closing(calendar.local_day(now) + timedelta(days=last.recall_days))
    return Recall(last.loan_id, due_at) if due_at < last.due_at else None


def recall(session: Session, deed: Deed, found: Recall) -> None:
    """Ask the loan back; the rows of its book and its copy are locked, so that it is still open."""
    loan = session.scalars(
        select(Loan)
        .where(Loan.id == found.loan_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()
    # A renewal may have come in between; it is cut short like the loan before it.
    deed.change(loan, due_at=min(loan.due_at, found.due_at), recalled_at=deed.now)
    deed.data["recalled_loan_id"] = str(loan.id)


def _can_be_recalled(copy: TitleCopy) -> bool:
    return copy.loan_status == "open" and copy.recalled_at is None and copy.recall_days is not None
