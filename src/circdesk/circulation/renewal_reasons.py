"""Whether a loan may be renewed, why not, and when time alone would change that."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy.orm import Session

from circdesk.circulation.borrowers import (
    block_ends,
    borrower_reasons,
    limit_reasons,
    next_allowed_at,
    present_moment,
)
from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.due_dates import Due, due_date
from circdesk.circulation.reasons import Reason
from circdesk.circulation.renewal_facts import RenewalFacts
from circdesk.visits import Caller

_DAY = timedelta(days=1)
# Days in which a renewal is looked for that would make a loan due later; ten years.
_SEARCHED = range(1, 3660)


def blockers(
    session: Session, caller: Caller | None, facts: RenewalFacts, due: Due | None
) -> Iterator[Reason]:
    """What stands in the way: the loan, then the person, then the rule; no statement."""
    if facts.loan.status != "open":
        yield Reason("loan_not_open", {"status": facts.loan.status})
        return
    if facts.borrower is not None and facts.standing is not None:
        yield from borrower_reasons(
            session, caller, facts.borrower, facts.standing, facts.rule, facts.today
        )
    if facts.rule is None or due is None:
        yield Reason("no_loan_policy")
        return
    yield from _copy_blockers(facts, facts.rule)
    yield from _rule_blockers(facts, facts.rule, due)


def warnings(facts: RenewalFacts, due: Due | None) -> Iterator[Reason]:
    """What is worth knowing."""
    if facts.overdue:
        yield Reason("loan_overdue", {"due_at": present_moment(facts.loan.due_at)})
    if due is None or facts.rule is None:
        return
    if due.moved:
        yield Reason("due_date_moved", {"closed_days": facts.rule.closed_days})
    expires_on = None if facts.borrower is None else facts.borrower.expires_on
    if expires_on is not None and facts.today <= expires_on < facts.calendar.local_day(due.at):
        yield Reason("card_expires_first", {"expires_on": expires_on.isoformat()})


def when_allowed(facts: RenewalFacts, reasons: Sequence[Reason]) -> datetime | None:
    """When the last of these blockers is over by itself; None where one of them never is."""
    if not reasons:
        return None
    ends: dict[str, datetime | None] = {"too_soon": _renewable_from(facts)}
    if facts.borrower is not None and facts.standing is not None:
        ends["user_blocked"] = block_ends(facts.borrower, facts.standing)
    # That takes some looking for, which is for nothing where another reason stays.
    codes = {reason.code for reason in reasons}
    passing = "would_not_change" in codes and codes <= {"would_not_change", *ends}
    if passing and facts.rule is not None:
        ends["would_not_change"] = _when_it_changes(facts, facts.rule)
    return next_allowed_at(reasons, ends)


def _copy_blockers(facts: RenewalFacts, rule: LoanPolicy) -> Iterator[Reason]:
    if not rule.lends:
        yield Reason("not_for_loan", {"policy_id": str(rule.id)})
    elif facts.copy is not None and not facts.copy.loanable:
        yield Reason("not_for_loan")
    if facts.loan.recalled_at is not None:
        yield Reason("loan_recalled", {"recalled_at": present_moment(facts.loan.recalled_at)})
    waiting, available = facts.queue.waiting, facts.queue.available
    # What is on the shelf goes to who waits first; this copy is wanted if that is not enough.
    if waiting > available:
        yield Reason("held_by_others", {"waiting": waiting, "available": available})


def _rule_blockers(facts: RenewalFacts, rule: LoanPolicy, due: Due) -> Iterator[Reason]:
    loan, policy = facts.loan, {"policy_id": str(rule.id)}
    yield from limit_reasons("renewal_limit", loan.renewals, rule, rule.renewals, adding=1)
    renewable_from = _renewable_from(facts)
    if renewable_from is not None and facts.now < renewable_from:
        yield Reason("too_soon", {**policy, "renewable_from": present_moment(renewable_from)})
    if due.over:
        yield Reason("loan_period_over", {**policy, "due_at": present_moment(due.at)})
    elif due.at <= loan.due_at:
        yield Reason("would_not_change", {"due_at": present_moment(loan.due_at)})


def _renewable_from(facts: RenewalFacts) -> datetime | None:
    """The beginning of the first day on which the rule lets the loan be renewed."""
    if facts.rule is None or facts.rule.renewable_days is None:
        return None
    due_on = facts.calendar.local_day(facts.loan.due_at)
    return _midnight(facts, due_on - timedelta(days=facts.rule.renewable_days))


def _when_it_changes(facts: RenewalFacts, rule: LoanPolicy) -> datetime | None:
    """When a renewal would begin to make the loan due later; None where the day is fixed."""
    if rule.period_unit == "fixed_date":
        return None
    due_at, calendar = facts.loan.due_at, facts.calendar
    if rule.period_unit == "hours":
        start = due_at - timedelta(hours=rule.period_length or 0) + timedelta(seconds=1)
        return start if due_date(rule, calendar, start).at > due_at else None

    def due_after(days: int) -> datetime:
        return due_date(rule, calendar, _midnight(facts, facts.today + days * _DAY)).at

    # The later it is renewed the later it is due, so that the first such day is found by halves.
    place = bisect_right(_SEARCHED, due_at, key=due_after)
    return None if place == len(_SEARCHED) else _midnight(facts, facts.today + (place + 1) * _DAY)


def _midnight(facts: RenewalFacts, day: date) -> datetime:
    return datetime.combine(day, time(), facts.calendar.zone).astimezone(UTC)
