"""Loans as they are read: each with whether it can be renewed, at the same cost for all."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, not_, select, true
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.accounts.users import find_user
from circdesk.catalog.branches import is_branch
from circdesk.catalog.checks import checked_isbn
from circdesk.catalog.models import BookISBN, Branch, Copy
from circdesk.circulation.facts import is_copy, is_user
from circdesk.circulation.loans import present_loan, unknown_loan
from circdesk.circulation.models import Loan
from circdesk.circulation.renewal_facts import read_renewals
from circdesk.circulation.renewals import decide
from circdesk.circulation.time import now as desk_now
from circdesk.db.direct import AnySelect
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.versions import show_version
from circdesk.visits import Caller

JSON = dict[str, Any]

# Who may see everybody's loans; others see their own.
_READ_ALL = "circulation:read"
_SORTS = {"due_at": (Loan.due_at,), "lent_at": (Loan.lent_at,)}
_ISBN = "isbn:"


class OwnLoanQuery(PageQuery):
    """What somebody's loans can be filtered by."""

    status: str | None
    overdue: bool | None


class UserLoanQuery(OwnLoanQuery):
    """Whose loans; the user is part of their cursors."""

    user_id: str


class LoanQuery(OwnLoanQuery):
    """What loans can be filtered by; each by id or natural key."""

    user: str | None
    copy: str | None
    book: str | None
    branch: str | None
    due_after: datetime | None
    due_before: datetime | None


def list_loans(session: Session, caller: Caller, query: LoanQuery) -> Page:
    """One page of the loans that match; what a filter names need not exist.

    Raises IsbnInvalid, and what `paginate` raises.
    """
    return _page(session, caller, select(Loan).where(*_subjects(query)), query, "list_loans")


def read_loan(session: Session, caller: Caller, loan_id: UUID) -> JSON:
    """One loan. Raises NotFound, also for one that the caller may not see: the same for both."""
    visible = true() if caller.may(_READ_ALL) else Loan.user_id == caller.user_id
    loan = session.scalar(select(Loan).where(Loan.id == loan_id, visible))
    if loan is None:
        raise unknown_loan(loan_id)
    show_version(session, loan)
    now = desk_now(session)
    shown = present_loan(loan, now)
    _add_renewable(session, caller, [shown], now)
    return shown


def list_user_loans(session: Session, caller: Caller, query: UserLoanQuery) -> Page:
    """One page of the loans of a user.

    Raises NotFound, also for a user whose loans the caller may not see: the same for both.
    """
    visible = true() if caller.may(_READ_ALL) else User.id == caller.user_id
    user = find_user(session, query["user_id"], visible)
    found = select(Loan).where(Loan.user_id == user.id)
    return _page(session, caller, found, query, "list_user_loans")


def list_own_loans(session: Session, caller: Caller, user_id: UUID, query: OwnLoanQuery) -> Page:
    """One page of the caller's loans."""
    found = select(Loan).where(Loan.user_id == user_id)
    return _page(session, caller, found, query, "list_my_loans")


def _page(
    session: Session, caller: Caller, found: AnySelect, query: OwnLoanQuery, operation_id: str
) -> Page:
    now = desk_now(session)
    page = paginate(
        session,
        found.where(*_conditions(query, now)),
        sorts=_SORTS,
        query=query,
        present=lambda row: present_loan(row[0], now),
        scope=operation_id,
    )
    _add_renewable(session, caller, page.items, now)
    return page


def _add_renewable(session: Session, caller: Caller, items: Sequence[JSON], now: datetime) -> None:
    """Tell of each loan whether it can be renewed; as many statements for many as for one."""
    still_open = [item["id"] for item in items if item["status"] == "open"]
    facts = read_renewals(session, still_open, true(), now) if still_open else {}
    for item in items:
        item["renewable"] = None
        if (found := facts.get(item["id"])) is not None:
            decision, due = decide(session, caller, found)
            item["renewable"] = {
                "allowed": decision.allowed,
                "blockers": [reason.present() for reason in decision.blockers],
                "due_at": None if due is None or due.over else due.at,
            }


def _conditions(query: OwnLoanQuery, now: datetime) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query["status"] is not None:
        conditions.append(Loan.status == query["status"])
        if query["status"] != "returned":
            # There is an index on these.
            conditions.append(Loan.returned_at.is_(None))
    if query["overdue"] is not None:
        late = and_(Loan.returned_at.is_(None), Loan.status == "open", Loan.due_at < now)
        conditions.append(late if query["overdue"] else not_(late))
    return conditions


def _subjects(query: LoanQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query["user"] is not None:
        conditions.append(
            Loan.user_id == select(User.id).where(is_user(query["user"])).scalar_subquery()
        )
    if query["copy"] is not None:
        conditions.append(
            Loan.copy_id == select(Copy.id).where(is_copy(query["copy"])).scalar_subquery()
        )
    if query["book"] is not None:
        conditions.append(_is_of_book(query["book"]))
    if query["branch"] is not None:
        branch = select(Branch.id).where(is_branch(query["branch"])).scalar_subquery()
        conditions.append(Loan.branch_id == branch)
    if query["due_after"] is not None:
        conditions.append(Loan.due_at >= query["due_after"])
    if query["due_before"] is not None:
        conditions.append(Loan.due_at < query["due_before"])
    return conditions


def _is_of_book(key: str) -> ColumnElement[bool]:
    """The condition for the loans of the book with this key, or of all books with its ISBN."""
    if not key.startswith(_ISBN):
        return Loan.book_id == UUID(key)
    isbn = checked_isbn(key.removeprefix(_ISBN), "list_loans", "query", "book", _ISBN)
    return Loan.book_id.in_(select(BookISBN.book_id).where(BookISBN.isbn == isbn))
