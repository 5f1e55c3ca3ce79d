"""Loans as callers see them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from circdesk.circulation.models import Loan
from circdesk.contract.requests import NotFound

JSON = dict[str, Any]


def present_loan(loan: Loan, now: datetime) -> JSON:
    """A loan as the contract shows it; `now` is the desk's, by which it is overdue or not."""
    return {
        "id": loan.id,
        "user_id": loan.user_id,
        "copy_id": loan.copy_id,
        "book_id": loan.book_id,
        "branch_id": loan.branch_id,
        "material_type": loan.material_type,
        "status": loan.status,
        "lent_at": loan.lent_at,
        "due_at": loan.due_at,
        "overdue": is_overdue(loan, now),
        "returned_at": loan.returned_at,
        "renewals": loan.renewals,
        "renewed_at": loan.renewed_at,
        "recalled_at": loan.recalled_at,
        "policy_id": loan.policy_id,
        "created_at": loan.created_at,
        "updated_at": loan.updated_at,
    }


def is_overdue(loan: Loan, now: datetime) -> bool:
    """Whether the person should have brought it back; not if it is lost or said to be back."""
    return loan.status == "open" and loan.due_at < now


def unknown_loan(loan_id: UUID) -> NotFound:
    """The problem of a loan that is not there, or not for this caller: the same for both."""
    return NotFound(f"No loan has the id {loan_id}.")
