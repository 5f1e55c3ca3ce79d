"""The engine: one for each process, with a bounded pool and a deadline on everything that waits."""

import math
import select
import sqlite3
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr
from sqlalchemy import Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from circdesk.db.direct import DirectEngine, UnheardEngine
from circdesk.db.errors import busy
from circdesk.db.generations import generations_for
from circdesk.db.patience import PatientConnection, PlainCursor, patience_beyond
from circdesk.db.pool import LendingPool
from circdesk.db.reader import Reader
from circdesk.db.turns import Turns, WritingInTurn, turns_at
from circdesk.settings import Settings

# Execution options of a connection. READING spares PostgreSQL a transaction: BEGIN and ROLLBACK
# around a single read cost as much as the read.
READING = "circdesk_reading"
# WRITING makes SQLite take its write lock at BEGIN, where waiting for it is possible; a transaction
# that has read before it writes can only fail.
WRITING = "circdesk_writing"
# Migrations rebuild tables of any size; only they lift the deadline.
WITHOUT_DEADLINE = "circdesk_without_deadline"
# What cursors are signed with; every session finds it through its engine.
CURSOR_KEY = "circdesk_cursor_key"
# Whether the clock of circulation may be moved, and the currency of all money.
SANDBOX = "circdesk_sandbox"
CURRENCY = "circdesk_currency"
# The generations of what is in the database; who commits a change tells them.
GENERATIONS = "circdesk_generations"

# Callers are identified in threads beside those that run requests: by keys and sessions that are
# looked up, and by access tokens, whose keys and revocations are read anew each second.
LOOK_UP_THREADS = 2
REFRESH_THREADS = 1
# The service is watched beside its requests, too: by a probe, and by a count for the metrics.
WATCH_THREADS = 2
# A replica is asked by those who run requests, and by who watches how far it is.
REPLICA_WATCH_THREADS = 1

# SQLite asks after this many steps of its virtual machine, every few milliseconds, whether to go
# on. Each question costs a Python call that needs the interpreter's lock.
_STEPS_BETWEEN_QUESTIONS = 100_000


def make_engine(settings: Settings) -> Engine:
    """The engine for `settings.database_url`; nothing is connected before it is used."""
    return _engine(settings.database_url, settings)


def reading_engine(engine: Engine) -> Engine:
    """The engine for what only reads: on SQLite in a transaction, on PostgreSQL in none.

    So on PostgreSQL nothing listens to its begin.
    """
    options = {READING: True, WRITING: False}
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**options)
    return DirectEngine(engine, **options)


def writing_engine(engine: Engine) -> Engine:
    """The engine for what writes; on PostgreSQL `direct.begin` begins its transactions."""
    options = {READING: False, WRITING: True}
    if engine.dialect.name == "sqlite":
        return engine.execution_options(**options)
    return UnheardEngine(engine, **options)


def make_replica_engine(settings: Settings) -> Engine | None:
    """The engine for `settings.database_replica_url`; None where there is no replica.

    What is asked of a replica waits for half as long, as the primary may have to be asked then.
    """
    if settings.database_replica_url is None:
        return None
    seconds = settings.database_timeout_seconds / 2
    hasty = settings.model_copy(update={"database_timeout_seconds": seconds})
    return _engine(
        settings.database_replica_url, hasty, pool_size=settings.threads + REPLICA_WATCH_THREADS
    )


def _engine(secret_url: SecretStr, settings: Settings, **pool: int) -> Engine:
    url = make_url(secret_url.get_secret_value())
    make = _sqlite if url.get_backend_name() == "sqlite" else _postgresql
    engine = make(url, settings, **_pool(settings) | pool)
    options: dict[str, Any] = {
        CURSOR_KEY: settings.secret_key.get_secret_value().encode(),
        SANDBOX: settings.sandbox,
        CURRENCY: settings.currency,
        GENERATIONS: generations_for(settings.redis_url),
    }
    engine.update_execution_options(**options)
    return engine


def _sqlite(url: URL, settings: Settings, **pool: Any) -> Engine:
    if url.database:
        Path(url.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(
        url,
        json_deserializer=orjson.loads,
        # `isolation_level=None` keeps the driver from opening transactions by its own rules; the
        # driver's newer `autocommit` attribute exists only from Python 3.12.
        connect_args={
            "isolation_level": None,
            "timeout": settings.database_timeout_seconds,
            "factory": WritingInTurn,
        },
        **pool,
    )
    deadline = _SQLiteDeadline(settings.database_timeout_seconds)
    event.listen(
        engine, "connect", partial(_set_pragmas, seconds=settings.database_timeout_seconds)
    )
    event.listen(engine, "connect", deadline.watch)
    event.listen(engine, "before_cursor_execute", deadline.start)
    turns = turns_at[url.database or ""]
    begin = partial(_begin_sqlite, turns=turns, seconds=settings.database_timeout_seconds)
    event.listen(engine, "begin", begin)
    return engine


def _set_pragmas(connection: Any, _entry: ConnectionPoolEntry, *, seconds: float) -> None:
    _enter_wal(connection, time.monotonic() + seconds)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _enter_wal(connection: sqlite3.Connection, deadline: float) -> None:
    """Bring the database into WAL mode, or find that another connection has done so.

    SQLite gives up at once, whatever its timeout, where two connections change the mode of a new
    database at the same time.
    """
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection, *, turns: Turns, seconds: float) -> None:
    options = connection.get_execution_options()
    if options.get(WRITING, False):
        driver: Any = connection.connection.dbapi_connection
        if not driver.wait_for(turns, seconds):
            raise busy()
        _begin_immediate(connection, driver)
    else:
        # This BEGIN takes no lock and so cannot fail; the driver alone is ten times as fast.
        connection.connection.cursor().execute("BEGIN")


