"""Check-out: a copy is lent to a person."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.audit.entries import describe_entry
from circdesk.catalog.models import Copy
from circdesk.circulation.borrowers import block_ends, next_allowed_at
from circdesk.circulation.check_out_facts import CheckOutFacts, load_facts
from circdesk.circulation.check_out_reasons import blockers, confirmations, warnings
from circdesk.circulation.decisions import Consent, Decision, plan_key
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.facts import STAFF, find_both
from circdesk.circulation.holds.queue import fulfil, is_active
from circdesk.circulation.loans import present_loan
from circdesk.circulation.models import Hold, Loan, LoanPolicy
from circdesk.circulation.policies.due_dates import Due, due_date
from circdesk.circulation.policies.terms import FeeTerms
from circdesk.circulation.reasons import Reason
from circdesk.circulation.time import now as desk_now
from circdesk.db.errors import DatabaseBusy, raises_on
from circdesk.db.plain_rows import plain
from circdesk.visits import Caller

JSON = dict[str, Any]

_NewLoan = plain(Loan)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a loan that can be made at all is made of."""

    facts: CheckOutFacts
    rule: LoanPolicy
    due: Due


def decide_check_out(session: Session, caller: Caller | None, question: JSON) -> Decision:
    """Whether `copy` may be lent to `user`, and until when; nothing is locked. Two statements."""
    return _decide(session, caller, question, locking=False)[0]


def check_out_copy(session: Session, caller: Caller | None, body: JSON) -> JSON:
    """Lend `copy` to `user`; answers the loan, the warnings and the way back.

    Raises:
        ActionRefused: The rules do not allow it, or something is not confirmed.
        PlanOutdated: The decision that the caller has seen would be another one now.
    """
    consent = Consent.of(body)
    decision, terms = _decide(session, caller, body, locking=True)
    decision.settle(consent, caller).raise_unless_allowed(consent, plan_key(session))
    assert terms is not None  # noqa: S101 - nobody can lift what lets them be missing.
    # Who lends to oneself must not take it back without anybody having seen the copy.
    at_the_desk = caller is None or caller.may(STAFF)
    deed = Deed(
        "loan.check_out", now=terms.facts.now, user_id=terms.facts.borrower.id, undoable=at_the_desk
    )
    loan = _lend(deed, terms)
    lifted = {reason.code for reason in decision.overridden}
    if "held_for_another" in lifted:
        _let_wait_again(session, deed, terms.facts)
    _write_down(session, deed, loan, lifted, consent)
    return {
        "loan": present_loan(loan, terms.facts.now),
        "warnings": [reason.present() for reason in decision.warnings],
        "compensation": deed.present_compensation(),
    }


def _decide(
    session: Session, caller: Caller | None, question: JSON, *, locking: bool
) -> tuple[Decision, _Terms | None]:
    borrower, item = find_both(session, caller, question["user"], question["copy"], locking=locking)
    subject = {
        "user_id": None if borrower is None else borrower.id,
        "copy_id": None if item is None else item.copy.id,
    }
    decision = Decision("check_out", subject)
    if borrower is None or item is None:
        unknown = {"user_unknown": borrower, "copy_unknown": item}
        decision.blockers = [Reason(code) for code, found in unknown.items() if found is None]
        return decision, None
    # Asked once nothing is waited for any more, so that loans begin in the order of their locks.
    now = desk_now(session)
    facts = load_facts(session, borrower, item, now)
    rule = decision.rule = facts.rule
    due = None if rule is None else due_date(rule, item.calendar, now)
    decision.blockers = [*blockers(session, caller, facts, due)]
    decision.confirmations = [*confirmations(facts)]
    decision.warnings = [*warnings(facts, due)]
    ends = {"user_blocked": block_ends(borrower, facts.standing)}
    decision.when_allowed = partial(next_allowed_at, ends=ends)
    decision.seen = _seen(facts)
    if rule is None or due is None or due.over:
        return decision, None
    decision.result = _result(facts, rule, due)
    return decision, _Terms(facts, rule, due)


def _result(facts: CheckOutFacts, rule: LoanPolicy, due: Due) -> JSON:
    result = {"due_at": due.at, "copy_status": "on_loan", "renewals_left": rule.renewals}
    return result if facts.hold is None else {**result, "hold_id": facts.hold.id}


def _seen(facts: CheckOutFacts) -> list[object]:
    """What the loan depends on, besides the reasons and the rule."""
    copy, hold = facts.item.copy, facts.hold
    return [
        *(copy.status, copy.event_id, copy.branch_id, copy.material_type, copy.book_id),
        facts.item.branch_updated_at,
        facts.borrower.category,
        *((hold.id, hold.event_id) if hold is not None else ()),
    ]


def _lend(deed: Deed, terms: _Terms) -> Loan:
    facts, copy = terms.facts, terms.facts.item.copy
    moment = clock.now()
    loan = _NewLoan(
        id=uuid7(),
        user_id=facts.borrower.id,
        copy_id=copy.id,
        book_id=copy.book_id,
        branch_id=copy.branch_id,
        user_category=facts.borrower.category,
        material_type=copy.material_type,
        status="open",
        lent_at=facts.now,
        due_at=terms.due.at,
        renewals=0,
        policy_id=terms.rule.id,
        terms=FeeTerms.of(terms.rule).as_json(),
        created_at=moment,
        updated_at=moment,
    )
    deed.makes(loan)
    deed.changes_copy(copy, "on_loan")
    if facts.hold is not None:
        fulfil(deed, facts.hold, facts.now)
    return loan


def _let_wait_again(session: Session, deed: Deed, facts: CheckOutFacts) -> None:
    """Put the hold for which the copy was set aside back to where it stood in the queue."""
    copy: Copy = facts.item.copy
    hold = session.scalar(
        select(Hold)
        .where(Hold.trapped_copy_id == copy.id, is_active())
        .with_for_update(key_share=True)
    )
    if hold is not None:
        deed.change(
            hold, status="waiting", trapped_copy_id=None, ready_at=None, shelf_expires_at=None
        )


def _write_down(
    session: Session, deed: Deed, loan: Loan, lifted: set[str], consent: Consent
) -> None:
    # Neither the person nor the copy: the entry stays when the loan has forgotten whose it was.
    details: JSON = {}
    if lifted:
        deed.data["overridden"] = sorted(lifted)
        details = {"overridden": lifted, "comment": consent.comment}
    busy = DatabaseBusy("The loan policy has just been deleted.", headers={"Retry-After": "1"})
    with raises_on("fk_loans_policy_id_loan_policies", busy):
        entry = describe_entry("loan.check_out", "loan", loan.id, **details)
        record_deeds(session, [(deed, loan)], entry)
