"""The clock of circulation: real time, but for a sandbox, whose desk can be ahead of it.

Loans, holds, fees and notices ask here. Tokens, sessions, limits and cursors stay on real time.
"""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.circulation.models import SandboxClock
from circdesk.db.engine import SANDBOX


def now(session: Session) -> datetime:
    """The present moment at the desk, aware, in UTC; one statement in a sandbox, else none."""
    return clock.now() + offset(session)


def offset(session: Session) -> timedelta:
    """How far the desk is ahead of real time; nothing outside a sandbox."""
    if not is_sandbox(session):
        return timedelta()
    seconds = session.scalar(select(SandboxClock.offset_seconds))
    return timedelta(seconds=seconds or 0)


def is_sandbox(session: Session) -> bool:
    """Whether this deployment's clock may be moved."""
    return bool(session.get_bind().get_execution_options().get(SANDBOX, False))
