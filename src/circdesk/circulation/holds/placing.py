"""Placing a hold: a person takes a place in the queue for a title, or for one copy of it."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from circdesk.audit.entries import record
from circdesk.circulation.borrowers import block_ends, next_allowed_at
from circdesk.circulation.decisions import ActionRefused, Consent, Decision, plan_key
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.holds.forecasts import Forecast, forecast
from circdesk.circulation.holds.place_facts import PlaceFacts, Subject, find_subject, load_facts
from circdesk.circulation.holds.place_reasons import blockers, confirmations, warnings
from circdesk.circulation.holds.presenting import present_hold
from circdesk.circulation.holds.ranks import last_rank
from circdesk.circulation.holds.recalls import Recall, recall
from circdesk.circulation.holds.titles import Title, TitleCopy
from circdesk.circulation.models import Hold, LoanPolicy
from circdesk.circulation.reasons import Reason
from circdesk.circulation.time import now as desk_now
from circdesk.contract.problems import fault
from circdesk.db.errors import DatabaseBusy, raises_on
from circdesk.visits import Caller

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a hold that can be placed at all comes to."""

    facts: PlaceFacts
    rule: LoanPolicy
    recall: Recall | None
    expected: Forecast


def decide_place_hold(session: Session, caller: Caller | None, question: JSON) -> Decision:
    """Whether `user` may have a hold on `book` or `copy`; nothing is locked. Five statements.

    Raises IsbnInvalid and IsbnAmbiguous.
    """
    return _decide(session, caller, question, locking=False)[0]


def place_hold(session: Session, caller: Caller | None, body: JSON) -> JSON:
    """Put `user` into the queue for `book` or `copy`; answers the hold, warnings, the way back.

    Raises:
        ActionRefused: The rules do not allow it, or something is not confirmed.
        PlanOutdated: The decision that the caller has seen would be another one now.
        IsbnInvalid: The book is named by what is no ISBN.
        IsbnAmbiguous: Several books have the ISBN.
    """
    consent = Consent.of(body)
    decision, plan = _decide(session, caller, body, locking=True)
    decision.settle(consent, caller).raise_unless_allowed(consent, plan_key(session))
    assert plan is not None  # noqa: S101 - nobody can lift what lets it be missing.
    facts = plan.facts
    deed = Deed("hold.place", now=facts.now, user_id=facts.borrower.id)
    hold = _join(session, deed, plan)
    if plan.recall is not None:
        recall(session, deed, plan.recall)
    _write_down(session, deed, hold, decision, consent)
    return {
        "hold": present_hold(hold, plan.expected),
        "warnings": [reason.present() for reason in decision.warnings],
        "compensation": deed.present_compensation(),
    }


def _decide(
    session: Session, caller: Caller | None, question: JSON, *, locking: bool
) -> tuple[Decision, _Plan | None]:
    subject = find_subject(session, caller, question, desk_now(session), locking=locking)
    decision = Decision("place_hold", subject.ids)
    decision.blockers = [*_unknown(subject, question)]
    if decision.blockers:
        return decision, None
    # Asked once nothing is waited for any more, so that the queue is in the order of time.
    facts = load_facts(session, subject, question, desk_now(session))
    rule, found = facts.rule, facts.find_recall()
    decision.rule = rule
    decision.blockers = [*blockers(session, caller, facts)]
    decision.confirmations = [*confirmations(facts)]
    decision.warnings = [*warnings(found)]
    ends = {"user_blocked": block_ends(facts.borrower, facts.standing)}
    decision.when_allowed = partial(next_allowed_at, ends=ends)
    decision.seen = _seen(facts, found)
    if rule is None:
        return decision, None
    expected = _expected(facts, found)
    decision.result = {
        "queue_position": expected.position,
        "expected_on": expected.expected_on,
    }
    return decision, _Plan(facts, rule, found, expected)


def _unknown(subject: Subject, question: JSON) -> list[Reason]:
    """What the question names that there is not; without a title, nobody looks for the branch."""
    title = "copy_unknown" if "copy" in question else "book_unknown"
    found: dict[str, object] = {"user_unknown": subject.borrower, title: subject.book}
    if subject.book is not None:
        found["branch_unknown"] = subject.pickup
    return [Reason(code) for code, there in found.items() if there is None]


def _expected(facts: PlaceFacts, found: Recall | None) -> Forecast:
    new, copies = facts.new_place, facts.title.copies
    if found is not None:
        copies = [_recalled(copy, found) for copy in copies]
    return forecast(Title([*facts.title.queue, new], copies), facts.now)[new.hold_id]


def _recalled(copy: TitleCopy, found: Recall) -> TitleCopy:
    """The copy as it will be once the loan is recalled."""
    return replace(copy, due_at=found.due_at) if copy.loan_id == found.loan_id else copy


def _seen(facts: PlaceFacts, found: Recall | None) -> list[object]:
    """What the hold depends on, besides the reasons and the rule."""
    return [
        *(facts.suspended_until, facts.borrower.category, facts.material_type),
        len(facts.title.queue),
        None if found is None else found.loan_id,
    ]


def _join(session: Session, deed: Deed, plan: _Plan) -> Hold:
    facts = plan.facts
    hold = Hold(
        user_id=facts.borrower.id,
        book_id=facts.book.id,
        copy_id=None if facts.copy is None else facts.copy.id,
        pickup_branch_id=facts.pickup.id,
        status="waiting",
        rank=last_rank([place.rank for place in facts.title.queue], facts.now),
        placed_at=facts.now,
        suspended_until=facts.suspended_until,
        shelf_days=plan.rule.hold_shelf_days,
    )
    deed.add(session, hold)
    return hold


def _write_down(
    session: Session, deed: Deed, hold: Hold, decision: Decision, consent: Consent
) -> None:
    lifted = {reason.code for reason in decision.overridden}
    deed.data |= {"book_id": str(hold.book_id), "pickup_branch_id": str(hold.pickup_branch_id)}
    details: JSON = {}
    if lifted:
        deed.data["overridden"] = sorted(lifted)
        details = {"overridden": lifted, "comment": consent.comment}
    busy = DatabaseBusy("The branch has just been deleted.", headers={"Retry-After": "1"})
    with (
        raises_on("uq_holds_active_user", _already_held(session, decision)),
        raises_on("fk_holds_pickup_branch_id_branches", busy),
    ):
        record_deeds(session, [(deed, hold)])
    record(session, "hold.place", "hold", hold.id, **details)


def _already_held(session: Session, decision: Decision) -> ActionRefused:
    """What whoever is late hears where the locks have let two through."""
    reason = Reason("already_held")
    message = reason.present()["message"]
    shown = replace(decision, blockers=[reason]).present(plan_key(session))
    return ActionRefused(message, shown, details=[fault("body", "", reason.code, message)])
