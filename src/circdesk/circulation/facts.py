"""Facts: what the desk knows of borrowers and copies, read for a decision or locked for a deed.

Locks are taken in one order by everybody: the user's row, then the book's and the copy's. A fact
that a lock guards is read in a later statement than the one that locks, because what a statement
sees was fixed before it waited.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Label,
    ScalarSelect,
    Select,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from circdesk.accounts.models import User
from circdesk.catalog.models import Copy
from circdesk.circulation.fact_statements import (
    BRANCH,
    COPY,
    borrower_by,
    borrowers,
    both_by,
    item_by,
)
from circdesk.circulation.models import Block, Fee, Loan
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.calendars import Calendar
from circdesk.db.rows import read_row
from circdesk.visits import Caller

# Who may act at the desk for anybody; others act for themselves alone.
STAFF = "circulation:write"

_CARD = "card:"
BARCODE = "barcode:"


@dataclass(frozen=True, slots=True)
class Borrower:
    """A person, as far as the rules ask.

    Args:
        category: What kind of borrower loan policies see.
        status: active or blocked; who is deleted is not found.
        expires_on: The last day on which the card is good.
    """

    id: UUID
    category: str
    status: str
    expires_on: date | None


@dataclass(frozen=True, slots=True)
class Item:
    """A copy, its book's row locked with it, and the calendar of the branch that it belongs to."""

    copy: Copy
    calendar: Calendar
    # When the branch was last changed, and its hours with it.
    branch_updated_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """How a borrower stands with the library.

    Args:
        debt: The sum of the outstanding fees.
        overdue: How many open loans are overdue; those claimed returned or lost do not count.
        block_reason: Why staff have blocked the person; None where nobody has. Staff alone see it.
        blocked_until: When that block, the longest of all, expires; None for never.
    """

    debt: Decimal
    overdue: int
    block_reason: str | None
    blocked_until: datetime | None


def is_user(key: str | UUID) -> ColumnElement[bool]:
    """The condition for the user with an id, or with `card:` and the card's number."""
    if isinstance(key, str) and key.startswith(_CARD):
        return User.card_number == key.removeprefix(_CARD)
    return User.id == UUID(str(key))


def is_copy(key: str | UUID) -> ColumnElement[bool]:
    """The condition for the copy with an id, or with `barcode:` and its barcode."""
    if isinstance(key, str) and key.startswith(BARCODE):
        return Copy.barcode == key.removeprefix(BARCODE)
    return Copy.id == UUID(str(key))


def find_borrower(
    session: Session, caller: Caller | None, key: str | UUID, *, locking: bool = False
) -> Borrower | None:
    """The user with this key; one statement.

    None where there is none, and where the caller may not act for this one, which staff and the
    service itself (None) may for all, others for themselves alone: the same for both.
    With `locking` the row stays locked, and with it everything that counts against limits.
    """
    found = borrower_by(
        is_card=is_named_by(key, _CARD),
        is_own=_is_for_oneself(caller),
        locking=locking,
    )
    keys = {"user_key": value_of(key), "own_id": _own_id(caller)}
    row = read_row(session, found, keys)
    return None if row is None else Borrower(*row)


def find_borrowers(
    session: Session, user_ids: Iterable[UUID], *, locking: bool = False
) -> dict[UUID, Borrower]:
    """The users with these ids, in one statement; with `locking`, locked in the order of ids."""
    found = borrowers().where(User.id.in_({*user_ids})).order_by(User.id)
    rows = session.execute(found.with_for_update(key_share=True) if locking else found)
    return {row.id: Borrower(*row) for row in rows}


def find_item(session: Session, key: str | UUID, *, locking: bool = False) -> Item | None:
    """The copy with this key, or None; one statement.

    With `locking` its row and its book's row stay locked, and with the book's its queue.
    """
    found = item_by(is_barcode=is_named_by(key, BARCODE), locking=locking)
    row = read_row(session, found, {"copy_key": value_of(key)})
    return None if row is None else _item(iter(row))


