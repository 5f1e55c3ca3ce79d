"""Returns: a copy that somebody has in hand ends its loan, and goes where it belongs."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from circdesk.audit.entries import describe_entry
from circdesk.auth.problems import scope_missing
from circdesk.catalog.models import Book, Copy
from circdesk.circulation.bulk import done, refused
from circdesk.circulation.decisions import Consent, Decision, plan_key
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.facts import STAFF, is_copy
from circdesk.circulation.fees.fees import currency_of
from circdesk.circulation.fees.ledger import release_lost_fee, settle_overdue
from circdesk.circulation.holds.destinations import send
from circdesk.circulation.loans import present_loan
from circdesk.circulation.models import Fee, Hold, Loan
from circdesk.circulation.money import NOTHING, present_money
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.reasons import Reason
from circdesk.circulation.return_facts import Lent, ReturnFacts, find_place, load_facts
from circdesk.circulation.return_reasons import blockers, warnings
from circdesk.circulation.time import now as desk_now
from circdesk.contract.problems import Problem
from circdesk.db.errors import DatabaseBusy, raises_on
from circdesk.db.plain_rows import write_rows
from circdesk.visits import Caller

JSON = dict[str, Any]

# Who may learn whose turn it is.
_READ_ALL = "circulation:read"


def decide_return(session: Session, caller: Caller | None, question: JSON) -> Decision:
    """What becomes of `copy` when it is returned at `branch`; four statements at most.

    Nothing is locked. Raises ScopeMissing for whoever does not act at the desk.
    """
    if caller is not None and not caller.may(STAFF):
        raise scope_missing([STAFF])
    return _decide(session, question, locking=False)[0]


def return_copy(session: Session, caller: Caller | None, body: JSON) -> JSON:
    """Take `copy` back at `branch`; answers what became of its loan, and what to do with it.

    Raises:
        ActionRefused: There is no such copy or branch, or the copy is not there to be returned.
        PlanOutdated: The decision that the caller has seen would be another one now.
    """
    consent = Consent.of(body)
    decision, facts = _decide(session, body, locking=True)
    decision.settle(consent, caller).raise_unless_allowed(consent, plan_key(session))
    assert facts is not None  # noqa: S101 - nobody can lift what lets them be missing.
    lent, destination, next_step = facts.lent, facts.destination, facts.next_step
    deed = Deed(
        "copy.return" if lent is None else "loan.return",
        now=facts.now,
        user_id=None if lent is None else lent.loan.user_id,
    )
    changes = lent is not None or facts.moves
    refund = NOTHING if lent is None else _end_loan(session, deed, lent)
    if destination is not None and facts.moves:
        here, calendar = facts.branch.id, Calendar.of(facts.branch)
        send(deed, facts.copy, destination, here, calendar, facts.now)
    _write_down(session, deed, facts, decision, consent, changes=changes)
    currency = currency_of(session)
    return {
        "copy_id": facts.copy.id,
        "copy_status": facts.copy.status,
        "next_step": next_step,
        "branch_id": None if destination is None else destination.branch_id,
        "hold": None if destination is None else _present_hold(destination.hold, caller),
        "loan": None if lent is None else present_loan(lent.loan, facts.now),
        "fee": present_money(NOTHING if lent is None else lent.overdue_fee, currency),
        "refund": present_money(refund, currency),
        "warnings": [reason.present() for reason in decision.warnings],
        "compensation": deed.present_compensation() if changes else None,
    }


def return_copies(session: Session, caller: Caller | None, body: JSON, instance: str) -> JSON:
    """Take `copies` back at `branch`, each on its own; answers one outcome for each, in order.

    Args:
        session: A writing unit of work.
        caller: Who takes them back.
        body: The copies, and the consent to what each needs.
        instance: The path of the call.
    """
    _lock_all(session, body["copies"])
    outcomes = []
    for key in body["copies"]:
        try:
            # What is refused halfway has changed nothing.
            with session.begin_nested():
                outcomes.append(
                    done({"copy": key}, return_copy(session, caller, body | {"copy": key}))
                )
        except Problem as problem:
            outcomes.append(refused({"copy": key}, problem, instance))
    return {"items": outcomes}


def _lock_all(session: Session, keys: list[str]) -> None:
    """Lock all books and copies, then all loans, each in one order.

    Then no two bulk calls wait for each other, whatever the order in which they name things.
    """
    copies = session.scalars(
        select(Copy.id)
        .join_from(Book, Copy, Copy.book_id == Book.id)
        .where(or_(*(is_copy(key) for key in keys)))
        .order_by(Book.id, Copy.id)
        .with_for_update(key_share=True, of=[Book, Copy])
    ).all()
    session.execute(
        select(Loan.id)
        .where(Loan.copy_id.in_(copies), Loan.returned_at.is_(None))
        .order_by(Loan.id)
        .with_for_update(key_share=True)
    )


def _decide(
    session: Session, question: JSON, *, locking: bool
) -> tuple[Decision, ReturnFacts | None]:
    place = find_place(session, question["copy"], question.get("branch"), locking=locking)
    decision = Decision("return", {"copy_id": None if place is None else place.copy.id})
    if place is None or place.branch is None:
        decision.blockers = [Reason("copy_unknown" if place is None else "branch_unknown")]
        return decision, None
    # Asked once nothing is waited for any more, so that no loan ends before it has begun.
    now = desk_now(session)
    facts = load_facts(session, place, place.branch, now)
    decision.blockers = [*blockers(facts)]
    decision.warnings = [*warnings(facts)]
    decision.result = _result(session, facts)
    decision.seen = _seen(facts)
    return decision, facts


def _result(session: Session, facts: ReturnFacts) -> JSON:
    destination = facts.destination
    result: JSON = {
        "copy_status": facts.copy.status if destination is None else destination.status,
        "next_step": facts.next_step,
        "branch_id": None if destination is None else destination.branch_id,
    }
    if destination is not None and destination.hold is not None:
        result["hold_id"] = destination.hold.id
    if facts.lent is not None:
        result["fee"] = present_money(facts.lent.overdue_fee, currency_of(session))
    return result


def _seen(facts: ReturnFacts) -> list[object]:
    """What the return depends on, besides the reasons."""
    copy, lent, destination = facts.copy, facts.lent, facts.destination
    hold = None if destination is None else destination.hold
    return [
        *(copy.status, copy.event_id, copy.branch_id),
        *(facts.branch.id, facts.branch.updated_at),
        *((lent.loan.id, lent.loan.event_id, lent.loan.due_at) if lent is not None else ()),
        lent and lent.lender and lent.lender.updated_at,
        *((hold.id, hold.event_id) if hold is not None else ()),
    ]


def _end_loan(session: Session, deed: Deed, lent: Lent) -> Decimal:
    """End the loan and settle what it costs; answers what is to be handed back."""
    refund = NOTHING
    # Most often the night before has charged it already, which saves a look at the fee.
    if lent.overdue and lent.overdue_fee != (lent.charged or NOTHING):
        # Who has charged it while this one waited for the loan has left a mark on the loan.
        is_first = lent.charged is None and lent.loan.accrues_at is None
        no_fee: dict[UUID, Fee] | None = {} if is_first else None
        settle_overdue(session, deed, lent.loan, lent.overdue_fee, no_fee)
    if lent.loan.status == "lost":
        refund = release_lost_fee(session, deed, lent.loan).refunded
    deed.change(lent.loan, status="returned", returned_at=deed.now)
    return refund


def _present_hold(hold: Hold | None, caller: Caller | None) -> JSON | None:
    if hold is None:
        return None
    knows = caller is None or caller.may(_READ_ALL)
    return {
        "id": hold.id,
        "user_id": hold.user_id if knows else None,
        "pickup_branch_id": hold.pickup_branch_id,
        "shelf_expires_at": hold.shelf_expires_at,
    }


def _write_down(
    session: Session,
    deed: Deed,
    facts: ReturnFacts,
    decision: Decision,
    consent: Consent,
    *,
    changes: bool,
) -> None:
    """Store it all; a copy that is where and what it was before is no event."""
    lifted = {reason.code for reason in decision.overridden}
    details: JSON = {"branch_id": facts.branch.id}
    deed.data["branch_id"] = str(facts.branch.id)
    if lifted:
        deed.data["overridden"] = sorted(lifted)
        details |= {"overridden": lifted, "comment": consent.comment}
    subject = facts.copy if facts.lent is None else facts.lent.loan
    noun = "copy" if facts.lent is None else "loan"
    entry = describe_entry(deed.kind, noun, subject.id, **details)
    if changes:
        # The night's reckoning may have made the loan's first fee since the loan was looked at.
        busy = DatabaseBusy("The loan has just been charged.", headers={"Retry-After": "1"})
        with raises_on("uq_fees_loan", busy):
            record_deeds(session, [(deed, subject)], entry)
    else:
        write_rows(session, [entry])
