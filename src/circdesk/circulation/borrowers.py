"""What stands between a borrower and anything new, whatever that is: loan, renewal or hold."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

from sqlalchemy.orm import Session

from circdesk.circulation.facts import STAFF, Borrower, Standing
from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.money import present_money
from circdesk.circulation.reasons import Reason
from circdesk.db.engine import CURRENCY
from circdesk.visits import Caller


def borrower_reasons(
    session: Session,
    caller: Caller | None,
    borrower: Borrower,
    standing: Standing,
    rule: LoanPolicy | None,
    today: date,
) -> list[Reason]:
    """The blockers that lie in the person; no statement.

    Args:
        session: Knows the currency.
        caller: Who asks; staff alone learn why somebody is blocked. None is the service itself.
        borrower: Who wants something.
        standing: How the person stands.
        rule: The rule that decides; without one there are no limits.
        today: The present day in the zone of the branch.
    """
    reasons = []
    if borrower.status == "blocked" or standing.block_reason is not None:
        reasons.append(_blocked(caller, borrower, standing))
    if borrower.expires_on is not None and borrower.expires_on < today:
        reasons.append(Reason("card_expired", {"expired_on": borrower.expires_on.isoformat()}))
    if rule is None:
        return reasons
    if rule.max_debt is not None and standing.debt >= rule.max_debt:
        currency = session.get_bind().get_execution_options()[CURRENCY]
        amounts = {"amount": standing.debt, "limit": rule.max_debt}
        values = {name: present_money(amount, currency) for name, amount in amounts.items()}
        reasons.append(Reason("debt_limit", {**values, "policy_id": str(rule.id)}))
    reasons += limit_reasons("overdue_limit", standing.overdue, rule, rule.max_overdue)
    return reasons


def limit_reasons(
    code: str, current: int, rule: LoanPolicy, allowed: int | None, *, adding: int = 0
) -> list[Reason]:
    """The blocker of a limit that is passed once `adding` more are there; else nothing."""
    if allowed is None or current + adding <= allowed:
        return []
    return [
        Reason(code, {"current": current, "allowed": allowed, "policy_id": str(rule.id)}),
    ]


def block_ends(borrower: Borrower, standing: Standing) -> datetime | None:
    """When the person is not blocked any more; None for never, or where nobody is blocked."""
    return None if borrower.status == "blocked" else standing.blocked_until


def next_allowed_at(
    blockers: Sequence[Reason], ends: Mapping[str, datetime | None]
) -> datetime | None:
    """When the last of the blockers is over; None where there are none, or one does not end.

    Args:
        blockers: What stands in the way.
        ends: When blockers end by themselves, by their codes.
    """
    moments = [ends.get(reason.code) for reason in blockers]
    known = [moment for moment in moments if moment is not None]
    return max(known) if known and len(known) == len(moments) else None


def _blocked(caller: Caller | None, borrower: Borrower, standing: Standing) -> Reason:
    ends = block_ends(borrower, standing)
    values: dict[str, str | None] = {"until": None if ends is None else present_moment(ends)}
    if standing.block_reason is not None and (caller is None or caller.may(STAFF)):
        values["reason"] = standing.block_reason
    return Reason("user_blocked", values)


def present_moment(moment: datetime) -> str:
    """A moment as the values of a reason hold it: RFC 3339, in UTC with `Z`."""
    return moment.isoformat().replace("+00:00", "Z")
