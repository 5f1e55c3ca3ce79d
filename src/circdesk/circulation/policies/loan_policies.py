"""What can be done with loan policies."""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.audit.entries import record
from circdesk.catalog.branches import is_branch
from circdesk.catalog.checks import suggestion
from circdesk.catalog.copy_problems import unknown_reference
from circdesk.catalog.models import Branch
from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.money import present_money
from circdesk.circulation.policies.matching import scope_of
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.engine import CURRENCY
from circdesk.db.errors import raises_on
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.versions import raise_if_known, raise_if_modified, show_alone

JSON = dict[str, Any]

_SORTS = {"created_at": (LoanPolicy.created_at,)}
_SCOPE = ("user_category", "material_type", "branch_id")
# What a rule says, but for amounts: stored and shown as it is sent.
_PLAIN = (
    "name",
    "user_category",
    "material_type",
    "period_unit",
    "period_length",
    "period_date",
    "closed_days",
    "renewals",
    "renewable_days",
    "max_loans",
    "max_holds",
    "max_overdue",
    "lends",
    "holds",
    "self_service",
    "hold_shelf_days",
    "recall_days",
    "grace_days",
)
_AMOUNTS = ("max_debt", "fee_per_day", "fee_cap", "lost_fee")


class PolicyScopeTaken(Problem):
    """Another rule is for the same users, material and branch."""

    code: ClassVar[str] = "policy_scope_taken"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Another rule is for the same users, material and branch."
    advice: ClassVar[str] = "Change the rule in `suggestions` instead, or be more specific."


class LoanPeriodInvalid(Problem):
    """The period lacks what its unit needs, or has what belongs to another one."""

    code: ClassVar[str] = "loan_period_invalid"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The loan period is incomplete, or says two things."
    advice: ClassVar[str] = (
        "With `days` and `hours`, send `period_length` and null for `period_date`; with "
        "`fixed_date` the other way round."
    )


def list_policies(session: Session, query: PageQuery) -> Page:
    """One page of the rules."""
    return paginate(
        session,
        select(LoanPolicy),
        sorts=_SORTS,
        query=query,
        present=lambda row: present_policy(session, row[0]),
    )


def create_policy(session: Session, content: JSON) -> JSON:
    """Make a rule. Raises PolicyScopeTaken, LoanPeriodInvalid and ReferenceUnknown."""
    return _store(session, LoanPolicy(), content, "loan_policy.create")


def read_policy(session: Session, policy_id: UUID) -> JSON:
    """One rule. Raises NotFound."""
    raise_if_known(session, LoanPolicy, LoanPolicy.id == policy_id)
    policy = _find(session, policy_id)
    show_alone(session, policy)
    return present_policy(session, policy)


def change_policy(session: Session, policy_id: UUID, content: JSON) -> JSON:
    """Set what the content names, the rest stays: with a whole rule as its content, replace it.

    Raises NotFound, PreconditionFailed, and else as `create_policy`.
    """
    policy = _find(session, policy_id, changing=True)
    return _store(session, policy, content, "loan_policy.update")


def delete_policy(session: Session, policy_id: UUID) -> None:
    """Delete a rule; loans keep the terms that it gave them.

    Raises NotFound and PreconditionFailed.
    """
    policy = _find(session, policy_id, changing=True)
    session.delete(policy)
    record(session, "loan_policy.delete", "loan_policy", policy.id)


def unsaved_policy(session: Session, content: JSON) -> LoanPolicy:
    """The rule that a whole content would make, which no session knows.

    Raises LoanPeriodInvalid and ReferenceUnknown.
    """
    values = _values(session, LoanPolicy(), content)
    return LoanPolicy(**values, scope=_scope(values))


def present_policy(session: Session, policy: LoanPolicy) -> JSON:
    """A rule as the contract shows it."""
    currency: str = session.get_bind().get_execution_options()[CURRENCY]
    amounts = {name: getattr(policy, name) for name in _AMOUNTS}
    return {
        "id": policy.id,
        "branch_id": policy.branch_id,
        **{name: getattr(policy, name) for name in _PLAIN},
        **{
            name: None if amount is None else present_money(amount, currency)
            for name, amount in amounts.items()
        },
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    }


def _find(session: Session, policy_id: UUID, *, changing: bool = False) -> LoanPolicy:
    """The rule; with `changing`, locked, and of a version that the caller knows."""
    found = select(LoanPolicy).where(LoanPolicy.id == policy_id)
    policy = session.scalar(found.with_for_update() if changing else found)
    if policy is None:
        raise NotFound(f"No loan policy has the id {policy_id}.")
    if changing:
        raise_if_modified(session, policy)
    return policy


def _store(session: Session, policy: LoanPolicy, content: JSON, deed: str) -> JSON:
    values = _values(session, policy, content)
    scope = _scope(values)
    holder = session.scalar(select(LoanPolicy.id).where(LoanPolicy.scope == scope))
    if holder not in (None, policy.id):
        raise _scope_taken(holder)
    changed = sorted(name for name, value in values.items() if getattr(policy, name) != value)
    for name in changed:
        setattr(policy, name, values[name])
    policy.scope = scope
    session.add(policy)
    with (
        # Between the checks and this, another transaction may have taken or deleted something.
        raises_on("uq_loan_policies_scope", _scope_taken()),
        raises_on(
            "fk_loan_policies_branch_id_branches",
            unknown_reference("branch", str(content.get("branch_id"))),
        ),
    ):
        session.flush()
    if changed:
        record(session, deed, "loan_policy", policy.id, fields=changed)
    return present_policy(session, policy)


def _values(session: Session, policy: LoanPolicy, content: JSON) -> JSON:
    """All that the rule will say: what the content names, and else what it says already."""
    values = {name: content.get(name, getattr(policy, name)) for name in _PLAIN}
    for name in _AMOUNTS:
        values[name] = getattr(policy, name)
        if name in content:
            values[name] = None if content[name] is None else Decimal(content[name])
    values["branch_id"] = policy.branch_id
    if "branch_id" in content:
        values["branch_id"] = _branch_id(session, content["branch_id"])
    _raise_unless_period(values)
    return values


def _branch_id(session: Session, key: str | None) -> UUID | None:
    if key is None:
        return None
    branch_id = session.scalar(select(Branch.id).where(is_branch(key)))
    if branch_id is None:
        raise unknown_reference("branch", key)
    return branch_id


def _raise_unless_period(values: JSON) -> None:
    """Raise LoanPeriodInvalid unless the unit has what belongs to it, and nothing else."""
    unit = values["period_unit"]
    own, other = "period_length", "period_date"
    if unit == "fixed_date":
        own, other = other, own
    details = []
    if values[own] is None:
        details.append(fault("body", f"/{own}", "required", f"{unit} needs {own}"))
    if values[other] is not None:
        details.append(fault("body", f"/{other}", "null", f"{unit} takes no {other}"))
    if details:
        message = " and ".join(detail["message"] for detail in details)
        raise LoanPeriodInvalid(f"A period of {message}.", details=details)


def _scope(values: JSON) -> str:
    return scope_of(*(values[name] for name in _SCOPE))


def _scope_taken(holder: UUID | None = None) -> PolicyScopeTaken:
    message = "Another rule is for the same users, material and branch."
    parameters = {"policy_id": str(holder)}
    return PolicyScopeTaken(
        message,
        details=[fault("body", f"/{name}", "unique", message) for name in _SCOPE],
        suggestions=[
            suggestion("get_loan_policy", parameters, reason="It is for the same."),
        ]
        if holder
        else (),
    )
