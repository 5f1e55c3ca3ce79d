"""Commits: until when nothing was committed to the database, by whichever process.

The database is asked now and then for a token that changes with each commit. While it stays the
same, whatever was read between two times of asking is what the database still has.

- PostgreSQL: `pg_current_snapshot()`, of which the manual says (System Information Functions,
  Snapshot Components) that every transaction below `xmin` has ended and none from `xmax` on has.
  Where both are the same number, no transaction has ended since another snapshot with this number,
  also none that was under way then, whether it had its number already or not. Who only reads has
  no number and commits nothing. Where they differ, some are under way, of which a standby does not
  list all; that is no token. One server goes on with the numbers of another that it takes over
  from, so when it was started is part of the token.
- SQLite: `PRAGMA data_version`, which differs on one connection if another one, of this process
  too, has committed meanwhile.

A token says nothing on another connection, so there is one that stays open. It has no transaction,
which would keep SQLite from emptying its log.
"""

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy import Engine

from circdesk.db.outage import Outage

# The token is in the first column, and null where there is none.
_QUESTIONS = {
    "postgresql": """
        SELECT CASE WHEN pg_snapshot_xmin(now) = pg_snapshot_xmax(now) THEN now::text END,
            pg_postmaster_start_time()
        FROM pg_current_snapshot() AS now
    """,
    "sqlite": "PRAGMA data_version",
}
# From one time of asking to the next, while somebody wants to know.
_PAUSE_SECONDS = 1.0


class _Span(NamedTuple):
    """A time in which nothing was committed, in seconds of `time.monotonic`.

    Attributes:
        since: After the first token had come.
        until: Before the last one was asked for.
    """

    since: float
    until: float


_NEVER = _Span(math.inf, -math.inf)


class Commits:
    """Whether anything was committed, asked for in a thread of its own when somebody wants to know.

    Args:
        engine: That of the database which is written to; what a replica has is something else.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._question = _QUESTIONS[engine.dialect.name]
        # Whatever is wrong, nobody has to know more than that it cannot be told.
        self._outage = Outage("commits", (Exception,))
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="commits")
        self._under_way = threading.Lock()
        self._next_time = -math.inf
        self._connection: Any = None
        self._token: Any = None
        # The last one and the one before it, whose end is still news to some.
        self._spans = (_NEVER, _NEVER)

    def unchanged_until(self, began: float) -> float:
        """Until when the database had what was read from `began` on, as far as is known.

        Both are times of `time.monotonic`; it is minus infinity where nothing is known. What was
        read after that time is younger than it. Who asks waits for nobody.
        """
        now = monotonic()
        if now >= self._next_time and self._under_way.acquire(blocking=False):
            self._next_time = now + _PAUSE_SECONDS
            self._pool.submit(self._ask)
        for since, until in self._spans:
            if began >= since:
                return until
        return -math.inf

    def close(self) -> None:
        """End the thread, and close the connection."""
        self._next_time = math.inf
        self._pool.shutdown(cancel_futures=True)
        self._hang_up()

    def _ask(self) -> None:
        try:
            sent = monotonic()
            token = self._outage.attempt(self._read)
            self._note(token, sent=sent, come=monotonic())
        finally:
            self._under_way.release()

    def _note(self, token: Any, *, sent: float, come: float) -> None:
        last, before = self._spans
        if token is not None and token == self._token:
            self._spans = (_Span(last.since, sent), before)
        elif token is not None:
            self._spans = (_Span(come, sent), last)
        self._token = token

    def _read(self) -> Any:
        """The token; None where there is none."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            cursor = self._connection.cursor()
            cursor.execute(self._question)
            token = cursor.fetchone()
            cursor.close()
        except BaseException:
            self._hang_up()
            raise
        return token if token is not None and token[0] is not None else None

    def _connect(self) -> Any:
        """A connection of the driver, as the engine makes it; the pool opens another instead."""
        connection = self._engine.raw_connection()
        connection.detach()
        return connection.dbapi_connection

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
