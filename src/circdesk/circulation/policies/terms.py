"""Terms: what a loan may cost, as it was agreed when it was lent or last renewed."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from circdesk.circulation.models import Loan, LoanPolicy
from circdesk.circulation.money import NOTHING
from circdesk.circulation.policies.calendars import Calendar

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """The terms on fees of a rule, which a loan keeps whatever becomes of the rule.

    Args:
        fee_per_day: For each open day after the day when it is due.
        fee_cap: What these come to at most; None for no limit.
        grace_days: How many open days are free.
        lost_fee: For a copy that is lost.
    """

    fee_per_day: Decimal
    fee_cap: Decimal | None
    grace_days: int
    lost_fee: Decimal

    @classmethod
    def of(cls, rule: LoanPolicy) -> "FeeTerms":
        """The terms of a rule."""
        return cls(rule.fee_per_day, rule.fee_cap, rule.grace_days, rule.lost_fee)

    @classmethod
    def of_loan(cls, loan: Loan) -> "FeeTerms":
        """The terms of a loan, from `loan.terms`."""
        terms = loan.terms
        return cls(
            fee_per_day=Decimal(terms["fee_per_day"]),
            fee_cap=None if terms["fee_cap"] is None else Decimal(terms["fee_cap"]),
            grace_days=terms["grace_days"],
            lost_fee=Decimal(terms["lost_fee"]),
        )

    def as_json(self) -> JSON:
        """What `loan.terms` holds: amounts as decimal strings."""
        return {
            "fee_per_day": str(self.fee_per_day),
            "fee_cap": None if self.fee_cap is None else str(self.fee_cap),
            "grace_days": self.grace_days,
            "lost_fee": str(self.lost_fee),
        }


def overdue_fee(terms: FeeTerms, calendar: Calendar, due_at: datetime, until: datetime) -> Decimal:
    """What a loan costs that was due then and comes back, or is still out, at `until`."""
    late = calendar.open_days(calendar.local_day(due_at), calendar.local_day(until))
    fee = max(late - terms.grace_days, 0) * terms.fee_per_day + NOTHING
    return fee if terms.fee_cap is None else min(fee, terms.fee_cap)
