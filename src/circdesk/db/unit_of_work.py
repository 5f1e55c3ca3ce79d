"""Units of work: one session, one transaction, opened and committed in one place."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from circdesk.db.direct import begin
from circdesk.db.engine import reading_engine, writing_engine
from circdesk.db.errors import as_unknown_outcome, raise_problem, raises_problems
from circdesk.db.sessions import ReadingSession, WritingSession
from circdesk.db.together import Together
from circdesk.db.touches import tell_touched
from circdesk.db.versions import as_conflict

# A row, and the statement that stores it.
Row = tuple[Insert, dict[str, Any]]

# SQLite has one writer. PostgreSQL is on its way with one transaction while the next begins; more
# than two share too few commits to be faster.
_COMMITS_AT_ONCE = {"sqlite": 1, "postgresql": 2}

# Under these keys a session keeps what it is one of, and the rows that are stored at its end.
_SESSIONS = "circdesk_sessions"
_AT_THE_END = "circdesk_at_the_end"

_current: ContextVar[Session] = ContextVar("circdesk_session")


@dataclass(frozen=True, slots=True)
class Sessions:
    """The makers of sessions on one engine, one for each kind of unit of work.

    Attributes:
        storing: Stores rows in a transaction that units of work share.
    """

    reading: Callable[[], ReadingSession]
    writing: Callable[[], WritingSession]
    storing: Together[Row]


def make_sessions(engine: Engine) -> Sessions:
    """The sessions of an engine.

    On PostgreSQL the statements of a reading session each see what is committed when they begin;
    on SQLite, and in writing sessions, they share one transaction.
    """
    writing = writing_engine(engine)
    # A session knows where it comes from; see `sessions_of`.
    info: dict[str, Any] = {}
    sessions = Sessions(
        reading=partial(ReadingSession, reading_engine(engine), info=info),
        writing=partial(WritingSession, writing, info=info),
        storing=Together(partial(_store, writing), at_once=_COMMITS_AT_ONCE[engine.dialect.name]),
    )
    info[_SESSIONS] = sessions
    return sessions


def unit_of_work(sessions: Sessions, *, writing: bool) -> AbstractContextManager[Session]:
    """Open a session and make it the current one; commit what it wrote unless the block raises.

    Units of work may be nested; each has a transaction of its own.

    Raises:
        DatabaseUnavailable: The database is out of reach; the error behind it is its cause.
        OutcomeUnknown: It went out of reach during the commit, which may have been carried out.
        DatabaseBusy: A lock, a deadlock or a deadline was in the way; nothing was stored.
        ChangedMeanwhile, PreconditionFailed: A row changed after it was read; nothing was stored.
    """
    return _writing(sessions) if writing else _Reading(sessions)


class _Reading(AbstractContextManager[Session]):
    """A unit of work that only reads."""

    __slots__ = ("_session", "_token")

    def __init__(self, sessions: Sessions) -> None:
        self._session = sessions.reading()

    def __enter__(self) -> Session:
        self._token = _current.set(self._session)
        return self._session

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        _current.reset(self._token)
        with raises_problems():
            self._session.close()
        raise_problem(error)


@contextmanager
def _writing(sessions: Sessions) -> Iterator[Session]:
    session = sessions.writing()
    token = _current.set(session)
    try:
        # The session's own context manager closes it, which rolls back what is not committed.
        with raises_problems(), session:
            yield session
            _end(session, sessions)
    except StaleDataError as error:
        raise as_conflict(session) from error
    finally:
        _current.reset(token)


@contextmanager
def unit_of_work_before(session: Session, *, writing: bool) -> Iterator[Session]:
    """A short unit of work of its own, before the session's has touched the database.

    What takes long, such as hashing a password, can then be done while nothing is locked, and
    what it must leave behind is stored whatever becomes of the session.
    """
    if session.in_transaction():
        # On SQLite the two would wait for each other.
        raise RuntimeError("the session is in use already; do this first")
    with unit_of_work(sessions_of(session), writing=writing) as before:
        yield before


def sessions_of(session: Session) -> Sessions:
    """The sessions that this one is of, for work that goes on beside it."""
    sessions: Sessions = session.info[_SESSIONS]
    return sessions


def store_at_the_end(session: Session, statement: Insert, row: dict[str, Any]) -> None:
    """Store a row when the unit of work ends, if it does not fail.

    Units of work that store nothing else and end at the same time share one transaction: a commit
    costs more than all else about them, and many rows are committed as fast as one. So this is for
    rows that the database has no reason to refuse, since they would all be refused with it.
    """
    session.info.setdefault(_AT_THE_END, []).append((statement, row))


def _end(session: Session, sessions: Sessions) -> None:
    rows = session.info.pop(_AT_THE_END, ())
    if not session.in_transaction():
        if rows:
            sessions.storing(rows)
        return
    for statement, row in rows:
        session.execute(statement, row)
    # A flush that fails has stored nothing, whatever the error; only COMMIT leaves a doubt.
    session.flush()
    _commit(session)


def _store(engine: Engine, rows: Sequence[Row]) -> None:
    by_statement: dict[Insert, list[dict[str, Any]]] = {}
    for statement, row in rows:
        by_statement.setdefault(statement, []).append(row)
    with engine.connect() as connection:
        begin(connection)
        for statement, values in by_statement.items():
            connection.execute(statement, values)
        _commit(connection)


def _commit(work: Session | Connection) -> None:
    try:
        work.commit()
    except DBAPIError as error:
        unknown = as_unknown_outcome(error)
        if unknown is None:
            raise
        if isinstance(work, Session):
            tell_touched(work)
        raise unknown from error


def current_session() -> Session:
    """The session of the unit of work around the caller; a `RuntimeError` outside of any."""
    try:
        return _current.get()
    except LookupError:
        raise RuntimeError("no unit of work is open; see circdesk.db.unit_of_work") from None
