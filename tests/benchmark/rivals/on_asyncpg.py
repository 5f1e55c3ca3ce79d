"""The database on asyncpg, which prepares each statement once and keeps it."""

from collections.abc import Callable
from typing import Any

import asyncpg

from rivals import config
from rivals.books import is_last, present_page
from rivals.desk_steps import Steps, run_async
from rivals.statements import BOOK, listing, numbered

JSON = dict[str, Any]


def make_pool(read_json: Callable[[str], Any]) -> Any:
    """Connections without the round trip by which asyncpg cleans up after each use."""

    async def prepare(connection: Any) -> None:
        await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=read_json)

    return asyncpg.create_pool(
        config.DATABASE_URL,
        min_size=config.AT_ONCE,
        max_size=config.AT_ONCE,
        init=prepare,
        reset=_leave,
    )


async def find_book(pool: Any, book_id: Any) -> Any:
    """The row of one book, or None."""
    async with pool.acquire() as connection:
        return await _row(connection, BOOK, {"book_id": book_id})


async def find_page(pool: Any, query: JSON) -> JSON:
    """A page of books; the total costs a statement only where more follows."""
    found = listing(query)
    total = None
    async with pool.acquire() as connection:
        text, names = numbered(found.page)
        rows = await connection.fetch(text, *(found.values[name] for name in names))
        if found.total is not None and not is_last(rows, query):
            total = (await _row(connection, found.total, found.values))["total"]
    return present_page(rows, total, query)


async def act(pool: Any, steps: Steps) -> JSON:
    """Carry out the steps of the desk in one transaction."""
    async with pool.acquire() as connection, connection.transaction():
        return await run_async(steps, lambda *step: _row(connection, *step))


async def _row(connection: Any, statement: str, values: JSON) -> Any:
    text, names = numbered(statement)
    return await connection.fetchrow(text, *(values[name] for name in names))


async def _leave(_connection: Any) -> None:
    """Nothing is set for a session that another would see."""
