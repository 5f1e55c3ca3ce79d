"""The clock of a sandbox: moved, it lets loans fall due without anybody waiting for it."""

import math
import time
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.audit.entries import record
from circdesk.circulation.models import SandboxClock
from circdesk.circulation.periodic import forget, run_due
from circdesk.circulation.time import is_sandbox, offset
from circdesk.contract.formats import parse_date_time
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.unit_of_work import sessions_of, unit_of_work_before
from circdesk.events.recording import describe_event, record_events

JSON = dict[str, Any]

# Calendars, due dates and the contract's numbers all reach further than that.
END_OF_TIME = datetime(2200, 1, 1, tzinfo=UTC)

# What is not done by then the worker goes on with, so that a caller is never left waiting.
_LONGEST_WORK_SECONDS = 20


class ClockOutOfRange(Problem):
    """The clock cannot be moved there."""

    code: ClassVar[str] = "clock_out_of_range"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The clock cannot be moved there."
    advice: ClassVar[str] = "Move it forward, and to the year 2199 at most."


def read_clock(session: Session) -> JSON:
    """What time it is at the desk. Raises NotFound outside a sandbox."""
    _raise_outside_sandbox(session)
    return _present(offset(session))


def move_clock(session: Session, move: JSON) -> JSON:
    """Move the clock forward, and do what the time that passes brings about.

    The new time is stored before that, in a transaction of its own, as each of the chores has one.

    Args:
        session: A unit of work that has not touched the database yet.
        move: Either `to`, a moment, or `days` and `hours`, either of which may be absent.

    Raises:
        NotFound: This is no sandbox.
        ClockOutOfRange: The clock would go back, or beyond its range.
    """
    _raise_outside_sandbox(session)
    with unit_of_work_before(session, writing=True) as moving:
        ahead = _move(moving, move)
    deadline = time.monotonic() + _LONGEST_WORK_SECONDS
    sessions = sessions_of(session)
    done = {
        name: count
        for work in (run_due, forget)
        for name, count in work(sessions, lambda: time.monotonic() > deadline).items()
    }
    return {**_present(ahead), "done": done, "complete": time.monotonic() <= deadline}


def _move(session: Session, move: JSON) -> timedelta:
    # Whoever moves it first, perhaps with somebody else, finds no row to lock.
    session.execute(text("INSERT INTO sandbox_clock VALUES (1, 0) ON CONFLICT DO NOTHING"))
    row = session.get_one(SandboxClock, 1, with_for_update=True)
    before = row.offset_seconds
    row.offset_seconds = _new_offset(before, move)
    ahead = timedelta(seconds=row.offset_seconds)
    seconds = row.offset_seconds - before
    now = clock.now() + ahead
    event = describe_event("clock.move", "clock", None, now=now, data={"seconds": seconds})
    record_events(session, [event])
    record(session, "clock.move", "clock", seconds=seconds)
    return ahead


def _new_offset(before: int, move: JSON) -> int:
    real = clock.now()
    now = real + timedelta(seconds=before)
    if "to" in move:
        pointer, wanted = "/to", parse_date_time(move["to"])
    else:
        pointer = ""
        wanted = now + timedelta(days=move.get("days", 0), hours=move.get("hours", 0))
    if wanted < now or wanted >= END_OF_TIME:
        present, future = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now, wanted))
        message = f"It is {present} at the desk; it cannot come to be {future}."
        raise ClockOutOfRange(message, details=[fault("body", pointer, "range", message)])
    # A whole second more, so that the moment has come when the answer says so.
    return math.ceil((wanted - real).total_seconds())


def _present(ahead: timedelta) -> JSON:
    return {"now": clock.now() + ahead, "offset_seconds": int(ahead.total_seconds())}


def _raise_outside_sandbox(session: Session) -> None:
    if not is_sandbox(session):
        raise NotFound("There is no clock to move, for this is no sandbox.")
