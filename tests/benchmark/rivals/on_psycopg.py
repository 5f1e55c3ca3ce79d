"""The database on psycopg, for the frameworks that run in threads: SQLAlchemy's pool, or ours."""

from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from sqlalchemy import Engine, create_engine

from rivals import config
from rivals.books import is_last, present_page
from rivals.desk_steps import Steps, run
from rivals.statements import BOOK, listing

JSON = dict[str, Any]
Pool = ConnectionPool[Connection[DictRow]]


def make_engine() -> Engine:
    """SQLAlchemy on psycopg, with as many connections."""
    return create_engine(
        config.sqlalchemy_url("psycopg"),
        pool_size=config.AT_ONCE,
        max_overflow=0,
        connect_args={"options": config.IN_UTC},
    )


def make_pool() -> Pool:
    """Connections in autocommit: around one read a transaction would only cost."""
    return ConnectionPool(
        config.DATABASE_URL,
        min_size=config.AT_ONCE,
        kwargs={"autocommit": True, "row_factory": dict_row, "options": config.IN_UTC},
        open=True,
    )


def find_book(pool: Pool, book_id: UUID) -> DictRow | None:
    """The row of one book."""
    with pool.connection() as connection:
        return connection.execute(BOOK, {"book_id": book_id}).fetchone()


def find_page(pool: Pool, query: JSON) -> JSON:
    """A page of books; the total costs a statement only where more follows."""
    found = listing(query)
    total = None
    with pool.connection() as connection:
        rows = connection.execute(found.page, found.values).fetchall()
        if found.total is not None and not is_last(rows, query):
            counted = connection.execute(found.total, found.values).fetchone()
            total = counted["total"] if counted else 0
    return present_page(rows, total, query)


def act(pool: Pool, steps: Steps) -> JSON:
    """Carry out the steps of the desk in one transaction."""
    with pool.connection() as connection, connection.transaction():

        def send(statement: str, values: JSON) -> DictRow | None:
            cursor = connection.execute(statement, values)
            return cursor.fetchone() if cursor.description else None

        return run(steps, send)
