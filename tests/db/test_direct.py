"""Reads past SQLAlchemy's connection tell what they would tell with it."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Double,
    Engine,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    cast,
    column,
    create_engine,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from circdesk.db import direct, rows
from circdesk.db.base import UtcDateTime
from circdesk.db.direct import DirectEngine
from circdesk.db.errors import DatabaseUnavailable
from circdesk.db.pool import LendingPool
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.conftest import CountQueries

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)

MOMENT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
EVERYTHING = select(
    literal(UUID(int=7)).label("id"),
    literal(MOMENT, UtcDateTime).label("due"),
    literal_column("""'{"a": [1, "%"]}'::json""", JSON).label("data"),
    cast(0.25, Double).label("rank"),
    bindparam("name", type_=Text).label("name"),
    func.coalesce(bindparam("unset", None, type_=Text), "nothing").label("unset"),
    bindparam("word", "50% 'off'", type_=Text, literal_execute=True).label("word"),
)


@pytest.fixture
def reading(sessions: Sessions) -> Iterator[Session]:
    """A reading unit of work."""
    with unit_of_work(sessions, writing=False) as session:
        yield session


def by_sqlalchemy(session: Session, statement: Select[Any], values: dict[str, Any]) -> list[Any]:
    return [*map(tuple, session.execute(statement, values))]


class TestReadRows:
    @pytest.mark.parametrize("values", [{"name": "Ada"}, {"name": "%s", "word": "%(name)s"}])
    def test_rows_are_those_of_sqlalchemy(self, reading: Session, values: dict[str, Any]) -> None:
        (row,) = rows.read_rows(reading, EVERYTHING, values)

        assert not reading.in_transaction()
        assert (row.id, row.due, row.data) == (UUID(int=7), MOMENT, {"a": [1, "%"]})
        assert (row.rank, row.name, row.unset) == (0.25, values["name"], "nothing")
        assert row.word == values.get("word", "50% 'off'")
        assert [tuple(row)] == by_sqlalchemy(reading, EVERYTHING, values)

    def test_a_list_of_values_is_for_sqlalchemy(self, reading: Session) -> None:
        numbers = select(func.generate_series(1, 5).label("n")).subquery()
        wanted = select(numbers.c.n).where(numbers.c.n.in_([2, 4]))

        assert [row.n for row in rows.read_rows(reading, wanted)] == [2, 4]
        assert reading.in_transaction()

    def test_within_a_transaction_it_is_part_of_that(self, session: Session) -> None:
        session.execute(text("CREATE TEMPORARY TABLE here (n integer) ON COMMIT DROP"))
        counted = select(func.count().label("n")).select_from(text("here"))

        assert [row.n for row in rows.read_rows(session, counted)] == [0]

    def test_whoever_listens_to_statements_hears_of_it(
        self, reading: Session, count_queries: CountQueries
    ) -> None:
        with count_queries() as statements:
            rows.read_rows(reading, EVERYTHING, {"name": "Ada"})

        assert len(statements) == 1

    def test_the_connection_is_free_again(self, reading: Session, engine: Engine) -> None:
        pool: Any = engine.pool
        before = pool.checkedout()
        rows.read_rows(reading, EVERYTHING, {"name": "Ada"})
        with pytest.raises(DBAPIError):
            rows.read_rows(reading, select(literal_column("1 / 0").label("n")))

        assert pool.checkedout() == before


class TestWithinATransaction:
    def test_it_goes_past_sqlalchemy(
        self, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connection = session.connection()
        monkeypatch.delattr(Connection, "execute")

        (row,) = direct.execute(connection, EVERYTHING, {"name": "Ada"})

        assert (row.id, row.name) == (UUID(int=7), "Ada")

    def test_what_is_given_columns_in_python_is_for_sqlalchemy(self, session: Session) -> None:
        told = Column("told", Text, default=lambda: "by default")
        notes = Table("notes", MetaData(), Column("n", Integer), told)
        notes.create(session.connection())
        new = insert(notes).values(n=bindparam("m"))
        direct.execute(session.connection(), new, {"m": 1})

        assert direct.execute(session.connection(), select(notes), {}) == [(1, "by default")]

    def test_a_savepoint_takes_back_what_fails(self, session: Session) -> None:
        session.execute(text("CREATE TEMPORARY TABLE here (n integer) ON COMMIT DROP"))
        here = table("here", column("n", Integer))
        new = insert(here).values(n=bindparam("m"))
        with contextlib.suppress(DBAPIError), session.begin_nested():
            direct.execute(session.connection(), new, {"m": 1})
            rows.read_rows(session, select(literal_column("1 / 0").label("n")))

        assert rows.read_rows(session, select(here.c.n)) == []

    def test_a_server_that_is_away_is_told_as_by_sqlalchemy(self, engine: Engine) -> None:
        nothing = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
        away = DirectEngine(create_engine(nothing, poolclass=LendingPool))
        with pytest.raises(OperationalError) as caught:
            away.read(EVERYTHING, {"name": "Ada"})

        assert away.dialect.name == engine.dialect.name
        assert "127.0.0.1" in str(caught.value)

    def test_a_connection_that_is_lost_is_an_outage(self, sessions: Sessions) -> None:
        lost = select(func.pg_terminate_backend(func.pg_backend_pid()).label("ended"))
        with pytest.raises(DatabaseUnavailable), unit_of_work(sessions, writing=True) as session:
            rows.read_rows(session, lost)
        with unit_of_work(sessions, writing=True) as session:
            assert rows.read_rows(session, select(literal_column("1").label("n"))) == [(1,)]


class TestErrors:
    def test_they_are_those_of_sqlalchemy_and_tell_no_value(self, reading: Session) -> None:
        wrong = select(cast(bindparam("name", type_=Text), Double).label("n"))
        told: Sequence[DBAPIError] = []
        for read in (rows.read_rows, by_sqlalchemy):
            with pytest.raises(DBAPIError) as caught:
                read(reading, wrong, {"name": "no number"})
            reading.rollback()
            told = [*told, caught.value]

        ours, theirs = told
        assert type(ours) is type(theirs)
        assert str(ours).splitlines()[-2:] == str(theirs).splitlines()[-2:]
        assert not ours.connection_invalidated
        assert "[SQL parameters hidden due to hide_parameters=True]" in str(ours)

    def test_a_connection_that_is_lost_is_left_and_the_next_read_has_another(
        self, sessions: Sessions
    ) -> None:
        lost = select(func.pg_terminate_backend(func.pg_backend_pid()).label("ended"))
        with pytest.raises(DatabaseUnavailable), unit_of_work(sessions, writing=False) as session:
            rows.read_rows(session, lost)

        with unit_of_work(sessions, writing=False) as session:
            assert len(rows.read_rows(session, BACKEND)) == 1

    def test_a_read_is_sent_again_where_the_server_has_closed_the_connection(
        self, sessions: Sessions, engine: Engine
    ) -> None:
        with connected(engine, 2) as pids:
            pass
        end_backends(engine, pids)

        with unit_of_work(sessions, writing=False) as session:
            (row,) = rows.read_rows(session, BACKEND)

        assert row.pid not in pids

    def test_all_connections_are_made_anew_where_the_server_has_closed_one(
        self, sessions: Sessions, engine: Engine
    ) -> None:
        with connected(engine, 2) as pids:
            pass
        end_backends(engine, pids[:1])

        with unit_of_work(sessions, writing=False) as session:
            rows.read_rows(session, BACKEND)
        with connected(engine, 2) as later:
            pass

        assert not {*pids} & {*later}

    def test_a_read_that_has_waited_in_vain_is_not_sent_again(
        self, sessions: Sessions, engine: Engine
    ) -> None:
        forever = select(func.pg_sleep(60).label("slept"))
        with engine.connect() as connection:
            driver: Any = connection.connection.dbapi_connection
        driver.patience = 0.2
        began = time.monotonic()
        with pytest.raises(DatabaseUnavailable), unit_of_work(sessions, writing=False) as session:
            rows.read_rows(session, forever)

        # The next one would have had the patience of the settings.
        assert driver.closed
        assert time.monotonic() - began < 1.5


BACKEND = select(func.pg_backend_pid().label("pid"))


@contextlib.contextmanager
def connected(engine: Engine, count: int) -> Iterator[list[int]]:
    """Hold so many connections at once; what serves them, and is used next, in this order."""
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(engine.connect()) for _ in range(count)]
        yield [connection.scalar(BACKEND) or 0 for connection in connections]


def end_backends(engine: Engine, pids: list[int]) -> None:
    """Let the server close connections that nobody uses."""
    with psycopg.connect(_plain_url(engine), autocommit=True) as other:
        for pid in pids:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


def _plain_url(engine: Engine) -> str:
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def test_only_what_needs_no_transaction_goes_past_sqlalchemy(sessions: Sessions) -> None:
    with (
        unit_of_work(sessions, writing=False) as reading,
        unit_of_work(sessions, writing=True) as writing,
    ):
        are_direct = [
            isinstance(session.get_bind(), DirectEngine) for session in (reading, writing)
        ]

    assert are_direct == [True, False]
