"""Probes: whether the service can do its work."""

from typing import Any

from sqlalchemy.orm import Session

from circdesk.contract.problems import Problem
from circdesk.db.migrations import at_head


class NotReady(Problem):
    """The database answers, but its schema is not the one that this release needs."""

    code = "not_ready"
    status = 503
    title = "The service is not ready."
    advice = "Run the migrations (circdesk db upgrade), then try again."


def readiness(session: Session) -> dict[str, Any]:
    """What was checked, each `ok`.

    Raises:
        DatabaseUnavailable: The database does not answer.
        NotReady: Migrations are missing.
    """
    if not at_head(session.connection()):
        raise NotReady("The database lacks migrations.", headers={"Retry-After": "5"})
    return {"status": "ready", "checks": {"database": "ok", "migrations": "ok"}}
