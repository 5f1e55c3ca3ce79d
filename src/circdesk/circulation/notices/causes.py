"""Causes: what people are to be told about, as the statements that find it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, func, null, select, type_coerce
from sqlalchemy.orm import InstrumentedAttribute

from circdesk.accounts.models import User
from circdesk.catalog.models import Book, Branch
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.circulation.money import NOTHING

# How long before a loan is due, and before a hold leaves the shelf, the person is told.
DUE_SOON = timedelta(days=3)
EXPIRING = timedelta(days=1)
# Who has borrowed or been told within that time knows it still.
_FRESH = timedelta(days=1)

Subject = type[Loan] | type[Hold] | type[Fee]
Conditions = Callable[[datetime], list[ColumnElement[bool]]]


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of notice.

    Args:
        kind: Its name in the contract.
        subject: The table of what it is about.
        since: The column with the moment that is its cause.
        due: Which rows are to be told about at this time.
    """

    kind: str
    subject: Subject
    since: InstrumentedAttribute[Any]
    due: Conditions


def _due_soon(now: datetime) -> list[ColumnElement[bool]]:
    lately = func.coalesce(Loan.renewed_at, Loan.lent_at)
    return [*_is_out(), Loan.due_at >= now, Loan.due_at < now + DUE_SOON, lately < now - _FRESH]


def _overdue(now: datetime) -> list[ColumnElement[bool]]:
    return [*_is_out(), Loan.due_at < now]


def _recalled(_now: datetime) -> list[ColumnElement[bool]]:
    return [*_is_out(), Loan.recalled_at.is_not(None)]


def _hold_ready(_now: datetime) -> list[ColumnElement[bool]]:
    return [Hold.status == "ready"]


def _hold_expiring(now: datetime) -> list[ColumnElement[bool]]:
    soon = [Hold.shelf_expires_at >= now, Hold.shelf_expires_at < now + EXPIRING]
    return [Hold.status == "ready", *soon, Hold.ready_at < now - _FRESH]


def _fee(_now: datetime) -> list[ColumnElement[bool]]:
    return [Fee.outstanding > NOTHING]


def _is_out() -> list[ColumnElement[bool]]:
    return [Loan.returned_at.is_(None), Loan.status == "open"]


CAUSES = (
    Cause("due_soon", Loan, Loan.due_at, _due_soon),
    Cause("overdue", Loan, Loan.due_at, _overdue),
    Cause("recalled", Loan, Loan.recalled_at, _recalled),
    Cause("hold_ready", Hold, Hold.ready_at, _hold_ready),
    Cause("hold_expiring", Hold, Hold.shelf_expires_at, _hold_expiring),
    Cause("fee", Fee, Fee.created_at, _fee),
)


def find_untold(cause: Cause, now: datetime) -> Select[*tuple[Any, ...]]:
    """What is to be told and was not: subject, person, cause, and what the notice says of it."""
    subject = cause.subject
    on = Hold if subject is Hold else Loan
    branch_id = Hold.pickup_branch_id if subject is Hold else Loan.branch_id
    found = select(
        subject.id.label("subject_id"),
        subject.user_id.label("user_id"),
        cause.since.label("since"),
        Book.title.label("title"),
        Branch.name.label("branch_name"),
        Branch.time_zone.label("time_zone"),
        (Loan.due_at if subject is Loan else null()).label("due_at"),
        (Hold.shelf_expires_at if subject is Hold else null()).label("expires_at"),
        (Fee.outstanding if subject is Fee else null()).label("amount"),
        User.email.label("email"),
    ).join_from(subject, User, User.id == subject.user_id)
    if subject is Fee:
        found = found.outerjoin(Loan, Loan.id == Fee.loan_id)
    found = found.outerjoin(Book, Book.id == on.book_id).outerjoin(Branch, Branch.id == branch_id)
    return found.where(
        *cause.due(now),
        User.status != "deleted",
        type_coerce(User.unwanted_notices, Text).not_like(f"%{cause.kind}%"),
        ~_is_told(cause),
    )


def _is_told(cause: Cause) -> ColumnElement[bool]:
    return (
        select(Notice.id)
        .where(
            Notice.kind == cause.kind,
            Notice.subject_id == cause.subject.id,
            Notice.since == cause.since,
        )
        .exists()
    )
