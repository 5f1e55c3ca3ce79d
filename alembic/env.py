"""Runs the migrations for `alembic` and for `circdesk.db.migrations`, which passes a connection."""

from functools import partial
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Column, Connection, Index, text

from circdesk.db.base import UtcDateTime
from circdesk.db.engine import make_engine
from circdesk.db.migrations import migrating
from circdesk.db.models import Base
from circdesk.settings import load_settings


def render_item(kind: str, item: object, autogenerate: AutogenContext) -> str | Literal[False]:
    """Write our own column type into a new migration, with its import."""
    if kind == "type" and isinstance(item, UtcDateTime):
        autogenerate.imports.add("from circdesk.db.base import UtcDateTime")
        return "UtcDateTime()"
    return False


def is_comparable(
    item: Any,
    name: str | None,
    kind: str,
    reflected: bool,  # noqa: FBT001 - Alembic's signature.
    counterpart: object,
    *,
    sqlite: bool,
    virtual_tables: tuple[str, ...],
) -> bool:
    """Tell whether models and database can agree on such an object at all.

    What the engines search belongs to the migrations alone: virtual tables with the tables that
    SQLite keeps for them, and PostgreSQL's computed columns with their indexes. SQLite numbers
    its rows without an identity.
    """
    columns = [item] if isinstance(item, Column) else []
    columns += item.columns if isinstance(item, Index) else []
    if not reflected or counterpart is not None:
        return not (sqlite and kind == "column" and item.identity is not None)
    if kind == "table":
        return not f"{name}_".startswith(tuple(f"{table}_" for table in virtual_tables))
    return not any(column.computed is not None for column in columns)


def virtual_tables(connection: Connection) -> tuple[str, ...]:
    """The names of SQLite's virtual tables."""
    if connection.dialect.name != "sqlite":
        return ()
    query = text("SELECT name FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    return tuple(connection.execute(query).scalars())


def run(connection: Connection) -> None:
    """Run what was asked for in the transaction that is open."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        compare_type=True,
        compare_server_default=True,
        include_object=partial(
            is_comparable,
            sqlite=connection.dialect.name == "sqlite",
            virtual_tables=virtual_tables(connection),
        ),
        render_item=render_item,
    )
    context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("Migrations look at the database that they change; --sql cannot be used.")
if "connection" in context.config.attributes:
    run(context.config.attributes["connection"])
else:
    engine = make_engine(load_settings())
    with migrating(engine) as migrating_connection:
        run(migrating_connection)
    engine.dispose()
