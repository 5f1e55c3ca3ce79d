"""A deadline of our own for PostgreSQL, whose deadlines stand still when the server does."""

from typing import Any

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus

from circdesk.db.reader import Reader


class NoAnswer(psycopg.OperationalError):
    """A server did not answer in time, and was hung up on."""


class PlainCursor(psycopg.Cursor[Any]):
    """A cursor that describes its columns with tuples.

    SQLAlchemy reads names and types, after each statement; the driver makes objects that could
    tell more, which takes it as long as to read the row.
    """

    @property
    def description(self) -> Any:
        """Name and type of each column (PEP 249), or None where there are none."""
        result = self.pgresult
        if result is None or not result.nfields:
            return None
        nothing = (None,) * 5
        return [
            (name.decode() if (name := result.fname(place)) else "", result.ftype(place), *nothing)
            for place in range(result.nfields)
        ]


class PatientConnection(psycopg.Connection[Any]):
    """A connection that waits for each answer for so long, and then hangs up.

    `statement_timeout` is kept by the server, and TCP is content while the server's kernel takes
    what it is sent, so neither ends the wait for a server that is stopped or paused. The driver
    waits in `wait` for all that it sends: a statement with its rows, or a pipeline of many,
    BEGIN, COMMIT, ROLLBACK. Only connecting waits elsewhere, for `connect_timeout`.
    """

    # In seconds; with None it waits for ever.
    patience: float | None = None
    # One for all that goes past SQLAlchemy: to make another takes as long as to ask it.
    reader: Reader

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait for an answer. Raises NoAnswer where none comes in time."""
        try:
            return super().wait(gen, interval, self.patience if timeout is None else timeout)
        except psycopg.OperationalError as error:
            # What the server refuses is over. What is still under way was given up by us, and
            # its answer, which may come yet, must not reach whoever asks next.
            if self.info.transaction_status is not TransactionStatus.ACTIVE:
                raise
            self.close()
            raise NoAnswer("the server did not answer in time") from error


def patience_beyond(seconds: float) -> float:
    """How long to wait for a server that itself ends a statement after so many seconds.

    Its own deadline should come first: it says what was wrong, and the connection stays whole.
    To send again what was lost on the way takes TCP up to a second.
    """
    return seconds + max(1.0, seconds / 2)
