"""Why a person may not have a hold, what has to be confirmed, and what is worth knowing."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from sqlalchemy.orm import Session

from circdesk.circulation.borrowers import borrower_reasons, limit_reasons, present_moment
from circdesk.circulation.holds.place_facts import PlaceFacts
from circdesk.circulation.holds.recalls import Recall
from circdesk.circulation.holds.titles import Place
from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.reasons import Reason
from circdesk.visits import Caller

# States in which a copy will not come to anybody who asks for this very one.
_GONE: Mapping[str, str] = MappingProxyType(
    {"missing": "copy_missing", "lost": "copy_lost", "withdrawn": "copy_withdrawn"}
)


def blockers(session: Session, caller: Caller | None, facts: PlaceFacts) -> Iterator[Reason]:
    """What stands in the way: what is wanted, then the person, then the rule."""
    yield from _copy_blockers(facts)
    yield from _title_blockers(facts)
    today = facts.calendar.local_day(facts.now)
    yield from borrower_reasons(session, caller, facts.borrower, facts.standing, facts.rule, today)
    yield from _rule_blockers(facts)


def confirmations(facts: PlaceFacts) -> Iterator[Reason]:
    """What the caller has to say yes to."""
    here = [copy for copy in facts.free_copies() if copy.branch_id == facts.pickup.id]
    if here and not facts.new_place.is_suspended(facts.now):
        yield Reason("copy_available", {"branch_id": str(facts.pickup.id), "copies": len(here)})


def warnings(recall: Recall | None) -> Iterator[Reason]:
    """What is worth knowing."""
    if recall is not None:
        yield Reason("recalls_loan", {"due_at": present_moment(recall.due_at)})


def _copy_blockers(facts: PlaceFacts) -> Iterator[Reason]:
    if facts.copy is None:
        if not any(copy.can_come for copy in facts.title.copies):
            yield Reason("nothing_to_lend")
        return
    if facts.copy.status in _GONE:
        yield Reason(_GONE[facts.copy.status])
    if not facts.copy.loanable:
        yield Reason("not_for_loan")


def _title_blockers(facts: PlaceFacts) -> Iterator[Reason]:
    held = [place for place in facts.own if place.book_id == facts.book.id]
    if held:
        yield Reason("already_held", {"hold_id": str(held[0].hold_id)})
    lent = [
        copy
        for copy in facts.wanted_copies()
        if copy.loan_status == "open" and copy.borrower_id == facts.borrower.id
    ]
    if lent:
        yield Reason("already_borrowed", {"loan_id": str(lent[0].loan_id)})


def _rule_blockers(facts: PlaceFacts) -> Iterator[Reason]:
    rule = facts.rule
    if rule is None:
        yield Reason("no_loan_policy")
        return
    if (refused := refusal(rule)) is not None:
        yield refused
    current = [place for place in facts.own if counts_for(rule, place)]
    yield from limit_reasons("hold_limit", len(current), rule, rule.max_holds, adding=1)


def counts_for(rule: LoanPolicy, place: Place) -> bool:
    """Whether a limit counts a hold: a rule for one material or branch counts holds of that."""
    return rule.material_type in (None, place.material_type) and rule.branch_id in (
        None,
        place.pickup_branch_id,
    )


def refusal(rule: LoanPolicy) -> Reason | None:
    """The blocker of a rule that takes no holds: at this branch, or at all."""
    if rule.holds:
        return None
    code = "holds_not_allowed" if rule.branch_id is None else "pickup_not_allowed"
    return Reason(code, {"policy_id": str(rule.id)})
