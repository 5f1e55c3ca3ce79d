"""HTTP face of the loan policies."""

from typing import Any, Unpack
from uuid import UUID

from circdesk.circulation.policies import effective, impact, loan_policies
from circdesk.circulation.policies.effective import EffectiveQuery
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller

JSON = dict[str, Any]


def list_loan_policies(**query: Unpack[PageQuery]) -> Page:
    """List loan policies."""
    return loan_policies.list_policies(current_session(), query)


def create_loan_policy(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a loan policy."""
    policy = loan_policies.create_policy(current_session(), body)
    return policy, 201, {"Location": f"/api/loan-policies/{policy['id']}"}


def get_loan_policy(*, policy_id: UUID) -> JSON:
    """Read one loan policy."""
    return loan_policies.read_policy(current_session(), policy_id)


def replace_loan_policy(*, policy_id: UUID, body: JSON) -> JSON:
    """Replace a loan policy."""
    return loan_policies.change_policy(current_session(), policy_id, body)


def update_loan_policy(*, policy_id: UUID, body: JSON) -> JSON:
    """Change a loan policy."""
    return loan_policies.change_policy(current_session(), policy_id, body)


def delete_loan_policy(*, policy_id: UUID) -> None:
    """Delete a loan policy."""
    loan_policies.delete_policy(current_session(), policy_id)


def list_effective_policies(**query: Unpack[EffectiveQuery]) -> JSON:
    """List the policies that match, the one that decides first."""
    return effective.list_effective(current_session(), current_caller(), query)


def measure_policy_impact(*, body: JSON) -> JSON:
    """Measure what an unsaved policy would change."""
    return impact.measure_impact(current_session(), body)
