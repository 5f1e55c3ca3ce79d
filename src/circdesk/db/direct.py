"""Statements that go straight to the driver of PostgreSQL, past SQLAlchemy's connection.

SQLAlchemy puts a statement together and compiles it, once. What it does around each execution, a
context, a result with metadata, and where there is none a transaction that is begun and rolled
back, takes it up to four times as long as the driver takes for the statement.
"""

from collections import namedtuple
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import psycopg
from psycopg.pq.abc import PGresult
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Insert,
    Select,
    TextClause,
    Update,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ManagesConnection
from sqlalchemy.sql.compiler import SQLCompiler

from circdesk.db.patience import NoAnswer
from circdesk.db.pool import LendingPool
from circdesk.db.reader import Reader

AnySelect = Select[*tuple[Any, ...]]
Values = Mapping[str, Any]
_Statement = AnySelect | Insert | Update | TextClause
# It has its columns by their names, and is a tuple of them.
AnyRow = Any
_Process = Callable[[Any], Any]

_MOST_COMPILED = 1000


class UnheardEngine(Engine):
    """An engine on the connections of another one, and without its listeners.

    Whatever listens to an engine, SQLAlchemy puts together anew for each connection that is used,
    which takes it longer than to find the connection. Of the pool all hear.
    """

    def __init__(self, engine: Engine, **options: Any) -> None:
        self._listened_to = engine
        super().__init__(engine.pool, engine.dialect, engine.url, hide_parameters=True)
        self.update_execution_options(**engine.get_execution_options(), **options)

    @property
    def pool(self) -> LendingPool:
        """The other's."""
        return self._listened_to.pool  # type: ignore[return-value]  # All engines here have one.

    @pool.setter
    def pool(self, pool: object) -> None:
        """It has none of its own."""


class DirectEngine(UnheardEngine):
    """An engine for reads that need no transaction."""

    @property
    def is_heard(self) -> bool:
        """Whether somebody listens to statements, as tracing does to those of all engines."""
        return self._has_events and bool(self.dispatch.before_cursor_execute)

    def read(self, statement: AnySelect, values: Values) -> Sequence[AnyRow] | None:
        """The rows of a statement, by a connection that is free again.

        None where it has lists of values, on whose lengths the text depends.

        Args:
            statement: One that is kept from request to request is compiled once.
            values: Those of its named parameters.

        Raises:
            DBAPIError: As SQLAlchemy raises it.
        """
        compiled = _compile(statement, self.dialect)
        if compiled is None:
            return None
        try:
            return self._read_once(compiled, values)
        except DBAPIError as error:
            if not error.connection_invalidated or isinstance(error.orig, NoAnswer):
                raise
            # The server has closed it since it was last used. To ask before each read whether it
            # has would let another thread go first; a read can as well be sent again.
            self.pool.renew()
            return self._read_once(compiled, values)

    def _read_once(self, compiled: "_Compiled", values: Values) -> Sequence[AnyRow]:
        pool = self.pool
        try:
            entry = pool.take()
        except psycopg.Error as error:
            raise _wrapped(error, self.dialect) from error
        try:
            return compiled.run(entry, values)
        finally:
            pool.give_back(entry)


_BEGIN = text("BEGIN")


def begin(connection: Connection) -> None:
    """Begin the transaction of a connection of an `UnheardEngine`, which nobody else begins."""
    if isinstance(connection.engine, UnheardEngine):
        execute(connection, _BEGIN, {})


