"""The statements that find borrowers and copies, and lock them.

To build a statement takes longer than to run it, so those of every action are built once. Their
parameters are `user_key`, `copy_key` and `own_id`.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, bindparam, select
from sqlalchemy.orm import InstrumentedAttribute

from circdesk.accounts.models import User
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.db.base import Base
from circdesk.db.direct import AnySelect
from circdesk.db.plain_rows import Part

# What the desk asks of a copy, and of a branch for its calendar.
COPY = Part(Copy, "book_id", "branch_id", "status", "material_type", "loanable", "event_id")
CALENDAR = ("time_zone", "opening_hours", "closed_days", "updated_at")
BRANCH = Part(Branch, *CALENDAR)


@cache
def borrower_by(*, is_card: bool, is_own: bool, locking: bool) -> AnySelect:
    """The columns of `facts.Borrower`; with `is_own`, of the user `own_id` alone."""
    found = borrowers().where(*_names_user(is_card=is_card, is_own=is_own))
    return found.with_for_update(key_share=True) if locking else found


@cache
def item_by(*, is_barcode: bool, locking: bool) -> AnySelect:
    """A copy and the branch that it belongs to; the rows of the copy and its book are locked."""
    found = (
        select(*COPY.columns, *BRANCH.columns)
        .select_from(Copy)
        .join(Book, Book.id == Copy.book_id)
        .join(Branch, Branch.id == Copy.branch_id)
        .where(_names_copy(is_barcode=is_barcode))
    )
    return locked(found, [Book, Copy]) if locking else found


@cache
def both_by(*, is_card: bool, is_barcode: bool, is_own: bool, locking: bool) -> AnySelect:
    """The columns of `borrower_by` and of `item_by`, in one row."""
    found = (
        borrowers()
        .add_columns(*COPY.columns, *BRANCH.columns)
        .join(Copy, _names_copy(is_barcode=is_barcode))
        .join(Book, Book.id == Copy.book_id)
        .join(Branch, Branch.id == Copy.branch_id)
        .where(*_names_user(is_card=is_card, is_own=is_own))
    )
    return locked(found, [User, Book, Copy]) if locking else found


def borrowers() -> AnySelect:
    """The columns of `facts.Borrower`, of all users who are there."""
    columns = (User.id, User.category, User.status, User.expires_on)
    return select(*columns).select_from(User).where(User.status != "deleted")


def _names_user(*, is_card: bool, is_own: bool) -> list[ColumnElement[bool]]:
    column: InstrumentedAttribute[Any] = User.card_number if is_card else User.id
    own = [User.id == bindparam("own_id")] if is_own else []
    return [column == bindparam("user_key"), *own]


def _names_copy(*, is_barcode: bool) -> ColumnElement[bool]:
    column: InstrumentedAttribute[Any] = Copy.barcode if is_barcode else Copy.id
    return column == bindparam("copy_key")


def locked(found: AnySelect, tables: Sequence[type[Base]]) -> AnySelect:
    """The rows locked in the order of the tables, and read as they are once they are locked."""
    found = found.with_for_update(key_share=True, of=tables)
    return found.execution_options(populate_existing=True)
