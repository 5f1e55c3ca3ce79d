"""What is prepared is run past psycopg's cursor, and answers what it would answer."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.pq import PipelineStatus, TransactionStatus
from sqlalchemy import Engine, func, select

from circdesk.db.patience import NoAnswer, PatientConnection
from circdesk.db.reader import Reader

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

# psycopg prepares what it has seen so often.
ENOUGH = 6
ECHO = "SELECT %(value)s AS value, %(value)s IS NULL, '100%%'"
PREPARED = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''"


@pytest.fixture
def connection(engine: Engine) -> Iterator[PatientConnection]:
    """The driver's connection of a pool's connection, on which nobody has prepared anything."""
    proxy = engine.raw_connection()
    driver: Any = proxy.dbapi_connection
    driver.execute("DEALLOCATE ALL", prepare=False)
    yield driver
    proxy.invalidate()


@pytest.fixture
def reader(connection: PatientConnection) -> Reader:
    return connection.reader


def read(reader: Reader, text: str, **values: Any) -> list[Any]:
    return reader.rows(reader.run(text, values), tuple)


def prepared(connection: PatientConnection) -> int:
    """How many statements the server has prepared for the connection."""
    ((count,),) = connection.execute(PREPARED, prepare=False).fetchall()
    return int(count)


@pytest.mark.parametrize(
    "value",
    [1, 2**40, 0.5, "a%b", None, True, UUID(int=7), datetime(2026, 3, 29, tzinfo=UTC), [1, 2]],
    ids=repr,
)
def test_it_answers_as_the_cursor_does(
    reader: Reader, connection: PatientConnection, value: Any
) -> None:
    text = ECHO if type(value) not in (str, type(None)) else ECHO.replace(")s", ")s::text")
    expected = connection.execute(text, {"value": value}, prepare=False).fetchall()

    answers = [read(reader, text, value=value) for _ in range(ENOUGH + 2)]

    assert answers == [expected] * len(answers)
    assert prepared(connection) == 1


def test_each_type_of_a_parameter_is_prepared_for_itself(
    reader: Reader, connection: PatientConnection
) -> None:
    values = [1, 70_000, 2**40, 0.5]

    answers = [[read(reader, ECHO, value=v)[0][0] for v in values] for _ in range(ENOUGH + 2)]

    assert answers == [values] * len(answers)
    assert prepared(connection) == len(values)


def test_what_is_prepared_fails_as_ever_and_is_still_there(reader: Reader) -> None:
    text = "SELECT 6 / %(by)s::int"
    for _ in range(ENOUGH):
        read(reader, text, by=2)

    with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
        read(reader, text, by=0)

    assert read(reader, text, by=3) == [(2,)]


def test_what_only_writes_has_no_rows(reader: Reader, connection: PatientConnection) -> None:
    connection.execute("CREATE TEMPORARY TABLE seen (number int)")
    for number in range(ENOUGH + 2):
        assert reader.run("INSERT INTO seen VALUES (%(n)s)", {"n": number}).nfields == 0

    assert read(reader, "SELECT count(*) FROM seen") == [(ENOUGH + 2,)]


def test_a_rollback_takes_nothing_away(reader: Reader, connection: PatientConnection) -> None:
    for _ in range(ENOUGH):
        read(reader, ECHO, value=1)
    assert prepared(connection) == 1
    reader.run("BEGIN", {})
    # psycopg has the server forget all that is prepared then.
    connection.rollback()
    assert prepared(connection) == 0

    assert read(reader, ECHO, value=2) == [(2, False, "100%")]


def test_of_many_statements_those_are_forgotten_that_were_not_used(
    reader: Reader, connection: PatientConnection
) -> None:
    connection.prepared_max = 3
    for number in range(5):
        for _ in range(ENOUGH + 1):
            read(reader, f"SELECT {number}, %(value)s", value=number)
            read(reader, ECHO, value=number)

    statements = connection.execute("SELECT statement FROM pg_prepared_statements", prepare=False)
    names = {statement.partition(",")[0] for (statement,) in statements}
    assert {"SELECT $1 AS value", "SELECT 4"} <= names
    assert not {"SELECT 0", "SELECT 1"} & names
    assert read(reader, "SELECT 0, %(value)s", value=0) == [(0, 0)]


def test_an_answer_that_does_not_come_is_given_up(
    reader: Reader, connection: PatientConnection
) -> None:
    text = "SELECT pg_sleep(%(seconds)s)"
    for _ in range(ENOUGH):
        read(reader, text, seconds=0.0)
    connection.patience = 0.2

    with pytest.raises(psycopg.OperationalError, match="did not answer in time"):
        read(reader, text, seconds=5.0)

    assert connection.closed


class TestBeginAndRun:
    """The first statement of a transaction, sent together with its beginning."""

    READ = "SELECT 12 / %(number)s::int"

    @pytest.fixture
    def ready(self, reader: Reader, connection: PatientConnection) -> Reader:
        """A reader whose connection has both prepared, and is in no transaction."""
        for _ in range(ENOUGH):
            reader.run("BEGIN", {})
            read(reader, self.READ, number=3)
            connection.rollback()
        return reader

    def test_it_answers_within_the_transaction(
        self, ready: Reader, connection: PatientConnection
    ) -> None:
        result = ready.begin_and_run(self.READ, {"number": 4})

        assert ready.rows(result, tuple) == [(3,)]
        assert connection.info.transaction_status is TransactionStatus.INTRANS
        assert connection.pgconn.pipeline_status == PipelineStatus.OFF
        connection.rollback()
        assert read(ready, self.READ, number=2) == [(6,)]

    def test_what_is_not_prepared_begins_a_transaction_as_well(
        self, reader: Reader, connection: PatientConnection
    ) -> None:
        result = reader.begin_and_run(self.READ, {"number": 6})

        assert reader.rows(result, tuple) == [(2,)]
        assert connection.info.transaction_status is TransactionStatus.INTRANS
        connection.rollback()

    def test_a_refusal_leaves_a_transaction_that_can_only_be_rolled_back(
        self, ready: Reader, connection: PatientConnection
    ) -> None:
        with pytest.raises(psycopg.errors.DivisionByZero):
            ready.begin_and_run(self.READ, {"number": 0})

        assert connection.info.transaction_status is TransactionStatus.INERROR
        connection.rollback()
        assert ready.rows(ready.begin_and_run(self.READ, {"number": 1}), tuple) == [(12,)]
        connection.rollback()

    def test_a_server_that_hangs_is_given_up(
        self, reader: Reader, connection: PatientConnection
    ) -> None:
        sleep = "SELECT pg_sleep(%(seconds)s::float)"
        for _ in range(ENOUGH):
            reader.run("BEGIN", {})
            reader.run(sleep, {"seconds": 0.0})
            connection.rollback()
        connection.patience = 0.2

        with pytest.raises(NoAnswer):
            reader.begin_and_run(sleep, {"seconds": 60.0})

        assert connection.closed

    def test_a_connection_that_was_lost_is_an_operational_error(
        self, ready: Reader, connection: PatientConnection, engine: Engine
    ) -> None:
        with engine.connect() as other:
            other.scalar(select(func.pg_terminate_backend(connection.info.backend_pid, 5000)))
        with pytest.raises(psycopg.OperationalError):
            ready.begin_and_run(self.READ, {"number": 1})

        assert connection.closed
