"""HTTP face of renewals."""

from uuid import UUID

from circdesk.circulation import renewals
from circdesk.circulation.renewals import JSON
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller


def renew_loan(*, loan_id: UUID, body: JSON | None) -> JSON:
    """Renew a loan."""
    return renewals.renew_loan(current_session(), current_caller(), loan_id, body)


def renew_loans(*, body: JSON) -> JSON:
    """Renew many loans, each on its own."""
    return renewals.renew_loans(current_session(), current_caller(), body, "/api/bulk-renewals")
