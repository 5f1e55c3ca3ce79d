"""Turns at the one pen that SQLite has: who came first writes first.

SQLite itself lets a writer look time and again whether the lock is free. With sixteen threads that
write, one of a hundred looked for almost seven seconds, while others wrote hundreds of times.
"""

import sqlite3
from collections import defaultdict, deque
from threading import Lock


class Turns:
    """A lock that is handed to those who wait in the order in which they came."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Lock] = deque()
        self._is_taken = False

    def take(self, seconds: float) -> bool:
        """Wait for one's turn for at most so many seconds; whether it has come."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                return True
            mine = Lock()
            mine.acquire()
            self._waiting.append(mine)
        return mine.acquire(timeout=seconds) or self._give_up(mine)

    def give(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

    def _give_up(self, mine: Lock) -> bool:
        """Wait no more; true where the turn has come just now."""
        with self._lock:
            if mine not in self._waiting:
                return True
            self._waiting.remove(mine)
            return False


# By the path of the database: of one process all writers wait in one line. Those of other processes
# meet at SQLite's own lock.
turns_at: defaultdict[str, Turns] = defaultdict(Turns)


class WritingInTurn(sqlite3.Connection):
    """A connection that has its turn from before BEGIN IMMEDIATE until its transaction ends."""

    _turns: Turns | None = None

    def wait_for(self, turns: Turns, seconds: float) -> bool:
        """Wait for the turn, which ends with the transaction; whether it has come."""
        if self._turns is None and turns.take(seconds):
            self._turns = turns
        return self._turns is not None

    def commit(self) -> None:
        """End the transaction, and the turn."""
        try:
            super().commit()
        finally:
            self._end_turn()

    def rollback(self) -> None:
        """End the transaction, and the turn."""
        try:
            super().rollback()
        finally:
            self._end_turn()

    def close(self) -> None:
        """End the connection, and the turn."""
        try:
            super().close()
        finally:
            self._give()

    def _end_turn(self) -> None:
        # A COMMIT that fails leaves the transaction open, for the ROLLBACK that follows.
        if not self.in_transaction:
            self._give()

    def _give(self) -> None:
        turns, self._turns = self._turns, None
        if turns is not None:
            turns.give()
