"""Renewals: loans begin anew, one or many at a time, each by the rule that decides now."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Session

from circdesk.audit.entries import record_all
from circdesk.circulation.bulk import done, refused
from circdesk.circulation.decisions import Consent, Decision, plan_key
from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.facts import STAFF
from circdesk.circulation.fees.entries import lock_fees
from circdesk.circulation.fees.fees import currency_of
from circdesk.circulation.fees.ledger import settle_overdue
from circdesk.circulation.loans import present_loan, unknown_loan
from circdesk.circulation.models import Loan, LoanPolicy
from circdesk.circulation.money import NOTHING, present_money
from circdesk.circulation.policies.due_dates import Due, due_date
from circdesk.circulation.policies.terms import FeeTerms
from circdesk.circulation.reasons import Reason
from circdesk.circulation.renewal_facts import RenewalFacts, lock_renewals, read_renewals
from circdesk.circulation.renewal_reasons import blockers, warnings, when_allowed
from circdesk.circulation.time import now as desk_now
from circdesk.contract.problems import Problem
from circdesk.db.errors import DatabaseBusy, raises_on
from circdesk.visits import Caller

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Renewal:
    """A renewal that is allowed, and the deed that carries it out."""

    facts: RenewalFacts
    decision: Decision
    rule: LoanPolicy
    due: Due
    deed: Deed


def decide_renewal(session: Session, caller: Caller | None, question: JSON) -> Decision:
    """Whether `loan` may be renewed, and until when; nothing is locked. Five statements."""
    loan_id = UUID(question["loan"])
    facts = read_renewals(session, [loan_id], _acts_on(caller), desk_now(session))
    if loan_id not in facts:
        return Decision("renew", {"loan_id": None}, blockers=[Reason("loan_unknown")])
    return decide(session, caller, facts[loan_id])[0]


def decide(
    session: Session, caller: Caller | None, facts: RenewalFacts
) -> tuple[Decision, Due | None]:
    """Whether a loan may be renewed, and until when; no statement."""
    loan, rule = facts.loan, facts.rule
    is_open = loan.status == "open"
    due = due_date(rule, facts.calendar, facts.now) if is_open and rule is not None else None
    decision = Decision("renew", {"loan_id": loan.id, "copy_id": loan.copy_id}, rule=rule)
    decision.blockers = [*blockers(session, caller, facts, due)]
    decision.warnings = [*warnings(facts, due)]
    decision.when_allowed = partial(when_allowed, facts)
    decision.seen = _seen(facts)
    if rule is not None and due is not None and not due.over:
        decision.result = {
            "due_at": due.at,
            "renewals_left": max(rule.renewals - loan.renewals - 1, 0),
            "fee": present_money(facts.overdue_fee, currency_of(session)),
        }
    return decision, due


def renew_loan(session: Session, caller: Caller | None, loan_id: UUID, body: JSON | None) -> JSON:
    """Renew a loan; answers it, what it costs by now, and the way back.

    Raises:
        NotFound: There is no such loan, or the caller may not act for who has it.
        ActionRefused: The rules do not allow it, or something is not confirmed.
        PlanOutdated: The decision that the caller has seen would be another one now.
    """
    answer = _renew(session, caller, [loan_id], Consent.of(body or {}))[loan_id]
    if isinstance(answer, Problem):
        raise answer
    return answer


def renew_loans(session: Session, caller: Caller | None, body: JSON, instance: str) -> JSON:
    """Renew `loans`, each on its own; answers one outcome for each, in their order.

    They cost as many statements as one does, so that a hundred take little longer.

    Args:
        session: A writing unit of work.
        caller: Who renews them.
        body: The loans, and the consent to what each needs.
        instance: The path of the call.
    """
    ids = {sent: UUID(sent) for sent in body["loans"]}
    answers = _renew(session, caller, [*dict.fromkeys(ids.values())], Consent.of(body))
    outcomes = []
    for sent, loan_id in ids.items():
        answer, subject = answers[loan_id], {"loan_id": sent}
        if isinstance(answer, Problem):
            outcomes.append(refused(subject, answer, instance))
        else:
            outcomes.append(done(subject, answer))
    return {"items": outcomes}


def _acts_on(caller: Caller | None) -> ColumnElement[bool]:
    """The condition for the loans that a caller may renew: all for staff, else the own ones."""
    if caller is None or caller.may(STAFF):
        return true()
    return Loan.user_id == caller.user_id


def _renew(
    session: Session, caller: Caller | None, loan_ids: Sequence[UUID], consent: Consent
) -> dict[UUID, JSON | Problem]:
    """What becomes of each loan: what the call for it alone answers, or the problem of it."""
    facts = lock_renewals(session, loan_ids, _acts_on(caller), desk_now(session))
    answers: dict[UUID, JSON | Problem] = {}
    renewals = []
    for loan_id in loan_ids:
        if loan_id not in facts:
            answers[loan_id] = unknown_loan(loan_id)
            continue
        try:
            renewals.append(_allow(session, caller, facts[loan_id], consent))
        except Problem as problem:
            answers[loan_id] = problem
    _carry_out(session, renewals, consent)
    return answers | {each.facts.loan.id: _present(session, each) for each in renewals}


def _allow(
    session: Session, caller: Caller | None, facts: RenewalFacts, consent: Consent
) -> _Renewal:
    decision, due = decide(session, caller, facts)
    decision.settle(consent, caller).raise_unless_allowed(consent, plan_key(session))
    assert due is not None  # noqa: S101 - nobody can lift what lets them be missing.
    assert facts.rule is not None  # noqa: S101
    deed = Deed("loan.renew", now=facts.now, user_id=facts.loan.user_id)
    return _Renewal(facts, decision, facts.rule, due, deed)


def _carry_out(session: Session, renewals: Sequence[_Renewal], consent: Consent) -> None:
    """Change all loans and write it down, in as many statements as one takes."""
    if not renewals:
        return
    # What was overdue until now is charged; from now on it is another time.
    overdue = [each.facts.loan.id for each in renewals if each.facts.overdue]
    fees = lock_fees(session, overdue, "overdue") if overdue else {}
    for each in renewals:
        facts, deed = each.facts, each.deed
        if facts.overdue:
            settle_overdue(session, deed, facts.loan, facts.overdue_fee, fees)
        _begin_anew(each)
        if lifted := sorted(reason.code for reason in each.decision.overridden):
            deed.data["overridden"] = lifted
    busy = DatabaseBusy("The loan policy has just been deleted.", headers={"Retry-After": "1"})
    with raises_on("fk_loans_policy_id_loan_policies", busy):
        record_deeds(session, [(each.deed, each.facts.loan) for each in renewals])
    record_all(
        session,
        "loan.renew",
        "loan",
        {each.facts.loan.id: _details(each, consent) for each in renewals},
    )


def _begin_anew(renewal: _Renewal) -> None:
    """Let the loan be what a check-out would make of it now, by the rule that decides now."""
    facts, rule = renewal.facts, renewal.rule
    assert facts.copy is not None  # noqa: S101 - no rule is for a copy that is gone.
    assert facts.borrower is not None  # noqa: S101
    values = {
        "due_at": renewal.due.at,
        "renewals": facts.loan.renewals + 1,
        "renewed_at": facts.now,
        "policy_id": rule.id,
        "terms": FeeTerms.of(rule).as_json(),
        "user_category": facts.borrower.category,
        "material_type": facts.copy.material_type,
        "branch_id": facts.copy.branch_id,
    }
    changed = {name: new for name, new in values.items() if getattr(facts.loan, name) != new}
    renewal.deed.change(facts.loan, **changed)


def _details(renewal: _Renewal, consent: Consent) -> JSON:
    """What the audit log keeps; not whose loan it is, for the loan itself forgets that some day."""
    lifted = {reason.code for reason in renewal.decision.overridden}
    return {"overridden": lifted, "comment": consent.comment} if lifted else {}


def _present(session: Session, renewal: _Renewal) -> JSON:
    result = renewal.decision.result or {}
    return {
        "loan": present_loan(renewal.facts.loan, renewal.facts.now),
        "fee": result["fee"],
        "refund": present_money(NOTHING, currency_of(session)),
        "warnings": [reason.present() for reason in renewal.decision.warnings],
        "compensation": renewal.deed.present_compensation(),
    }


def _seen(facts: RenewalFacts) -> list[object]:
    """What the renewal depends on, besides the reasons and the rule."""
    loan, copy = facts.loan, facts.copy
    return [
        *(loan.event_id, loan.due_at, loan.renewals, loan.status),
        *((copy.branch_id, copy.material_type) if copy is not None else ()),
        None if facts.branch is None else facts.branch.updated_at,
        None if facts.lent_by is None else facts.lent_by.updated_at,
        None if facts.borrower is None else facts.borrower.category,
    ]