def find_both(
    session: Session,
    caller: Caller | None,
    user_key: str | UUID,
    copy_key: str | UUID,
    *,
    locking: bool = False,
) -> tuple[Borrower | None, Item | None]:
    """What `find_borrower` and `find_item` find, in one statement where there are both."""
    found = both_by(
        is_card=is_named_by(user_key, _CARD),
        is_barcode=is_named_by(copy_key, BARCODE),
        is_own=_is_for_oneself(caller),
        locking=locking,
    )
    keys = {
        "user_key": value_of(user_key),
        "copy_key": value_of(copy_key),
        "own_id": _own_id(caller),
    }
    row = read_row(session, found, keys)
    if row is None:
        borrower = find_borrower(session, caller, user_key, locking=locking)
        return borrower, find_item(session, copy_key, locking=locking)
    values = iter(row)
    return Borrower(*islice(values, 4)), _item(values)


def load_standings(
    session: Session, user_ids: Iterable[UUID], now: datetime
) -> dict[UUID, Standing]:
    """How these users stand, in one statement."""
    found = select(User.id, *standing_columns(User.id, now)).where(User.id.in_({*user_ids}))
    return {row.id: standing_of(row) for row in session.execute(found)}


def standing_columns(user_id: Any, now: Any) -> list[Label[Any]]:
    """The columns that `standing_of` reads.

    `user_id` is a value, a parameter, or a column to correlate with; `now` one of the first two.
    """
    return [
        debt_of(user_id).label("debt"),
        _count_overdue(user_id, now).label("overdue"),
        _longest_block(Block.reason, user_id, now).label("block_reason"),
        _longest_block(Block.expires_at, user_id, now).label("blocked_until"),
    ]


def standing_of(row: Any) -> Standing:
    """The standing in a row with the columns of `standing_columns`."""
    return Standing(row.debt or NOTHING, row.overdue, row.block_reason, row.blocked_until)


def debt_of(user_id: Any) -> ScalarSelect[Decimal]:
    """The sum of a user's outstanding fees, or null for nothing."""
    # Written out, because a parameter would hide from SQLite that the partial index will do.
    outstanding = literal_column("fees.outstanding > 0", Boolean())
    owed = select(func.sum(Fee.outstanding)).where(Fee.user_id == user_id, outstanding)
    return owed.scalar_subquery()


def count_loans(
    user_id: Any, *, material_type: Any = None, branch_id: Any = None
) -> ScalarSelect[int]:
    """How many loans count against a limit: of one material or branch where it is given.

    A rule for one material counts loans of that material, one for a branch those of that branch.
    """
    counted = counted_loans(user_id)
    if material_type is not None:
        counted = counted.where(Loan.material_type == material_type)
    if branch_id is not None:
        counted = counted.where(Loan.branch_id == branch_id)
    return counted.scalar_subquery()


def counted_loans(user_id: Any) -> Select[int]:
    """How many loans there are on a user's account; those that are lost have a fee instead."""
    return _open_loans(user_id).where(Loan.status != "lost")


def is_named_by(key: str | UUID, prefix: str) -> bool:
    """Whether it is a natural key of this kind, and no id."""
    return isinstance(key, str) and key.startswith(prefix)


def value_of(key: str | UUID) -> str | UUID:
    """The id, or what stands after the prefix of a natural key."""
    if isinstance(key, UUID):
        return key
    prefix, _, value = key.partition(":")
    return value if value else UUID(prefix)


def _is_for_oneself(caller: Caller | None) -> bool:
    return caller is not None and not caller.may(STAFF)


def _own_id(caller: Caller | None) -> UUID | None:
    return None if caller is None else caller.user_id


def _item(values: Iterator[Any]) -> Item:
    copy, branch = COPY.take(values), BRANCH.take(values)
    assert copy is not None  # noqa: S101 - The statement does not find one without the other.
    assert branch is not None  # noqa: S101
    return Item(copy, Calendar.of(branch), branch.updated_at)


def _open_loans(user_id: Any) -> Select[int]:
    return select(func.count()).where(Loan.user_id == user_id, Loan.returned_at.is_(None))


def _count_overdue(user_id: Any, now: Any) -> ScalarSelect[int]:
    return _open_loans(user_id).where(Loan.status == "open", Loan.due_at < now).scalar_subquery()


def _longest_block(column: InstrumentedAttribute[Any], user_id: Any, now: Any) -> ScalarSelect[Any]:
    """A column of the block that is over last; one without an end is over after all others."""
    active = (
        select(column)
        .where(
            Block.user_id == user_id,
            Block.lifted_at.is_(None),
            or_(Block.expires_at.is_(None), Block.expires_at > now),
        )
        .order_by(Block.expires_at.is_not(None), Block.expires_at.desc(), Block.id)
    )
    return active.limit(1).scalar_subquery()
