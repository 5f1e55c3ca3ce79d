"""Figures of the library for whoever watches it: what is lent, what waits for the worker."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.catalog.imports.models import ImportJob
from circdesk.circulation import time
from circdesk.circulation.models import Loan, Notice

# By the name of the figure and the value of its one label.
Figures = Mapping[str, Mapping[str, int]]

# The states of an import, so that one which no import is in counts as none.
_STATES = ("queued", "running", "done", "failed")


def read_figures(session: Session) -> Figures:
    """Loans, imports, and what waits for the worker; each is counted from an index."""
    open_loans = select(func.count()).select_from(Loan).where(Loan.returned_at.is_(None))
    overdue = open_loans.where(Loan.due_at < time.now(session))
    by_state = select(ImportJob.state, func.count()).group_by(ImportJob.state)
    imports = {state: int(count) for state, count in session.execute(by_state)}
    unsent = select(func.count()).select_from(Notice).where(Notice.next_attempt_at <= clock.now())
    return {
        "loans": {
            "open": session.scalar(open_loans) or 0,
            "overdue": session.scalar(overdue) or 0,
        },
        "imports": dict.fromkeys(_STATES, 0) | imports,
        "worker_queue": {
            "imports": imports.get("queued", 0),
            "notices": session.scalar(unsent) or 0,
        },
    }
