"""A read replica: whether it may be asked, and whether it has what its reader expects.

PostgreSQL sends its log to a replica, which replays it a moment later. A position in that log is a
number that grows: who knows the position of a change knows when a replica has it.
"""

import math
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import Session, SessionTransaction

from circdesk.db.engine import READING, WRITING
from circdesk.db.errors import DatabaseBusy, DatabaseUnavailable, raises_problems
from circdesk.db.outage import Outage
from circdesk.db.sessions import ReadingSession
from circdesk.db.unit_of_work import Sessions

log = structlog.get_logger("circdesk")

# The position of what nobody can tell the position of; no replica ever gets there.
UNKNOWN = 2**64 - 1

# A replica that is further behind than this is not asked by anybody.
MOST_LAG_SECONDS = 30.0
# So often it is looked how far it is.
_PAUSE_SECONDS = 1.0
# A look is good for so long: if one hangs, the replica does.
_FRESH_SECONDS = 3.0
# Of statements that a replica cancels, one is told in so many seconds.
_TELL_SECONDS = 60.0

# What is committed is flushed before anybody sees it, unless the server is told not to wait.
_WRITTEN = text("""
    SELECT pg_wal_lsn_diff(
        CASE current_setting('synchronous_commit')
            WHEN 'off' THEN pg_current_wal_insert_lsn()
            ELSE pg_current_wal_flush_lsn()
        END,
        '0/0'
    )::bigint
""")
_REPLAYED = text("""
    SELECT pg_wal_lsn_diff(
        CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END, '0/0'
    )::bigint
""")

# Under this key a session has the position that its reader expects, and a connection the last one
# that was seen on it. That one is a lower bound only there: who starts a replica again may find
# it further back than before, but on another connection.
_POSITION = "circdesk_position"


class NotReplayed(Exception):
    """The replica does not have yet what its reader expects of it."""


class ReplicaBehind(Exception):
    """The replica is too far behind for anybody."""


class NoReplica(Exception):
    """The server follows no primary, or does so no more."""


class ReplicaSession(ReadingSession):
    """A session that reads on a replica, if it has replayed the position in the session's info."""


@event.listens_for(ReplicaSession, "after_begin")
def _raise_unless_replayed(
    session: Session, _transaction: SessionTransaction, connection: Connection
) -> None:
    position = session.info[_POSITION]
    # Only who has just written something costs a question, and only until that is replayed.
    if connection.info.get(_POSITION, 0) < position and _replayed(connection) < position:
        raise NotReplayed


def _replayed(connection: Connection) -> int:
    """How far the replica is. Raises NoReplica."""
    position: int | None = connection.execute(_REPLAYED).scalar_one()
    if position is None:
        raise NoReplica
    connection.info[_POSITION] = position
    return position


@dataclass(frozen=True, slots=True)
class _Sample:
    """How far the primary was at a time of `time.monotonic`."""

    moment: float
    position: int


class Replica:
    """A replica, watched by a thread of its own.

    Args:
        primary: What it follows.
        engine: The replica itself.
        sessions: Those of the primary.
    """

    def __init__(self, primary: Engine, engine: Engine, sessions: Sessions) -> None:
        self._primary = primary.execution_options(**{READING: True})
        self._engine = engine.execution_options(**{READING: True, WRITING: False})
        self._sessions = sessions
        # Whatever is wrong with it, the watch goes on.
        self._outage = Outage("replica", (Exception,))
        self._samples: deque[_Sample] = deque()
        self._good_until = -math.inf
        self._told_at = -math.inf
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="replica-watch", daemon=True)
        self._thread.start()

    def is_good(self) -> bool:
        """Whether it answers and is not too far behind, as far as is known; asks nobody."""
        return time.monotonic() < self._good_until

    def sessions(self, position: int) -> Sessions:
        """Sessions that read here. What uses one first raises NotReplayed if this is behind.

        Args:
            position: What must have been replayed; 0 for whatever has been.
        """
        make = partial(ReplicaSession, self._engine, info={_POSITION: position})
        return replace(self._sessions, reading=make)

    def written(self) -> int:
        """The position of all that is committed on the primary. Raises DatabaseUnavailable."""
        with raises_problems(), self._primary.connect() as connection:
            position: int = connection.execute(_WRITTEN).scalar_one()
        return position

    def note(self, problem: DatabaseUnavailable) -> None:
        """Know that it has failed somebody.

        One that cancels a statement, as it does when that stands in the way of what is to be
        replayed, is there nevertheless.
        """
        if isinstance(problem, DatabaseBusy):
            self._tell_canceled(problem)
        else:
            self._good_until = -math.inf
            self._outage.note(problem)

    def close(self) -> None:
        """End the thread, and close the connections."""
        self._ended.set()
        self._thread.join()
        self._engine.dispose()

    def _tell_canceled(self, problem: DatabaseUnavailable) -> None:
        now = time.monotonic()
        if now - self._told_at > _TELL_SECONDS:
            self._told_at = now
            cause = getattr(problem.__cause__, "orig", problem.__cause__)
            log.warning("replica_canceled", error=type(cause).__name__)

    def _watch(self) -> None:
        self._outage.attempt(self._look)
        while not self._ended.wait(_PAUSE_SECONDS):
            self._outage.attempt(self._look)

    def _look(self) -> None:
        """Find out how far primary and replica are.

        Raises:
            DatabaseUnavailable: The replica does not answer.
            NoReplica: It is none.
            ReplicaBehind: It lacks what the primary had `MOST_LAG_SECONDS` ago.
        """
        now = time.monotonic()
        # While the primary does not answer, it has nothing new that is known of.
        with suppress(DatabaseUnavailable):
            self._samples.append(_Sample(now, self.written()))
        while len(self._samples) > 1 and now - self._samples[0].moment > MOST_LAG_SECONDS:
            self._samples.popleft()
        with raises_problems(), self._engine.connect() as connection:
            replayed = _replayed(connection)
        if not self._samples:
            return
        if replayed >= self._samples[0].position:
            self._good_until = now + _FRESH_SECONDS
        elif now - self._samples[0].moment > MOST_LAG_SECONDS / 2:
            # Before that it may be on its way.
            raise ReplicaBehind
