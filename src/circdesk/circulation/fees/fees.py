"""Fees as callers see them, and those that staff charge by hand."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from circdesk.accounts.users import find_user
from circdesk.audit.entries import record
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.fees.entries import enter, new_fee
from circdesk.circulation.models import Fee, LedgerEntry
from circdesk.circulation.money import present_money
from circdesk.circulation.time import now
from circdesk.contract.requests import NotFound
from circdesk.db.engine import CURRENCY
from circdesk.db.versions import show_version
from circdesk.visits import Caller

JSON = dict[str, Any]

# Who may see what everybody owes; others see what they owe themselves.
READ_ALL = "circulation:read"


def create_fee(session: Session, caller: Caller, content: JSON) -> JSON:
    """Charge a user a fee by hand.

    Args:
        session: A writing unit of work.
        caller: Who charges it.
        content: `user`, `amount` and `reason`.

    Returns:
        The fee, its first entry, and the way back.

    Raises:
        NotFound: There is no such user.
    """
    user = find_user(session, content["user"], changing=True)
    deed = Deed("fee.create", now=now(session), user_id=user.id)
    fee = new_fee(session, deed, user_id=user.id, kind="manual", reason=content["reason"])
    entry = enter(session, deed, fee, "charge", Decimal(content["amount"]))
    return conclude(session, caller, deed, fee, entry)


def read_fee(session: Session, caller: Caller, fee_id: UUID) -> JSON:
    """One fee. Raises NotFound, also for one that the caller may not see: the same for both."""
    fee = session.scalar(select(Fee).where(Fee.id == fee_id, is_visible_to(caller)))
    if fee is None:
        raise missing_fee(fee_id)
    show_version(session, fee)
    return present_fee(session, fee)


def conclude(session: Session, caller: Caller, deed: Deed, fee: Fee, entry: LedgerEntry) -> JSON:
    """Store what was done to one fee, its event and its entry in the audit log; the answer."""
    deed.data["amount"] = str(abs(entry.amount))
    record_deeds(session, [(deed, fee)])
    record(session, deed.kind, "fee", fee.id, amount=str(abs(entry.amount)))
    return {
        "fee": present_fee(session, fee),
        "entry": present_entry(session, caller, entry),
        "warnings": [],
        "compensation": deed.present_compensation(),
    }


def present_fee(session: Session, fee: Fee) -> JSON:
    """A fee as the contract shows it; no statement."""
    currency = currency_of(session)
    return {
        "id": fee.id,
        "user_id": fee.user_id,
        "loan_id": fee.loan_id,
        "kind": fee.kind,
        "reason": fee.reason,
        "status": _status(fee),
        "amount": present_money(fee.amount, currency),
        "outstanding": present_money(fee.outstanding, currency),
        "created_at": fee.created_at,
        "updated_at": fee.updated_at,
    }


def present_entry(session: Session, caller: Caller, entry: LedgerEntry) -> JSON:
    """An entry of the ledger as the contract shows it; who did it is for staff, and the doer."""
    shows_actor = caller.may(READ_ALL) or entry.actor_id == caller.user_id
    return {
        "id": entry.id,
        "fee_id": entry.fee_id,
        "kind": entry.kind,
        "reverses": entry.reverses,
        "amount": present_money(entry.amount, currency_of(session)),
        "comment": entry.comment,
        "actor_id": entry.actor_id if shows_actor else None,
        "event_id": entry.event_id,
        "occurred_at": entry.occurred_at,
    }


def is_visible_to(caller: Caller) -> ColumnElement[bool]:
    """The condition for the fees that a caller may read: all, or the own ones."""
    return true() if caller.may(READ_ALL) else Fee.user_id == caller.user_id


def missing_fee(fee_id: UUID) -> NotFound:
    """The problem of a fee that is not there, or not for the caller to see."""
    return NotFound(f"No fee has the id {fee_id}.")


def currency_of(session: Session) -> str:
    """The currency of all money."""
    currency: str = session.get_bind().get_execution_options()[CURRENCY]
    return currency


def _status(fee: Fee) -> str:
    if fee.outstanding:
        return "open"
    return "settled" if fee.amount else "cancelled"
