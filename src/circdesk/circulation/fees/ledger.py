"""The ledger: what the desk charges for, and takes back again.

Whoever changes the fee of a loan has locked the loan, so that a loan's first fee is made by one
transaction alone.
"""

from collections.abc import Mapping
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.circulation.deeds import Deed
from circdesk.circulation.fees.entries import (
    Released,
    enter,
    lock,
    lock_fees,
    new_fee,
    take_back,
)
from circdesk.circulation.models import Fee, LedgerEntry, Loan
from circdesk.circulation.money import NOTHING


def charge(
    session: Session,
    deed: Deed,
    *,
    user_id: UUID,
    kind: str,
    amount: Decimal,
    reason: str | None = None,
    loan_id: UUID | None = None,
) -> Fee:
    """Charge a fee, or more of the one that the loan has of this kind already.

    Args:
        session: A writing unit of work.
        deed: The action that it is charged for; the fee is one of its rows.
        user_id: Who owes it.
        kind: overdue, lost or manual.
        amount: How much, more than nothing.
        reason: What it is for, where the kind does not say it.
        loan_id: The loan, which the caller has locked.

    Returns:
        The fee, not flushed yet.
    """
    fee = None if loan_id is None else lock_fees(session, [loan_id], kind).get(loan_id)
    if fee is None:
        fee = new_fee(session, deed, user_id=user_id, kind=kind, reason=reason, loan_id=loan_id)
    enter(session, deed, fee, "charge", amount)
    return fee


def settle_overdue(
    session: Session,
    deed: Deed,
    loan: Loan,
    total: Decimal,
    fees: Mapping[UUID, Fee] | None = None,
) -> Fee | None:
    """Let the overdue fee of a loan be what it has to be by now: charge the rest, or take it back.

    Call it before the loan's own `due_at` and `renewals` change: a renewal begins a new time, whose
    fee comes on top. After a due date was changed by hand, call it with what the new one makes.
    What was paid already stays charged: nobody hands money back because a calendar has changed.

    Args:
        session: A writing unit of work.
        deed: The action that settles it.
        loan: The loan, locked, and somebody's still.
        total: What its overdue days cost since it was last renewed, `policies.terms.overdue_fee`.
        fees: What `lock_fees` found, where many loans are settled at once.

    Returns:
        The fee, not flushed yet; None where none was ever charged and none is due.
    """
    if fees is None:
        fees = lock_fees(session, [loan.id], "overdue")
    fee = fees.get(loan.id)
    if fee is None:
        if not total:
            return None
        if loan.user_id is None:
            raise ValueError("a loan that is nobody's any more owes nothing")
        fee = new_fee(session, deed, user_id=loan.user_id, kind="overdue", loan_id=loan.id)
    earlier = fee.earlier if fee.loan_renewals == loan.renewals else fee.amount
    difference = total - (fee.amount - earlier)
    if difference:
        deed.change(fee, earlier=earlier, loan_renewals=loan.renewals)
    if difference > 0:
        enter(session, deed, fee, "charge", difference)
    elif difference:
        take_back(session, deed, fee, -difference, refunding=False)
    return fee


def release_lost_fee(session: Session, deed: Deed, loan: Loan) -> Released:
    """Take back what was charged for the loss of a loan's copy, which was found again.

    What is still owed of it is not owed any more, and what was paid is refunded; the answer says
    how much that is, for somebody has to hand it back.

    Args:
        session: A writing unit of work.
        deed: The action by which the copy is there again.
        loan: The loan, locked.
    """
    fee = lock_fees(session, [loan.id], "lost").get(loan.id)
    if fee is None or not fee.amount:
        return Released(NOTHING, NOTHING)
    return take_back(session, deed, fee, fee.amount, refunding=True)


def reverse_entries(session: Session, deed: Deed, event_id: UUID) -> list[Fee]:
    """Take back, by counter-entries, all that an event wrote into the ledger.

    It brings `amount` and `outstanding` of the fees back too, through the deed, so that nothing
    else of a fee needs to be restored: one that the event made stays, with nothing charged.

    Args:
        session: A writing unit of work.
        deed: The reversal.
        event_id: The event that is reversed, and by which its fees were changed last.

    Returns:
        The fees, locked and changed, not flushed yet.
    """
    entries = session.scalars(
        select(LedgerEntry).where(LedgerEntry.event_id == event_id).order_by(LedgerEntry.id)
    ).all()
    if not entries:
        return []
    fees = lock(session, Fee.id.in_({entry.fee_id for entry in entries}))
    by_id = {fee.id: fee for fee in fees}
    for entry in entries:
        counted = entry.reverses or entry.kind
        enter(session, deed, by_id[entry.fee_id], "reversal", -entry.amount, reverses=counted)
    return fees
