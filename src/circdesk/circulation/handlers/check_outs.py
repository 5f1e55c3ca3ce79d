"""HTTP face of check-out."""

from typing import Any

from circdesk.circulation import check_outs
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller

JSON = dict[str, Any]


def check_out_copy(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Check out a copy."""
    done = check_outs.check_out_copy(current_session(), current_caller(), body)
    return done, 201, {"Location": f"/api/loans/{done['loan']['id']}"}
