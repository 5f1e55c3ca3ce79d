"""HTTP face of loans: lists, and what staff change of them."""

from typing import Unpack
from uuid import UUID

from circdesk.circulation import loan_changes, loan_lists
from circdesk.circulation.loan_lists import JSON, LoanQuery, OwnLoanQuery, UserLoanQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller, current_user_id


def list_loans(**query: Unpack[LoanQuery]) -> Page:
    """List loans."""
    return loan_lists.list_loans(current_session(), current_caller(), query)


def get_loan(*, loan_id: UUID) -> JSON:
    """Read one loan."""
    return loan_lists.read_loan(current_session(), current_caller(), loan_id)


def change_due_date(*, loan_id: UUID, body: JSON) -> JSON:
    """Change when a loan is due."""
    return loan_changes.change_due_date(current_session(), loan_id, body)


def declare_loan_lost(*, loan_id: UUID) -> JSON:
    """Declare a lent copy lost."""
    return loan_changes.declare_loan_lost(current_session(), loan_id)


def claim_loan_returned(*, loan_id: UUID) -> JSON:
    """Note that a copy is said to be back."""
    return loan_changes.claim_loan_returned(current_session(), loan_id)


def recover_loan(*, loan_id: UUID) -> JSON:
    """Note that a copy was found by its borrower."""
    return loan_changes.recover_loan(current_session(), loan_id)


def list_user_loans(**query: Unpack[UserLoanQuery]) -> Page:
    """List the loans of a user."""
    return loan_lists.list_user_loans(current_session(), current_caller(), query)


def list_my_loans(**query: Unpack[OwnLoanQuery]) -> Page:
    """List the caller's loans."""
    caller, user_id = current_caller(), current_user_id()
    return loan_lists.list_own_loans(current_session(), caller, user_id, query)
