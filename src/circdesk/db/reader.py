"""What runs statements on a connection to PostgreSQL: those that come again past psycopg's cursor.

The cursor takes the text of each statement apart, decides whether to prepare it, and gets ready
to tell whatever might be asked about the answer, which takes twice as long as to send it and to
load its rows. Here that is done until psycopg has prepared the statement.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import generators
from psycopg._queries import PostgresQuery
from psycopg.abc import PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_BEGIN = "BEGIN"

# More texts than this are those of statements with values in them.
_MOST_KNOWN = 1000


class _Known(NamedTuple):
    """A text as the server takes it, and its parameters in the order in which they are sent."""

    query: bytes
    names: Sequence[str]
    formats: list[PyFormat]


class _Call(NamedTuple):
    """A call of what is prepared."""

    name: bytes
    sent: Sequence[Any]
    formats: Sequence[Any] | None


def _two_results(pgconn: PGconn) -> PQGen[tuple[PGresult, PGresult]]:
    """Send what waits, and take the answers to two statements and to the end of the pipeline."""
    yield from generators.send(pgconn)
    first = yield from generators.fetch_many(pgconn)
    second = yield from generators.fetch_many(pgconn)
    yield from generators.fetch_many(pgconn)
    return first[-1], second[-1]


class Reader:
    """Runs statements on a connection, one at a time, and reads their answers.

    psycopg decides which statements are prepared, and which no longer (`PrepareManager`).
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self._cursor = connection.cursor()
        self._transformer = Transformer(connection)
        self._known: dict[str, _Known] = {}

    def run(self, text: str, values: Mapping[str, Any]) -> PGresult:
        """The answer to a statement, with placeholders as psycopg has them.

        Raises:
            psycopg.Error: As psycopg raises it.
        """
        call = self._find(text, values)
        if call is None:
            return self._run_by_cursor(text, values)
        pgconn = self._connection.pgconn
        pgconn.send_query_prepared(call.name, call.sent, param_formats=call.formats)
        result: PGresult = self._connection.wait(generators.execute(pgconn))[-1]
        return self._raise_unless_answered(result)

    def begin_and_run(self, text: str, values: Mapping[str, Any]) -> PGresult:
        """Begin a transaction, and the answer to its first statement, in one round trip.

        Raises:
            psycopg.Error: As psycopg raises it; the transaction may have begun.
        """
        call = self._find(text, values)
        begin = self._find(_BEGIN, {})
        if call is None or begin is None:
            self.run(_BEGIN, {})
            return self.run(text, values)
        pgconn = self._connection.pgconn
        pgconn.enter_pipeline_mode()
        try:
            pgconn.send_query_prepared(begin.name, None)
            pgconn.send_query_prepared(call.name, call.sent, param_formats=call.formats)
            pgconn.pipeline_sync()
            begun, result = self._connection.wait(_two_results(pgconn))
        finally:
            if not self._connection.closed:
                pgconn.exit_pipeline_mode()
        self._raise_unless_answered(begun)
        return self._raise_unless_answered(result)

    def _find(self, text: str, values: Mapping[str, Any]) -> "_Call | None":
        """The call of a statement, if the server has it prepared."""
        known = self._known.get(text) or self._take_apart(text, values)
        transformer = self._transformer
        sent = transformer.dump_sequence([values[name] for name in known.names], known.formats)
        key = (known.query, transformer.types or ())
        name = self._prepared.get(key)
        if name is None:
            return None
        # The one that was not used for the longest time is the next to be forgotten.
        self._prepared.move_to_end(key)
        return _Call(name, sent, transformer.formats)

    def _raise_unless_answered(self, result: PGresult) -> PGresult:
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise psycopg.errors.error_from_result(result, self._connection.info.encoding)
        return result

    def rows(self, result: PGresult, make_row: Callable[[Iterable[Any]], Any]) -> list[Any]:
        """The rows of an answer, each made of its values."""
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, make_row)

    @property
    def _prepared(self) -> OrderedDict[tuple[bytes, tuple[int, ...]], bytes]:
        """The names of what is prepared, by its text and the types of its parameters."""
        return self._connection._prepared._names  # noqa: SLF001  psycopg tells nobody.

    # psycopg's own way is taken, so that a text is the same to it here and by the cursor.
    def _take_apart(self, text: str, values: Mapping[str, Any]) -> _Known:
        query: Any = PostgresQuery(self._transformer)
        query.convert(text, values)
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        known = _Known(query.query, query._order or (), query._want_formats)  # noqa: SLF001  As above.
        self._known[text] = known
        return known

    def _run_by_cursor(self, text: str, values: Mapping[str, Any]) -> PGresult:
        result = self._cursor.execute(text, values).pgresult
        if result is None:
            raise psycopg.InterfaceError("a statement has no answer")
        return result
