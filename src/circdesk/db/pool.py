"""The pool of connections: SQLAlchemy's, with a shorter way to one for a single statement.

SQLAlchemy puts a proxy around each connection that leaves its pool, watches for the proxy's end in
case nobody gives it back, and rolls back what may have been begun. For one read that is in no
transaction, all of that takes longer than to send it.
"""

import time
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool
from sqlalchemy.util.queue import Empty

# There are more connections than threads that use one, so that hardly ever anybody waits.
_PAUSE_SECONDS = 0.002


class Idle:
    """The entries that nobody uses; the one that came back last leaves first.

    So a few connections are in use all the time, and what the server keeps for them stays at hand.
    No thread interrupts another in an operation of a list: SQLAlchemy's queue takes a lock and
    tells a condition, each time, for those who wait.

    Args:
        maxsize: How many there may be.
    """

    # The pool looks at both when another one is made like it.
    use_lifo = True

    def __init__(self, maxsize: int, **_options: bool) -> None:
        self.maxsize = maxsize
        self._idle: list[ConnectionPoolEntry] = []

    def qsize(self) -> int:
        """How many there are."""
        return len(self._idle)

    def put(self, entry: ConnectionPoolEntry, *_block: bool) -> None:
        """Give one back; the pool makes no more of them than there may be."""
        self._idle.append(entry)

    def get(self, block: bool, timeout: float = 0) -> ConnectionPoolEntry:  # noqa: FBT001  The pool calls it so.
        """Take one. Raises Empty where there is none, or none comes back in so many seconds."""
        deadline = time.monotonic() + timeout if block else 0
        while True:
            try:
                return self._idle.pop()
            except IndexError:
                if time.monotonic() >= deadline:
                    raise Empty from None
            time.sleep(_PAUSE_SECONDS)


class LendingPool(QueuePool):
    """A pool that also lends its entries themselves, each with a connection."""

    _queue_class = Idle  # type: ignore[assignment]  # It has all that the pool asks of a queue.

    def take(self) -> ConnectionPoolEntry:
        """An entry that nobody else has; who takes it gives it back, whatever comes.

        Whether the server has closed its connection meanwhile is not asked.

        Raises:
            TimeoutError: All are in use, and none came back in time. It is SQLAlchemy's.
            psycopg.Error: The server cannot be reached.
        """
        entry: Any = self._do_get()
        try:
            self.dispatch.checkout(entry.get_connection(), entry, None)
        except BaseException:
            self._do_return_conn(entry)
            raise
        return entry  # type: ignore[no-any-return]  # It has more than SQLAlchemy tells of it.

    def give_back(self, entry: ConnectionPoolEntry) -> None:
        """Take an entry back, with a connection that is in no transaction, or with none."""
        self.dispatch.checkin(entry.dbapi_connection, entry)
        self._do_return_conn(entry)

    def renew(self) -> None:
        """Let each connection be made anew before it is used again: the server has closed one."""
        self._invalidate_time = time.time()
