import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from circdesk.db.engine import WITHOUT_DEADLINE, make_engine
from circdesk.db.errors import DatabaseBusy, DatabaseUnavailable
from circdesk.db.patience import PatientConnection, patience_beyond
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.settings import Settings

# What only PostgreSQL does is tested there alone.
on_postgresql = pytest.mark.parametrize(
    "database_url", ["postgresql"], indirect=True, scope="session"
)
# What only SQLite does is tested there alone.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")
ENDLESS = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers)
    SELECT count(*) FROM numbers
"""
MANY = """
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000000)
    SELECT count(*) FROM numbers
"""


@contextmanager
def impatient_engine(settings: Settings, **changes: object) -> Iterator[Engine]:
    """An engine of its own on the same database, whose deadline is soon."""
    changes = {"database_timeout_seconds": 0.2, "threads": 1} | changes
    engine = make_engine(settings.model_copy(update=changes))
    try:
        yield engine
    finally:
        engine.dispose()


def read(engine: Engine, statement: str = "SELECT 1") -> object:
    with unit_of_work(make_sessions(engine), writing=False) as session:
        return session.scalar(text(statement))


def shown(connection: Connection, name: str) -> object:
    return connection.scalar(text(f"SHOW {name}"))


class TestSQLite:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "deep" / "er" / "circdesk.db"

    @pytest.fixture
    def engine(self, file: Path) -> Iterator[Engine]:
        url = SecretStr(f"sqlite:///{file}")
        # The other required settings are made in the instance directory.
        settings = Settings(instance=file.parent, database_url=url)  # type: ignore[call-arg]
        engine = make_engine(settings)
        yield engine
        engine.dispose()

    def test_it_keeps_what_it_has_committed_and_checks_references(self, engine: Engine) -> None:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        with engine.connect() as connection:
            pragmas = [connection.scalar(text(f"PRAGMA {name}")) for name in names]

        assert pragmas == ["wal", 2, 1, 5000]

    def test_directories_are_made(self, engine: Engine, file: Path) -> None:
        assert read(engine) == 1
        assert file.exists()

    def test_a_directory_that_is_no_database_is_an_outage(self, file: Path) -> None:
        file.mkdir(parents=True)
        url = SecretStr(f"sqlite:///{file}")
        settings = Settings(instance=file.parent, database_url=url)  # type: ignore[call-arg]

        with pytest.raises(DatabaseUnavailable):
            read(make_engine(settings))

    def test_data_definition_is_part_of_the_transaction(self, engine: Engine) -> None:
        with engine.connect() as connection:
            connection.execute(text("CREATE TABLE gone (n INTEGER)"))
            connection.rollback()
            tables = connection.scalar(text("SELECT count(*) FROM sqlite_master"))

        assert tables == 0


class TestDeadlines:
    def test_an_endless_statement_is_interrupted(self, settings: Settings) -> None:
        started = time.monotonic()

        with impatient_engine(settings) as impatient, pytest.raises(DatabaseBusy) as caught:
            read(impatient, ENDLESS)

        assert time.monotonic() - started < 5
        assert (caught.value.status, caught.value.headers) == (503, {"Retry-After": "1"})

    def test_a_connection_is_good_after_an_interruption(self, settings: Settings) -> None:
        with impatient_engine(settings) as impatient:
            with pytest.raises(DatabaseBusy):
                read(impatient, ENDLESS)

            assert read(impatient) == 1

    @on_sqlite
    def test_sqlite_lifts_it_for_migrations(self, settings: Settings) -> None:
        with impatient_engine(settings, database_timeout_seconds=0.001) as impatient:
            patient = impatient.execution_options(**{WITHOUT_DEADLINE: True})
            with patient.connect() as connection:
                assert connection.scalar(text(MANY)) == 1_000_000

    def test_an_exhausted_pool_is_busy_in_time(self, settings: Settings) -> None:
        with impatient_engine(settings) as impatient, ExitStack() as held:
            assert isinstance(impatient.pool, QueuePool)
            for _ in range(impatient.pool.size()):
                held.enter_context(impatient.connect())

            with pytest.raises(DatabaseBusy):
                read(impatient)

    @on_postgresql
    def test_postgresql_waits_longer_than_its_own_only_without_deadline(
        self, settings: Settings
    ) -> None:
        with impatient_engine(settings) as impatient:
            patient = impatient.execution_options(**{WITHOUT_DEADLINE: True})
            waits = []
            # One after the other they have the same connection.
            for engine in (impatient, patient, impatient):
                with engine.connect() as connection:
                    connection.execute(text("SELECT 1"))
                    driver = connection.connection.driver_connection
                    assert isinstance(driver, PatientConnection)
                    waits.append(driver.patience)

        assert waits == [patience_beyond(0.2), None, patience_beyond(0.2)]

    @on_postgresql
    def test_a_server_without_an_answer_is_given_up(self, settings: Settings) -> None:
        with impatient_engine(settings) as impatient, impatient.connect() as connection:
            connection.execute(text("SET statement_timeout = 0"))
            started = time.monotonic()

            with pytest.raises(DBAPIError, match="the server did not answer in time") as caught:
                connection.execute(text("SELECT pg_sleep(60)"))

            assert time.monotonic() - started < 20
            assert caught.value.connection_invalidated

    @on_postgresql
    def test_postgresql_sessions_are_bounded(self, settings: Settings) -> None:
        with impatient_engine(settings) as impatient, impatient.connect() as connection:
            assert shown(connection, "statement_timeout") == "200ms"
            assert shown(connection, "lock_timeout") == "200ms"
            assert shown(connection, "idle_in_transaction_session_timeout") == "400ms"
            assert shown(connection, "application_name") == "circdesk"


class TestOutages:
    @pytest.fixture
    def port(self) -> Iterator[int]:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            yield listener.getsockname()[1]

    def on_port(self, settings: Settings, port: int) -> Settings:
        url = SecretStr(f"postgresql+psycopg://nobody@127.0.0.1:{port}/circdesk")
        changes = {"database_url": url, "database_timeout_seconds": 2}
        return settings.model_copy(update=changes)

    def test_a_closed_port_is_an_outage_at_once(self, settings: Settings, port: int) -> None:
        started = time.monotonic()

        with pytest.raises(DatabaseUnavailable) as caught:
            read(make_engine(self.on_port(settings, port)))

        assert time.monotonic() - started < 2
        assert (caught.value.code, caught.value.headers) == (
            "database_unavailable",
            {"Retry-After": "5"},
        )

    def test_a_server_that_says_nothing_is_an_outage_in_time(self, settings: Settings) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            started = time.monotonic()

            with pytest.raises(DatabaseUnavailable):
                read(make_engine(self.on_port(settings, silent.getsockname()[1])))

        assert 1 < time.monotonic() - started < 4

    @on_postgresql
    def test_connections_that_the_server_closed_are_replaced(
        self, engine: Engine, settings: Settings
    ) -> None:
        with impatient_engine(settings, threads=3, database_timeout_seconds=5) as other:
            connections = [other.connect() for _ in range(3)]
            servers = [c.scalar(text("SELECT pg_backend_pid()")) for c in connections]
            for connection in connections:
                connection.close()
            with engine.begin() as administrator:
                ended = text("SELECT pg_terminate_backend(:server, 5000)")
                for server in servers:
                    assert administrator.scalar(ended, {"server": server})

            assert [read(other) for _ in range(3)] == [1, 1, 1]

    @on_postgresql
    def test_a_connection_that_breaks_in_use_is_an_outage_and_the_next_one_works(
        self, settings: Settings
    ) -> None:
        with impatient_engine(settings, threads=2, database_timeout_seconds=5) as other:
            with pytest.raises(DatabaseUnavailable):
                read(other, "SELECT pg_terminate_backend(pg_backend_pid())")

            assert read(other) == 1


class TestThreads:
    def test_first_connections_at_once_agree(self, tmp_path: Path) -> None:
        url = SecretStr(f"sqlite:///{tmp_path / 'new.db'}")
        settings = Settings(instance=tmp_path, database_url=url)  # type: ignore[call-arg]
        engines = [make_engine(settings) for _ in range(8)]
        barrier = threading.Barrier(len(engines))
        answers: list[object] = []

        def connect(engine: Engine) -> None:
            barrier.wait()
            answers.append(read(engine))

        threads = [threading.Thread(target=connect, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for engine in engines:
            engine.dispose()

        assert answers == [1] * len(engines)
