"""Lists of fees: all that match, those of one user, and the ledger of one fee; and balances."""

from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, ColumnElement, func, literal_column, select, true
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.accounts.users import find_user
from circdesk.circulation.facts import is_user
from circdesk.circulation.fees.fees import (
    READ_ALL,
    currency_of,
    is_visible_to,
    missing_fee,
    present_entry,
    present_fee,
)
from circdesk.circulation.models import Fee, LedgerEntry
from circdesk.circulation.money import NOTHING, present_money
from circdesk.db.direct import AnySelect
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.visits import Caller

JSON = dict[str, Any]

_SORTS = {"created_at": (Fee.created_at,)}
_ENTRY_SORTS = {"occurred_at": (LedgerEntry.occurred_at,)}
# Written out, because a parameter would hide from SQLite that the partial index will do.
_IS_OWED = literal_column("fees.outstanding > 0", Boolean())
_STATUSES = {
    "open": (_IS_OWED,),
    "settled": (Fee.outstanding == NOTHING, Fee.amount > NOTHING),
    "cancelled": (Fee.amount == NOTHING,),
}


class OwnFeeQuery(PageQuery):
    """What somebody's fees can be filtered by."""

    status: str | None
    kind: str | None


class UserFeeQuery(OwnFeeQuery):
    """Whose fees; the user is part of their cursors."""

    user_id: str


class FeeQuery(OwnFeeQuery):
    """What fees can be filtered by; users by id or card."""

    user: str | None


class EntryQuery(PageQuery):
    """Which fee's entries; the fee is part of their cursors."""

    fee_id: UUID


def list_fees(session: Session, query: FeeQuery) -> Page:
    """One page of the fees that match; what a filter names need not exist."""
    found = select(Fee)
    if query["user"] is not None:
        user = select(User.id).where(is_user(query["user"])).scalar_subquery()
        found = found.where(Fee.user_id == user)
    return _page(session, found, query, "list_fees")


def list_user_fees(session: Session, caller: Caller, query: UserFeeQuery) -> Page:
    """One page of what a user was charged.

    Raises NotFound, also for a user whose fees the caller may not see: the same for both.
    """
    user = find_user(session, query["user_id"], _is_readable_by(caller))
    return _page(session, select(Fee).where(Fee.user_id == user.id), query, "list_user_fees")


def list_own_fees(session: Session, user_id: UUID, query: OwnFeeQuery) -> Page:
    """One page of what the caller was charged."""
    return _page(session, select(Fee).where(Fee.user_id == user_id), query, "list_my_fees")


def list_entries(session: Session, caller: Caller, query: EntryQuery) -> Page:
    """One page of the ledger of a fee, the oldest first.

    Raises NotFound, also for a fee that the caller may not see: the same for both.
    """
    visible = select(Fee.id).where(Fee.id == query["fee_id"], is_visible_to(caller))
    if session.scalar(visible) is None:
        raise missing_fee(query["fee_id"])
    return paginate(
        session,
        select(LedgerEntry).where(LedgerEntry.fee_id == query["fee_id"]),
        sorts=_ENTRY_SORTS,
        query=query,
        present=lambda row: present_entry(session, caller, row[0]),
        scope="list_fee_entries",
    )


def read_balance(session: Session, caller: Caller, key: str | UUID) -> JSON:
    """What a user owes in all. Raises NotFound, as `list_user_fees`."""
    user = find_user(session, key, _is_readable_by(caller))
    owed = select(func.sum(Fee.outstanding), func.count()).where(Fee.user_id == user.id, _IS_OWED)
    balance, open_fees = session.execute(owed).one()
    return {
        "user_id": user.id,
        "balance": present_money(balance or NOTHING, currency_of(session)),
        "open_fees": open_fees,
    }


def _is_readable_by(caller: Caller) -> ColumnElement[bool]:
    return true() if caller.may(READ_ALL) else User.id == caller.user_id


def _page(session: Session, found: AnySelect, query: OwnFeeQuery, operation_id: str) -> Page:
    if query["status"] is not None:
        found = found.where(*_STATUSES[query["status"]])
    if query["kind"] is not None:
        found = found.where(Fee.kind == query["kind"])
    return paginate(
        session,
        found,
        sorts=_SORTS,
        query=query,
        present=lambda row: present_fee(session, row[0]),
        scope=operation_id,
    )
