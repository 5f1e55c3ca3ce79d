"""What the drivers' errors mean: an outage, a conflict with another transaction, a constraint."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import psycopg
from psycopg import errors as sqlstates
from sqlalchemy import Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from circdesk.contract.problems import Problem
from circdesk.db.base import Base

_RETRY_OUTAGE = {"Retry-After": "5"}
_RETRY_CONFLICT = {"Retry-After": "1"}


class DatabaseUnavailable(Problem):
    """The database cannot be reached, or has no connection left."""

    code: ClassVar[str] = "database_unavailable"
    status: ClassVar[int] = 503
    title: ClassVar[str] = "The database is out of reach."
    advice: ClassVar[str] = (
        "Nothing was stored. Send the same request again after the seconds in Retry-After."
    )


class OutcomeUnknown(DatabaseUnavailable):
    """The database was lost between COMMIT and its answer, and may have stored it, or do so yet."""

    code: ClassVar[str] = "outcome_unknown"
    title: ClassVar[str] = "It is not known whether this was stored."
    advice: ClassVar[str] = (
        "After the seconds in Retry-After, send the same request with the same Idempotency-Key "
        "again. Without one, look whether what you sent is there, and send it again only if not."
    )


class DatabaseBusy(DatabaseUnavailable):
    """Another transaction stood in the way, or the statement took too long."""

    code: ClassVar[str] = "database_busy"
    title: ClassVar[str] = "The database is busy."
    advice: ClassVar[str] = (
        "Nothing was stored. Send the same request again after the seconds in Retry-After."
    )


_POSTGRESQL_CONFLICTS = (
    sqlstates.SerializationFailure,
    sqlstates.DeadlockDetected,
    sqlstates.LockNotAvailable,
    sqlstates.QueryCanceled,
)
# The primary result codes of SQLite, https://www.sqlite.org/rescode.html.
_SQLITE_CONFLICTS = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_INTERRUPT,
}
_SQLITE_OUTAGES = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}


def as_problem(error: Exception) -> DatabaseUnavailable | None:
    """The 503 that a driver's error amounts to; None where the fault is in the program or data."""
    if isinstance(error, PoolTimeoutError):
        return busy()
    if not isinstance(error, DBAPIError):
        return None
    if error.connection_invalidated:
        return _unavailable()
    original = error.orig
    if isinstance(original, sqlite3.Error):
        return _from_sqlite(original)
    if isinstance(original, psycopg.Error):
        return _from_postgresql(original)
    return None


def raise_problem(error: BaseException | None) -> None:
    """Raise what a driver's error amounts to; nothing where it is none.

    Raises:
        DatabaseUnavailable, DatabaseBusy: As `as_problem` tells; the error is their cause.
    """
    if isinstance(error, (DBAPIError, PoolTimeoutError)) and (problem := as_problem(error)):
        raise problem from error


class _RaisesProblems(AbstractContextManager[None]):
    def __enter__(self) -> None:
        """Nothing is done before."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        raise_problem(error)


_RAISES_PROBLEMS = _RaisesProblems()


def raises_problems() -> AbstractContextManager[None]:
    """A block that raises what a driver's error in it amounts to, and all else as it is."""
    return _RAISES_PROBLEMS


def as_unknown_outcome(error: DBAPIError) -> OutcomeUnknown | None:
    """The problem of an error at COMMIT after which nobody can tell what was stored, or None."""
    # A server that refuses a COMMIT says so, with an SQLSTATE; SQLite is never lost.
    answered = getattr(error.orig, "sqlstate", None) is not None
    if answered or not error.connection_invalidated:
        return None
    message = "The database was lost in the moment of storing this; it may be there, or not."
    return OutcomeUnknown(message, headers=_RETRY_OUTAGE)


def _from_sqlite(error: sqlite3.Error) -> DatabaseUnavailable | None:
    # The extended codes carry the primary one in their lowest byte.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _SQLITE_CONFLICTS:
        return busy()
    return _unavailable() if code in _SQLITE_OUTAGES else None


def _from_postgresql(error: psycopg.Error) -> DatabaseUnavailable | None:
    if isinstance(error, _POSTGRESQL_CONFLICTS):
        return busy()
    # The driver's OperationalError is an outage by its definition: a refused or broken
    # connection, a shutdown, a full disk. A standby after a failover refuses writes.
    outage = isinstance(error, (psycopg.OperationalError, sqlstates.ReadOnlySqlTransaction))
    return _unavailable() if outage else None


def busy() -> DatabaseBusy:
    """The problem of a lock that was waited for in vain."""
    return DatabaseBusy("The database is busy with other requests.", headers=_RETRY_CONFLICT)


def _unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer at the moment.", headers=_RETRY_OUTAGE)


@contextmanager
def raises_on(constraint: str, problem: Problem) -> Iterator[None]:
    """Raise the problem where the block, usually a flush, breaks this constraint.

    Two requests may pass the same check at the same time; the constraint lets one of them win,
    and this tells the other one what the check would have told it. The transaction is lost.
    """
    try:
        yield
    except IntegrityError as error:
        if constraint_name(error) == constraint:
            raise problem from error
        raise


def constraint_name(error: IntegrityError) -> str | None:
    """The name of the constraint that was broken; None where the engine does not tell.

    SQLite names the columns of a unique constraint, which are looked up in the metadata, and
    says nothing about which foreign key it was.
    """
    original = error.orig
    if isinstance(original, psycopg.Error):
        return original.diag.constraint_name
    kind, _, subject = str(original).partition(" constraint failed: ")
    if kind == "CHECK":
        return subject
    return _unique_by_columns(subject) if kind == "UNIQUE" else None


def _unique_by_columns(subject: str) -> str | None:
    named = re.fullmatch(r"index '(.+)'", subject)
    if named:  # An index on expressions is told by its name.
        return named[1]
    columns = {column.partition(".")[2] for column in subject.split(", ")}
    table = Base.metadata.tables.get(subject.partition(".")[0])
    if table is None:
        return None
    return next((name for name, keys in _uniques(table) if keys == columns), None)


def _uniques(table: Table) -> Iterator[tuple[str, set[str]]]:
    uniques: list[PrimaryKeyConstraint | UniqueConstraint | Index] = [table.primary_key]
    uniques += [item for item in table.constraints if isinstance(item, UniqueConstraint)]
    uniques += [index for index in table.indexes if index.unique]
    for unique in uniques:
        yield str(unique.name), {column.name for column in unique.columns}