def begin_with(connection: Connection, statement: AnySelect, values: Values) -> Sequence[AnyRow]:
    """Begin as `begin` does, and execute a statement, in one round trip where nobody listens.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    if isinstance(connection.engine, UnheardEngine) and not _is_heard(connection):
        compiled = _compile(statement, connection.dialect)
        if compiled is not None:
            return compiled.run(connection.connection, values, begins=True)
    begin(connection)
    return execute(connection, statement, values)


def execute(connection: Connection, statement: _Statement, values: Values) -> Sequence[AnyRow]:
    """The rows of a statement in the connection's transaction; none of one that only writes.

    Args:
        connection: A connection to either database; past SQLAlchemy goes what goes to PostgreSQL
            and nobody listens to.
        statement: One that is kept from request to request is compiled once; what it writes it
            names as parameters.
        values: Those of its named parameters.

    Raises:
        DBAPIError: As SQLAlchemy raises it.
    """
    compiled = None
    if connection.dialect.name == "postgresql" and not _is_heard(connection):
        compiled = _compile(statement, connection.dialect)
    if compiled is not None:
        return compiled.run(connection.connection, values)
    result = connection.execute(statement, values)
    return result.all() if result.returns_rows else ()


def _is_heard(connection: Connection) -> bool:
    # What is heard of a connection is put together when that is asked, which takes a while.
    is_anything_heard = connection._has_events or connection.engine._has_events  # noqa: SLF001  SQLAlchemy asks this before it tells anybody.
    return is_anything_heard and bool(connection.dispatch.before_cursor_execute)


class _Parameter(NamedTuple):
    """A parameter: its name in the text, its key among values, and what it is without one."""

    name: str
    key: str
    default: Any
    process: _Process | None


class _Compiled:
    """A statement as the driver takes it, and what its rows are made into."""

    def __init__(self, compiled: SQLCompiler, columns: Sequence[ColumnElement[Any]]) -> None:
        self._compiled, self._dialect = compiled, compiled.dialect
        self._text = str(compiled)
        in_text: Collection[Any] = compiled.literal_execute_params
        parameters = [*compiled.bind_names.items()]
        self._sent = [self._parameter(*each) for each in parameters if each[0] not in in_text]
        self._in_text = [self._parameter(*each) for each in parameters if each[0] in in_text]
        self._types = [column.type.dialect_impl(self._dialect) for column in columns]
        names = [column.key or "" for column in columns]
        row: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]  # noqa: PYI024  Its columns are known only now.
        self._make_row: Callable[[Iterable[Any]], AnyRow] = partial(tuple.__new__, row)
        self._processes: list[tuple[int, _Process]] | None = None

    def run(
        self, connection: ManagesConnection, values: Values, *, begins: bool = False
    ) -> Sequence[AnyRow]:
        """What the statement answers on a connection, which is left where it is lost."""
        driver: Any = connection.dbapi_connection
        reader: Reader = driver.reader
        text, sent = self._bind(values)
        try:
            result = reader.begin_and_run(text, sent) if begins else reader.run(text, sent)
            return self._rows(reader, result)
        except psycopg.Error as error:
            if driver.closed:
                connection.invalidate(error)
            lost = driver.closed
            raise _wrapped(error, self._dialect, text, sent, is_lost=lost) from error

    def _bind(self, values: Values) -> tuple[str, dict[str, Any]]:
        """The text, and what is sent with it, by the names in the text."""
        sent = {}
        for name, key, default, process in self._sent:
            value = values.get(key, default)
            sent[name] = value if process is None else process(value)
        if not self._in_text:
            return self._text, sent
        literals = {name: values.get(key, default) for name, key, default, _ in self._in_text}
        return self._compiled.construct_expanded_state(literals | sent).statement, sent

    def _rows(self, reader: Reader, result: PGresult) -> Sequence[AnyRow]:
        """What an answer has, with columns as their types have them."""
        if not result.nfields:
            return ()
        if self._processes is None:
            self._processes = self._find_processes(result)
        if not self._processes:
            return reader.rows(result, self._make_row)
        return [self._make_row(self._processed(row)) for row in reader.rows(result, tuple)]

    def _parameter(self, parameter: BindParameter[Any], name: str) -> _Parameter:
        process = parameter.type.dialect_impl(self._dialect).bind_processor(self._dialect)
        return _Parameter(name, parameter.key, parameter.effective_value, process)

    def _find_processes(self, result: PGresult) -> list[tuple[int, _Process]]:
        found = (
            column.result_processor(self._dialect, result.ftype(place))
            for place, column in enumerate(self._types)
        )
        return [(place, process) for place, process in enumerate(found) if process is not None]

    def _processed(self, row: Sequence[Any]) -> Sequence[Any]:
        values = list(row)
        for place, process in self._processes or ():
            values[place] = process(values[place])
        return values


def _wrapped(
    error: psycopg.Error,
    dialect: Dialect,
    text: str | None = None,
    sent: dict[str, Any] | None = None,
    *,
    is_lost: bool = False,
) -> Exception:
    """The error as SQLAlchemy raises it; without a text there was no connection."""
    wrapped: Exception = DBAPIError.instance(
        text,
        sent,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=is_lost,
        dialect=dialect,
    )
    return wrapped


@lru_cache(_MOST_COMPILED)
def _compile(statement: _Statement, dialect: Dialect) -> _Compiled | None:
    """None where it is not for the driver alone.

    Those are lists of values, on whose length the text depends, and rows that SQLAlchemy gives
    columns with a default in Python.
    """
    compiled: Any = statement.compile(dialect=dialect)
    if compiled.post_compile_params or compiled.insert_prefetch or compiled.update_prefetch:
        return None
    columns = [*statement.selected_columns] if isinstance(statement, Select) else []
    return _Compiled(compiled, columns)
