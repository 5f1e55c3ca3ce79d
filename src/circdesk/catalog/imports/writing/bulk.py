"""Many rows in one statement, on both engines.

The rows are one JSON parameter, which the engines read by themselves. That costs less than
`executemany` does, on PostgreSQL a fifth of it, and unlike COPY it leaves conflicts, errors and
timeouts to the usual paths.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    FromClause,
    Text,
    Uuid,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

Rows = Sequence[tuple[Any, ...]]
AnyColumn = ColumnElement[Any] | InstrumentedAttribute[Any]

_POSTGRESQL = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap.


def insert_rows(
    connection: Connection,
    model: type[DeclarativeBase],
    columns: tuple[str, ...],
    rows: Rows,
    *,
    or_ignore: bool = False,
) -> None:
    """Insert the rows; with `or_ignore`, those that break a unique constraint are left out.

    Values are in the form that both engines store: ids in 32 hexadecimal digits, moments and
    JSON as text.
    """
    if rows:
        sql = _insert(connection.dialect.name, model.__table__, columns)
        ending = " ON CONFLICT DO NOTHING" if or_ignore else ""
        connection.exec_driver_sql(sql + ending, (_json(rows),))


def update_rows(
    connection: Connection, model: type[DeclarativeBase], columns: tuple[str, ...], rows: Rows
) -> None:
    """Update the rows whose key is the last of the columns, and count it where changes count."""
    if rows:
        sql = _update(connection.dialect.name, model.__table__, columns)
        connection.exec_driver_sql(sql, (_json(rows),))


def among(
    connection: Connection, column: AnyColumn, values: Collection[str]
) -> ColumnElement[bool]:
    """The condition that a column has one of any number of values; ids are hexadecimal digits.

    The values are one parameter, so that the statement is the same however many there are.
    """
    listed = _json(list(values))
    if connection.dialect.name == "sqlite":
        return column.in_(select(func.json_each(listed).table_valued("value").c.value))
    elements: ColumnElement[Any] = func.json_array_elements_text(cast(literal(listed, Text), JSON))
    if isinstance(column.type, Uuid):
        elements = cast(elements, Uuid)
    return column.in_(select(elements))


def _json(rows: object) -> str:
    return orjson.dumps(rows).decode()


# The names below are those of our own tables and columns.


@cache
def _insert(engine: str, table: FromClause, columns: tuple[str, ...]) -> str:
    names = ", ".join(columns)
    values = ", ".join(_values(engine, table, columns))
    # Every name in it is one of our own tables or columns; values travel as a parameter.
    # Without its WHERE, SQLite would take the ON of a conflict for that of a join.
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM {_ROWS[engine]} WHERE true"  # noqa: S608


@cache
def _update(engine: str, table: FromClause, columns: tuple[str, ...]) -> str:
    *values, key = _values(engine, table, columns)
    changes = ", ".join(f"{name} = {value}" for name, value in zip(columns, values, strict=False))
    if "version" in table.c:
        changes += f", version = {table}.version + 1"
    # Every name in it is one of our own tables or columns; values travel as a parameter.
    return f"UPDATE {table} SET {changes} FROM {_ROWS[engine]} WHERE {table}.{columns[-1]} = {key}"  # noqa: S608


_ROWS = {
    "sqlite": "json_each(?) AS r",
    "postgresql": "jsonb_array_elements(%s::jsonb) AS r (value)",
}


def _values(engine: str, table: FromClause, columns: tuple[str, ...]) -> list[str]:
    """Each value of a row as an expression of its column's type."""
    if engine == "sqlite":
        return [f"json_extract(r.value, '$[{place}]')" for place in range(len(columns))]
    types = (table.c[name].type.compile(_POSTGRESQL) for name in columns)
    return [f"(r.value->>{place})::{kind}" for place, kind in enumerate(types)]
