"""Chores: the form of all periodic work, and how it is run.

A chore finds what is due and deals with it in small batches, each a transaction of its own. What
fails is tried again on its own; what fails then is logged and left, and the rest goes on. All of it
may be interrupted, repeated, and run in several processes at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from circdesk.circulation.time import now as desk_now
from circdesk.db.errors import DatabaseBusy, DatabaseUnavailable
from circdesk.db.unit_of_work import Sessions, unit_of_work

log = structlog.get_logger("circdesk.periodic")


@dataclass(frozen=True, slots=True)
class Chore:
    """One kind of periodic work.

    Args:
        name: What the log and the answer of the sandbox call it.
        find: The ids of everything that is due at this time, in the order in which to deal with
            it; called once in each run, in a reading unit of work.
        carry_out: Deals with some of it, in a writing unit of work of its own; answers how many
            it changed. It locks, and looks again whether each is still due: another process may
            have been there before.
        batch: How many are dealt with in one transaction; 1 where something leaves the house.
    """

    name: str
    find: Callable[[Session, datetime], Sequence[UUID]]
    carry_out: Callable[[Session, datetime, Sequence[UUID]], int]
    batch: int = 50


def run_chores(
    sessions: Sessions, chores: Sequence[Chore], stopping: Callable[[], bool] = lambda: False
) -> Mapping[str, int]:
    """Do whatever is due by the clock of circulation; how much each chore has changed.

    Args:
        sessions: The sessions of the database.
        chores: In the order in which they are run.
        stopping: Asked before each batch; what is left over is done the next time.

    Raises:
        DatabaseUnavailable: The database is out of reach, for everything alike.
    """
    with unit_of_work(sessions, writing=False) as session:
        now = desk_now(session)
    counts = {
        chore.name: _run(sessions, chore, now, stopping) for chore in chores if not stopping()
    }
    return {name: count for name, count in counts.items() if count}


def _run(sessions: Sessions, chore: Chore, now: datetime, stopping: Callable[[], bool]) -> int:
    due = _find(sessions, chore, now)
    return sum(
        _carry_out(sessions, chore, now, ids, stopping)
        for ids in _batches(due, chore.batch)
        if not stopping()
    )


def _batches(due: Sequence[UUID], size: int) -> Iterator[Sequence[UUID]]:
    yield from (due[start : start + size] for start in range(0, len(due), size))


def _find(sessions: Sessions, chore: Chore, now: datetime) -> Sequence[UUID]:
    try:
        with unit_of_work(sessions, writing=False) as session:
            return chore.find(session, now)
    except Exception as error:
        _raise_if_away(error)
        log.exception("chore_failed", chore=chore.name)
        return ()


def _carry_out(
    sessions: Sessions,
    chore: Chore,
    now: datetime,
    ids: Sequence[UUID],
    stopping: Callable[[], bool],
) -> int:
    """Deal with these together, or where that fails, with each on its own."""
    try:
        with unit_of_work(sessions, writing=True) as session:
            return chore.carry_out(session, now, ids)
    except Exception as error:
        _raise_if_away(error)
        if len(ids) == 1:
            log.exception("chore_failed", chore=chore.name, id=str(ids[0]))
            return 0
    # Each may wait for a lock, so that all of them could take long.
    return sum(_carry_out(sessions, chore, now, [one], stopping) for one in ids if not stopping())


def _raise_if_away(error: Exception) -> None:
    # A database that is busy with one item may have time for the next.
    if isinstance(error, DatabaseUnavailable) and not isinstance(error, DatabaseBusy):
        raise error