def _begin_immediate(connection: Connection, driver: WritingInTurn) -> None:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except BaseException:
        # Nothing has begun that could end, and with it the turn.
        driver.rollback()
        raise


class _SQLiteDeadline:
    """Interrupts a statement that runs for longer than `seconds`, which SQLite cannot by itself."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def watch(self, connection: Any, entry: ConnectionPoolEntry) -> None:
        info = entry.info
        info["deadline"] = math.inf
        connection.set_progress_handler(
            lambda: time.monotonic() > info["deadline"], _STEPS_BETWEEN_QUESTIONS
        )

    def start(self, connection: Connection, *_statement: object) -> None:
        endless = connection.get_execution_options().get(WITHOUT_DEADLINE, False)
        connection.info["deadline"] = math.inf if endless else time.monotonic() + self._seconds


def _postgresql(url: URL, settings: Settings, **pool: Any) -> Engine:
    engine = create_engine(
        url,
        connect_args=_postgresql_arguments(settings.database_timeout_seconds),
        # Transactions are opened by `_begin_postgresql`; to switch the driver's own autocommit
        # for each unit of work would take longer than the statement in it.
        isolation_level="AUTOCOMMIT",
        json_serializer=orjson.dumps,
        json_deserializer=orjson.loads,
        use_native_hstore=False,  # Asking for its type would cost a query at each connect.
        **pool,
    )
    patience = patience_beyond(settings.database_timeout_seconds)
    event.listen(engine, "do_connect", partial(_connect_postgresql, patience=patience))
    event.listen(engine, "checkout", _refuse_dead_connection)
    event.listen(engine, "begin", partial(_begin_postgresql, patience=patience))
    return engine


def _connect_postgresql(
    _dialect: Dialect,
    _entry: ConnectionPoolEntry,
    arguments: Sequence[Any],
    options: Mapping[str, Any],
    *,
    patience: float,
) -> PatientConnection:
    connection = PatientConnection.connect(*arguments, **options)
    connection.cursor_factory = PlainCursor
    connection.patience = patience
    connection.reader = Reader(connection)
    return connection


def _begin_postgresql(connection: Connection, *, patience: float) -> None:
    options = connection.get_execution_options()
    driver: Any = connection.connection.dbapi_connection
    driver.patience = None if options.get(WITHOUT_DEADLINE, False) else patience
    if not options.get(READING, False):
        connection.exec_driver_sql("BEGIN")


def _postgresql_arguments(seconds: float) -> dict[str, Any]:
    milliseconds = math.ceil(seconds * 1000)
    session = {
        "statement_timeout": milliseconds,
        "lock_timeout": milliseconds,
        "idle_in_transaction_session_timeout": 2 * milliseconds,
        "timezone": "UTC",
    }
    return {
        "application_name": "circdesk",
        # For each address that the host's name has; the driver makes it two seconds at least.
        "connect_timeout": math.ceil(seconds),
        # The server may vanish without a word; then TCP itself must give up in time.
        "tcp_user_timeout": milliseconds,
        "keepalives_idle": 30,
        "options": " ".join(f"-c {name}={value}" for name, value in session.items()),
    }


def _refuse_dead_connection(
    connection: Any, _entry: ConnectionPoolEntry, proxy: PoolProxiedConnection | None
) -> None:
    """Replace the pool's connections when the server has closed this one.

    An idle connection has nothing to read, except its end. Asking the socket takes microseconds,
    where the usual ping is a round trip as long as a small read. Who takes one without a proxy
    finds out by itself.
    """
    if proxy is None:
        return
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError


def _pool(settings: Settings) -> dict[str, Any]:
    return {
        "poolclass": LendingPool,
        "pool_size": settings.threads + LOOK_UP_THREADS + REFRESH_THREADS + WATCH_THREADS,
        "max_overflow": 0,
        "pool_timeout": settings.database_timeout_seconds,
        # An error would tell the values of its statement, and with it the log.
        "hide_parameters": True,
    }
