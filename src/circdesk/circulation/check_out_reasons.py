"""Why a copy may not be lent to a person, what has to be confirmed, and what is worth knowing."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from sqlalchemy.orm import Session

from circdesk.circulation.borrowers import borrower_reasons, limit_reasons, present_moment
from circdesk.circulation.check_out_facts import CheckOutFacts
from circdesk.circulation.facts import STAFF
from circdesk.circulation.policies.due_dates import Due
from circdesk.circulation.reasons import Reason
from circdesk.visits import Caller

# States in which a copy is not there to be lent.
_AWAY: Mapping[str, str] = MappingProxyType(
    {
        "in_transit": "copy_in_transit",
        "on_order": "copy_on_order",
        "in_repair": "copy_damaged",
        "missing": "copy_missing",
        "lost": "copy_lost",
        "withdrawn": "copy_withdrawn",
    }
)


def blockers(
    session: Session, caller: Caller | None, facts: CheckOutFacts, due: Due | None
) -> Iterator[Reason]:
    """What stands in the way: the copy, then the person, then the rule."""
    yield from _copy_blockers(facts)
    yield from borrower_reasons(
        session, caller, facts.borrower, facts.standing, facts.rule, facts.today
    )
    yield from _rule_blockers(caller, facts, due)


def confirmations(facts: CheckOutFacts) -> Iterator[Reason]:
    """What the caller has to say yes to."""
    if facts.same_title:
        yield Reason("same_title_on_loan", {"current": facts.same_title})


def warnings(facts: CheckOutFacts, due: Due | None) -> Iterator[Reason]:
    """What is worth knowing."""
    if facts.hold is not None:
        yield Reason("fulfils_hold", {"hold_id": str(facts.hold.id)})
    if due is None:
        return
    if due.moved and facts.rule is not None:
        yield Reason("due_date_moved", {"closed_days": facts.rule.closed_days})
    expires_on = facts.borrower.expires_on
    if expires_on is not None and facts.today <= expires_on < facts.item.calendar.local_day(due.at):
        yield Reason("card_expires_first", {"expires_on": expires_on.isoformat()})


def _copy_blockers(facts: CheckOutFacts) -> Iterator[Reason]:
    copy = facts.item.copy
    if copy.status in _AWAY:
        yield Reason(_AWAY[copy.status])
    elif copy.status == "on_loan" or facts.lent_until is not None:
        until = facts.lent_until
        yield Reason("copy_on_loan", {"due_at": None if until is None else present_moment(until)})
    elif copy.status == "on_hold_shelf" and not _is_set_aside(facts):
        yield Reason("held_for_another", {"on_hold_shelf": True})
    elif copy.status == "available" and copy.loanable and 0 < facts.ahead >= facts.available:
        yield Reason("held_for_another", {"waiting": facts.ahead, "available": facts.available})
    if not copy.loanable:
        yield Reason("not_for_loan")


def _rule_blockers(
    caller: Caller | None, facts: CheckOutFacts, due: Due | None
) -> Iterator[Reason]:
    rule = facts.rule
    if rule is None or due is None:
        yield Reason("no_loan_policy")
        return
    policy = {"policy_id": str(rule.id)}
    if not rule.lends and facts.item.copy.loanable:
        yield Reason("not_for_loan", policy)
    if not rule.self_service and caller is not None and not caller.may(STAFF):
        yield Reason("self_service_not_allowed", policy)
    yield from limit_reasons("loan_limit", facts.loans, rule, rule.max_loans, adding=1)
    if due.over:
        yield Reason("loan_period_over", {**policy, "due_at": present_moment(due.at)})


def _is_set_aside(facts: CheckOutFacts) -> bool:
    """Whether the copy is on the shelf, or on its way there, for this very person."""
    return facts.hold is not None and facts.hold.trapped_copy_id == facts.item.copy.id
