"""The demo's loan policies: for everything, for films, and for a branch with self-service."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.circulation.models import LoanPolicy
from circdesk.circulation.policies.matching import scope_of

# What the demo's rules have in common.
_USUAL: dict[str, Any] = {
    "user_category": None,
    "material_type": None,
    "branch_id": None,
    "period_unit": "days",
    "period_length": 28,
    "period_date": None,
    "closed_days": "next_open_day",
    "renewals": 2,
    "renewable_days": None,
    "max_loans": 15,
    "max_holds": 10,
    "max_overdue": 3,
    "max_debt": Decimal("20.00"),
    "lends": True,
    "holds": True,
    "self_service": False,
    "hold_shelf_days": 7,
    "recall_days": None,
    "fee_per_day": Decimal("0.20"),
    "fee_cap": Decimal("10.00"),
    "grace_days": 0,
    "lost_fee": Decimal("25.00"),
}
_RULES: tuple[dict[str, Any], ...] = (
    {"name": "Everything else"},
    {
        "name": "Films",
        "material_type": "video",
        "period_length": 7,
        "renewals": 1,
        "max_loans": 5,
        "fee_per_day": Decimal("1.00"),
        "grace_days": 1,
    },
    {
        "name": "Harbour Branch",
        "branch_id": demo_id(Kind.BRANCH, 2),
        "period_length": 14,
        "closed_days": "previous_open_day",
        "self_service": True,
        "recall_days": 7,
    },
)


def demo_policies() -> Iterator[LoanPolicy]:
    """The rules, with the ids and times that the contract's examples tell."""
    for number, rule in enumerate(_RULES, start=1):
        values = {**_USUAL, **rule}
        scope = scope_of(values["user_category"], values["material_type"], values["branch_id"])
        yield LoanPolicy(
            id=demo_id(Kind.LOAN_POLICY, number),
            scope=scope,
            created_at=MOMENT,
            updated_at=MOMENT,
            **values,
        )
