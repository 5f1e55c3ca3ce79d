"""The pool of connections: SQLAlchemy's, with a shorter way to one for a single statement.

SQLAlchemy puts a proxy around each connection that leaves its pool, watches for the proxy's end in
case nobody gives it back, and rolls back what may have been begun. For one read that is in no
transaction, all of that takes longer than to send it.
"""

import time
from typing import Any

from sqlalchemy.pool import ConnectionPoolEntry, QueuePool


class LendingPool(QueuePool):
    """A pool that also lends its entries themselves, each with a connection."""

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
