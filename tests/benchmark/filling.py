"""A made-up library, put into databases as they are, with all their indexes, and what it takes."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import psycopg
from desk import add_key  # type: ignore[import-not-found]  # It lies beside this file.
from growing_library import TABLES, GrowingLibrary  # type: ignore[import-not-found]
from made_up_books import Rows  # type: ignore[import-not-found]
from sqlalchemy import make_url

from circdesk.circulation.models import LoanPolicy
from circdesk.db.unit_of_work import Sessions, unit_of_work

JSON = dict[str, Any]

# The same on all databases, as the rows of loans are.
POLICY = UUID("019b0000-0000-7000-8000-000000000001")
_LONGEST_MINUTES = 15
_BYTES = """
    SELECT relname, pg_table_size(oid), pg_indexes_size(oid) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
    ORDER BY pg_total_relation_size(oid) DESC
"""
_BYTES_OF_SEARCH = "SELECT pg_relation_size('ix_book_texts_document')"


def prepare(sessions: Sessions) -> None:
    """What a library needs before its rows: a rule for lending, and the key of a librarian."""
    with unit_of_work(sessions, writing=True) as session:
        session.add(
            LoanPolicy(
                id=POLICY, name="All", scope="//", period_unit="days", period_length=28,
                closed_days="next_open_day", renewals=3, max_loans=500, max_holds=500,
                max_overdue=5, max_debt=Decimal(20), lends=True, holds=True, self_service=False,
                hold_shelf_days=7, fee_per_day=Decimal("0.20"), fee_cap=Decimal(10), grace_days=0,
                lost_fee=Decimal(25),
            )
        )  # fmt: skip
    add_key(sessions)


class Writer(Protocol):
    """Writes rows into a database."""

    def write(self, batch: Rows) -> None:
        """Store a batch."""

    def finish(self) -> None:
        """Be done with it."""


def fill(library: GrowingLibrary, urls: dict[str, str]) -> dict[str, float]:
    """Put the library into empty databases, by the name of the engine; seconds for each."""
    seconds = dict.fromkeys(urls, 0.0)
    with ExitStack() as stack:
        writers = {
            engine: stack.enter_context(closing(_WRITERS[engine](url)))
            for engine, url in urls.items()
        }
        for batch in library.rows():
            for engine, writer in writers.items():
                seconds[engine] += _timed(writer.write, batch)
        for engine, writer in writers.items():
            seconds[engine] += _timed(writer.finish)
    return {engine: round(taken, 1) for engine, taken in seconds.items()}


def _timed(deed: Callable[..., None], *arguments: Any) -> float:
    began = time.perf_counter()
    deed(*arguments)
    return time.perf_counter() - began


class _Postgresql:
    """Writes by COPY; the index of the search fills as the generated column does."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(plain(url))
        self._connection.execute(f"SET statement_timeout = '{_LONGEST_MINUTES}min'".encode())
        # Whether what a row refers to is there is known, and takes longer to ask than the row.
        self._connection.execute("SET session_replication_role = replica")

    def write(self, batch: Rows) -> None:
        for table, rows in batch.items():
            statement = f"COPY {table} ({', '.join(TABLES[table])}) FROM STDIN"
            with self._connection.cursor().copy(statement.encode()) as copy:
                for row in rows:
                    copy.write_row(row)
        self._connection.commit()

    def finish(self) -> None:
        """Let it take stock, as its autovacuum would."""
        self._connection.commit()
        self._connection.autocommit = True
        self._connection.execute("VACUUM (ANALYZE)")
        self._connection.execute("CHECKPOINT")

    def close(self) -> None:
        self._connection.close()


class _SQLite:
    """Writes in long transactions; triggers fill the index of the search."""

    def __init__(self, url: str) -> None:
        sqlite3.register_adapter(UUID, lambda value: value.hex)
        sqlite3.register_adapter(datetime, _moment)
        self._connection = sqlite3.connect(_path(url))
        # The file is complete or of no use; services bring it back to what they need.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000"):
            self._connection.execute(f"PRAGMA {pragma}")

    def write(self, batch: Rows) -> None:
        for table, rows in batch.items():
            names = TABLES[table]
            places = ", ".join("?" * len(names))
            statement = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({places})"
            self._connection.executemany(statement, rows)
        self._connection.commit()

    def finish(self) -> None:
        """Nothing is to be done: the service does not let SQLite take stock either."""

    def close(self) -> None:
        self._connection.close()


_WRITERS: dict[str, Callable[[str], Any]] = {"postgresql": _Postgresql, "sqlite": _SQLite}


def bytes_in(engine: str, url: str) -> JSON:
    """How large a database is: all of it, its indexes, and on PostgreSQL each table."""
    if engine == "sqlite":
        with closing(sqlite3.connect(_path(url))) as sqlite:
            sqlite.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return {"all": _path(url).stat().st_size}
    with psycopg.connect(plain(url)) as connection:
        rows = connection.execute(_BYTES).fetchall()
        (search,) = connection.execute(_BYTES_OF_SEARCH).fetchone() or (0,)
    return {
        "all": sum(table + indexes for _, table, indexes in rows),
        "indexes": sum(indexes for _, _, indexes in rows),
        "index_of_search": search,
        "tables": {
            name: {"table": table, "indexes": indexes}
            for name, table, indexes in rows
            if name in TABLES
        },
    }


def plain(url: str) -> str:
    """The address of a PostgreSQL database as libpq takes it."""
    rendered: str = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return rendered


def _path(url: str) -> Path:
    return Path(make_url(url).database or "")


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
