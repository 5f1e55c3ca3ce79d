"""Entries of the ledger: how one is written, and what those of a fee come to.

Signs are those of `circdesk.circulation.models.LedgerEntry`. A fee's `amount` and `outstanding`
only ever change here, together with the entries that they are the sums of.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk.circulation.deeds import Deed
from circdesk.circulation.models import Fee, LedgerEntry
from circdesk.circulation.money import NOTHING
from circdesk.visits import find_actor

_LOCKED = {"populate_existing": True}
# What an entry counts for: a reversal counts against what it reverses.
_COUNTS_FOR = func.coalesce(LedgerEntry.reverses, LedgerEntry.kind)


@dataclass(frozen=True, slots=True)
class Released:
    """What became of a charge that was taken back.

    Args:
        amount: How much is not charged any more.
        refunded: What of it had been paid and is to be handed back.
    """

    amount: Decimal
    refunded: Decimal


def new_fee(
    session: Session,
    deed: Deed,
    *,
    user_id: UUID,
    kind: str,
    reason: str | None = None,
    loan_id: UUID | None = None,
) -> Fee:
    """A fee with nothing charged yet; see `charge` for what it takes."""
    fee = Fee(
        id=uuid7(),
        user_id=user_id,
        loan_id=loan_id,
        kind=kind,
        reason=reason,
        amount=NOTHING,
        outstanding=NOTHING,
        loan_renewals=0,
        earlier=NOTHING,
        created_at=deed.now,
    )
    deed.add(session, fee)
    return fee


def enter(
    session: Session,
    deed: Deed,
    fee: Fee,
    kind: str,
    amount: Decimal,
    *,
    reverses: str | None = None,
    comment: str | None = None,
) -> LedgerEntry:
    """Write one entry, and change what the fee comes to by it.

    Args:
        session: A writing unit of work.
        deed: The action.
        fee: The fee, locked.
        kind: The kind of the entry.
        amount: How much, with the sign that the kind has.
        reverses: What a reversal reverses.
        comment: What staff have to say about it.
    """
    values = {"outstanding": fee.outstanding + amount}
    if (reverses or kind) == "charge":
        values["amount"] = fee.amount + amount
    deed.change(fee, **values)
    # A fee is as old as the desk's clock says.
    fee.updated_at = deed.now
    entry = LedgerEntry(
        id=uuid7(),
        user_id=fee.user_id,
        fee_id=fee.id,
        kind=kind,
        reverses=reverses,
        amount=amount,
        comment=comment,
        actor_id=find_actor()[1],
        event_id=deed.id,
        occurred_at=deed.now,
    )
    session.add(entry)
    return entry


def take_back(
    session: Session, deed: Deed, fee: Fee, amount: Decimal, *, refunding: bool
) -> Released:
    """Take back a part of what was charged, at most `fee.amount`.

    What is still owed goes first, then what was waived, and last what was paid: that is refunded,
    or, without `refunding`, stays charged.
    """
    settled = max(amount - fee.outstanding, NOTHING)
    waived = NOTHING
    if settled:
        # Nothing of this fee waits to be stored, and what does is stored with all the rest.
        with session.no_autoflush:
            waived = min(settled, -find_totals(session, fee.id).get("waiver", NOTHING))
    paid = settled - waived
    refunded, released = (paid, amount) if refunding else (NOTHING, amount - paid)
    if refunded:
        enter(session, deed, fee, "refund", refunded)
    if waived:
        enter(session, deed, fee, "reversal", waived, reverses="waiver")
    if released:
        enter(session, deed, fee, "reversal", -released, reverses="charge")
    return Released(released, refunded)


def find_totals(session: Session, fee_id: UUID) -> dict[str, Decimal]:
    """The sum of a fee's entries of each kind, reversals counted with what they reverse."""
    totals = (
        select(_COUNTS_FOR, func.sum(LedgerEntry.amount))
        .where(LedgerEntry.fee_id == fee_id)
        .group_by(_COUNTS_FOR)
    )
    return dict(session.execute(totals).all())


def lock_fees(session: Session, loan_ids: Iterable[UUID], kind: str) -> dict[UUID, Fee]:
    """The fees of a kind that loans have, by loan, locked; one statement."""
    fees = lock(session, Fee.loan_id.in_([*loan_ids]), Fee.kind == kind)
    return {fee.loan_id: fee for fee in fees if fee.loan_id is not None}


def lock_fee(session: Session, fee_id: UUID) -> Fee | None:
    """The fee with this id, locked; None where there is none."""
    return next(iter(lock(session, Fee.id == fee_id)), None)


def lock(session: Session, *conditions: ColumnElement[bool]) -> list[Fee]:
    """The fees that match, locked in one order, as they are now."""
    found = select(Fee).where(*conditions).order_by(Fee.id)
    locked = found.with_for_update(key_share=True, of=Fee).execution_options(**_LOCKED)
    return [*session.scalars(locked)]
