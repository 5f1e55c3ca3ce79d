"""Lists of holds: all that match, those of one user, and the queue of a book."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.accounts.users import find_user
from circdesk.catalog.branches import is_branch
from circdesk.catalog.copies import find_book
from circdesk.catalog.copy_problems import book_key_in
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.facts import is_copy, is_user
from circdesk.circulation.holds.keys import is_book, is_open_to
from circdesk.circulation.holds.locking import find_held, unknown_hold
from circdesk.circulation.holds.presenting import present_holds
from circdesk.circulation.holds.queue import is_active
from circdesk.circulation.models import Hold
from circdesk.circulation.time import now as desk_now
from circdesk.db.pagination import Page, PageQuery, Sorts, paginate
from circdesk.db.versions import show_version
from circdesk.visits import Caller

JSON = dict[str, Any]

# Who may see everybody's holds; others see their own.
_READ_ALL = "circulation:read"
_BY_TIME = {"placed_at": (Hold.placed_at,)}
_BY_PLACE = {"position": (Hold.rank,)}


class OwnHoldQuery(PageQuery):
    """What somebody's holds can be filtered by."""

    status: str | None
    active: bool | None


class UserHoldQuery(OwnHoldQuery):
    """Whose holds; the user is part of their cursors."""

    user_id: str


class HoldQuery(OwnHoldQuery):
    """What holds can be filtered by; each by id or natural key."""

    user: str | None
    book: str | None
    copy: str | None
    pickup_branch: str | None


class BookHoldQuery(PageQuery):
    """Whose queue; the book is part of its cursors."""

    book_id: str


def list_holds(session: Session, query: HoldQuery) -> Page:
    """One page of the holds that match; what a filter names need not exist.

    Raises IsbnInvalid, and what `paginate` raises.
    """
    conditions = [*_conditions(query), *_subjects(query)]
    return _page(session, query, "list_holds", _BY_TIME, *conditions)


def read_hold(session: Session, caller: Caller, hold_id: UUID) -> JSON:
    """One hold. Raises NotFound, also for one that the caller may not see: the same for both."""
    held = find_held(session, caller, _READ_ALL, hold_id)
    if held is None:
        raise unknown_hold(hold_id)
    show_version(session, held.hold)
    return present_holds(session, [held.hold], desk_now(session))[0]


def list_user_holds(session: Session, caller: Caller, query: UserHoldQuery) -> Page:
    """One page of the holds of a user.

    Raises NotFound, also for a user whose holds the caller may not see: the same for both.
    """
    user = find_user(session, query["user_id"], is_open_to(caller, _READ_ALL, User.id))
    mine = Hold.user_id == user.id
    return _page(session, query, "list_user_holds", _BY_TIME, mine, *_conditions(query))


def list_own_holds(session: Session, user_id: UUID, query: OwnHoldQuery) -> Page:
    """One page of the caller's holds."""
    mine = Hold.user_id == user_id
    return _page(session, query, "list_my_holds", _BY_TIME, mine, *_conditions(query))


def list_queue(session: Session, query: BookHoldQuery) -> Page:
    """One page of the queue of a book. Raises NotFound, IsbnInvalid and IsbnAmbiguous."""
    book_id, _ = find_book(session, query["book_id"])
    queued = (Hold.book_id == book_id) & is_active()
    return _page(session, query, "list_book_holds", _BY_PLACE, queued)


def _page(
    session: Session,
    query: PageQuery,
    operation_id: str,
    sorts: Sorts,
    *conditions: ColumnElement[bool],
) -> Page:
    page = paginate(
        session,
        select(Hold).where(true(), *conditions),
        sorts=sorts,
        query=query,
        # The holds of a page are presented together, since each needs the queue around it.
        present=lambda row: {"hold": row[0]},
        scope=operation_id,
    )
    holds = [item["hold"] for item in page.items]
    return page._replace(items=present_holds(session, holds, desk_now(session)))


def _conditions(query: OwnHoldQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query["status"] is not None:
        conditions.append(Hold.status == query["status"])
    if query["active"] is not None:
        conditions.append(is_active() if query["active"] else ~is_active())
    return conditions


def _subjects(query: HoldQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if query["user"] is not None:
        user = select(User.id).where(is_user(query["user"])).scalar_subquery()
        conditions.append(Hold.user_id == user)
    if query["book"] is not None:
        with book_key_in("query", "/book"):
            books = select(Book.id).where(is_book(query["book"]))
        conditions.append(Hold.book_id.in_(books))
    if query["copy"] is not None:
        copy = select(Copy.id).where(is_copy(query["copy"])).scalar_subquery()
        conditions.append(or_(Hold.copy_id == copy, Hold.trapped_copy_id == copy))
    if query["pickup_branch"] is not None:
        branch = select(Branch.id).where(is_branch(query["pickup_branch"])).scalar_subquery()
        conditions.append(Hold.pickup_branch_id == branch)
    return conditions
