"""What is done with a fee that is there: it is paid, waived, refunded."""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy.orm import Session

from circdesk.circulation.deeds import Deed
from circdesk.circulation.fees.entries import enter, find_totals, lock_fee
from circdesk.circulation.fees.fees import conclude, currency_of, missing_fee
from circdesk.circulation.models import Fee
from circdesk.circulation.money import NOTHING
from circdesk.circulation.time import now
from circdesk.contract.problems import Problem, fault
from circdesk.visits import Caller

JSON = dict[str, Any]


class OutstandingExceeded(Problem):
    """More than is outstanding cannot be paid or waived."""

    code: ClassVar[str] = "outstanding_exceeded"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Less than that is outstanding."
    advice: ClassVar[str] = "Send at most the amount in `allowed`; `0.00` means that it is settled."


class PaidExceeded(Problem):
    """More than was paid cannot be refunded."""

    code: ClassVar[str] = "paid_exceeded"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Less than that was paid and not refunded."
    advice: ClassVar[str] = "Send at most the amount in `allowed`; `0.00` means that nothing is."


def pay_fee(session: Session, caller: Caller, fee_id: UUID, content: JSON) -> JSON:
    """Take a payment of the whole fee or a part of it.

    Args:
        session: A writing unit of work.
        caller: Who takes it.
        fee_id: The fee.
        content: `amount` and `comment`.

    Returns:
        The fee, the entry, and the way back.

    Raises:
        NotFound: There is no such fee.
        OutstandingExceeded: Less is outstanding.
    """
    return _settle(session, caller, fee_id, content, "payment")


def waive_fee(session: Session, caller: Caller, fee_id: UUID, content: JSON) -> JSON:
    """Let the whole fee or a part of it go. Takes, answers and raises what `pay_fee` does."""
    return _settle(session, caller, fee_id, content, "waiver")


def refund_fee(session: Session, caller: Caller, fee_id: UUID, content: JSON) -> JSON:
    """Give back what was paid, or a part of it, which is waived then, so that nobody owes it again.

    Takes and answers what `pay_fee` does.

    Raises:
        NotFound: There is no such fee.
        PaidExceeded: Less was paid and not refunded.
    """
    fee, amount = _locked(session, fee_id), Decimal(content["amount"])
    totals = find_totals(session, fee.id)
    paid = -totals.get("payment", NOTHING) - totals.get("refund", NOTHING)
    if amount > paid:
        message, details = _refusal(session, "paid and not refunded", amount, paid)
        raise PaidExceeded(message, details=details)
    deed = Deed("fee.refund", now=now(session), user_id=fee.user_id)
    entry = enter(session, deed, fee, "refund", amount, comment=content["comment"])
    enter(session, deed, fee, "waiver", -amount, comment=content["comment"])
    return conclude(session, caller, deed, fee, entry)


_DEEDS = {"payment": "fee.pay", "waiver": "fee.waive"}


def _settle(session: Session, caller: Caller, fee_id: UUID, content: JSON, kind: str) -> JSON:
    fee, amount = _locked(session, fee_id), Decimal(content["amount"])
    if amount > fee.outstanding:
        message, details = _refusal(session, "outstanding", amount, fee.outstanding)
        raise OutstandingExceeded(message, details=details)
    deed = Deed(_DEEDS[kind], now=now(session), user_id=fee.user_id)
    entry = enter(session, deed, fee, kind, -amount, comment=content["comment"])
    return conclude(session, caller, deed, fee, entry)


def _locked(session: Session, fee_id: UUID) -> Fee:
    fee = lock_fee(session, fee_id)
    if fee is None:
        raise missing_fee(fee_id)
    return fee


def _refusal(
    session: Session, what: str, asked: Decimal, allowed: Decimal
) -> tuple[str, list[JSON]]:
    """The message and the details of a refusal, with the amounts."""
    currency = currency_of(session)
    message = f"{asked:.2f} {currency} is more than the {allowed:.2f} {currency} {what}."
    return message, [fault("body", "/amount", "amount", message, f"{allowed:.2f}")]
