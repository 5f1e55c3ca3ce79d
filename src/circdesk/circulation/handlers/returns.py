"""HTTP face of returns."""

from circdesk.circulation import returns
from circdesk.circulation.returns import JSON
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller


def return_copy(*, body: JSON) -> JSON:
    """Take a copy back."""
    return returns.return_copy(current_session(), current_caller(), body)


def return_copies(*, body: JSON) -> JSON:
    """Take many copies back, each on its own."""
    return returns.return_copies(current_session(), current_caller(), body, "/api/bulk-returns")
