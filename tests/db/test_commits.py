"""Whether anything was committed: told exactly, for the right time, and nobody waits for it.

The PostgreSQL is one of these tests' own: its numbers are those of all its databases together.
"""

import math
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from circdesk.db import commits as module
from circdesk.db import outage
from circdesk.db.commits import Commits
from circdesk.db.engine import make_engine
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.settings import Settings
from tests.postgresql_server import frozen, new_database, quiet_postgresql_server, stopped

DEADLINE = 1
PATIENCE = 30

ON_POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
ON_SQLITE = pytest.mark.parametrize("url", ["sqlite"], indirect=True)

Connect = Callable[[], Any]


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A PostgreSQL on which nobody does anything by himself."""
    with quiet_postgresql_server("circdesk-commits-") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'library.db'}"
    return new_database(request.getfixturevalue("server"))


@pytest.fixture
def engine(url: str, tmp_path: Path) -> Iterator[Engine]:
    """An engine on a database with one table of one row."""
    engine = engine_on(url, tmp_path)
    write(engine, "CREATE TABLE things (name TEXT)")
    write(engine, "INSERT INTO things VALUES ('a')")
    yield engine
    engine.dispose()


@pytest.fixture
def commits(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    """Who asks whenever somebody wants to know."""
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(outage, "_PAUSE_SECONDS", 0.0)
    commits = Commits(engine)
    yield commits
    commits.close()


@pytest.fixture
def connect(engine: Engine) -> Iterator[Connect]:
    """Connects as another process does, without transactions of the driver's own."""
    opened: list[Any] = []

    def connect() -> Any:
        if engine.dialect.name == "sqlite":
            opened.append(sqlite3.connect(engine.url.database or "", isolation_level=None))
        else:
            address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            opened.append(psycopg.connect(address, autocommit=True))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


def engine_on(url: str, instance: Path) -> Engine:
    settings = Settings(
        instance=instance,
        database_url=SecretStr(url),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        database_timeout_seconds=DEADLINE,
    )
    return make_engine(settings)


def write(engine: Engine, statement: str) -> None:
    with unit_of_work(make_sessions(engine), writing=True) as session:
        session.execute(text(statement))


def read(engine: Engine) -> list[str]:
    with unit_of_work(make_sessions(engine), writing=False) as session:
        return list(session.scalars(text("SELECT name FROM things")))


def ask(commits: Commits) -> None:
    """Have the database asked, and wait for its answer."""
    commits.unchanged_until(0)
    wait(commits)


def wait(commits: Commits) -> None:
    """Wait until nothing is under way, without beginning anything."""
    commits._pool.submit(int).result(PATIENCE)


def known(commits: Commits, began: float) -> float:
    """What is known, where nothing may be asked meanwhile."""
    commits._next_time = math.inf
    try:
        return commits.unchanged_until(began)
    finally:
        commits._next_time = -math.inf


def answers(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.05) -> list[float]:
    """The moments at which the database answers from now on, each a while from both ends."""
    moments: list[float] = []
    original = Commits._read

    def slowly(self: Commits) -> Any:
        sleep(seconds)
        token = original(self)
        moments.append(monotonic())
        sleep(seconds)
        return token

    monkeypatch.setattr(Commits, "_read", slowly)
    return moments


class TestUnchanged:
    def test_nothing_is_known_before_it_was_asked(self, commits: Commits) -> None:
        assert known(commits, monotonic()) == -math.inf

    def test_while_all_only_read_nothing_is_committed(
        self, commits: Commits, engine: Engine, connect: Connect
    ) -> None:
        other = connect()
        ask(commits)
        began = monotonic()
        for _ in range(3):
            # Connections come and go, and one stays in a transaction.
            assert read(engine) == ["a"]
            assert connect().execute("SELECT name FROM things").fetchall() == [("a",)]
            if not transaction_of(other):
                other.execute("BEGIN")
            other.execute("SELECT name FROM things").fetchall()
            before = monotonic()
            ask(commits)
            assert known(commits, began) >= before

    @pytest.mark.parametrize(
        "deed",
        [
            "INSERT INTO things VALUES ('b')",
            "UPDATE things SET name = 'b'",
            "DELETE FROM things",
            "CREATE TABLE more (name TEXT)",
            "CREATE INDEX by_name ON things (name)",
            "ALTER TABLE things ADD COLUMN more TEXT",
            "DROP TABLE things",
        ],
    )
    def test_what_another_commits_is_a_change(
        self, commits: Commits, connect: Connect, deed: str
    ) -> None:
        began, until = unchanged(commits)
        connect().execute(deed)
        changed(commits, began, until)

    def test_what_this_process_commits_is_a_change(self, commits: Commits, engine: Engine) -> None:
        began, until = unchanged(commits)
        write(engine, "INSERT INTO things VALUES ('b')")
        changed(commits, began, until)

    def test_so_is_what_was_under_way_when_it_was_first_asked(
        self, commits: Commits, connect: Connect
    ) -> None:
        other = connect()
        other.execute("BEGIN")
        other.execute("INSERT INTO things VALUES ('b')")
        began, until = unchanged(commits)
        other.execute("COMMIT")
        changed(commits, began, until)

    def test_so_is_what_began_meanwhile(self, commits: Commits, connect: Connect) -> None:
        other = connect()
        other.execute("BEGIN")
        began, until = unchanged(commits)
        other.execute("INSERT INTO things VALUES ('b')")
        ask(commits)
        assert known(commits, began) > until
        until = known(commits, began)
        other.execute("COMMIT")
        changed(commits, began, until)

    @ON_POSTGRESQL
    def test_while_one_is_under_way_among_those_that_have_ended_nothing_is_known(
        self, commits: Commits, connect: Connect
    ) -> None:
        early, late = connect(), connect()
        early.execute("BEGIN")
        early.execute("INSERT INTO things VALUES ('early')")
        late.execute("INSERT INTO things VALUES ('late')")
        began = monotonic()
        ask(commits)
        ask(commits)
        assert known(commits, monotonic()) == -math.inf
        early.execute("COMMIT")
        ask(commits)
        assert known(commits, began) == -math.inf
        unchanged(commits)

    @ON_POSTGRESQL
    def test_a_prepared_transaction_is_a_change_when_it_is_committed(
        self, commits: Commits, connect: Connect, server: Any
    ) -> None:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
        with stopped(server):
            pass
        other = connect()
        other.execute("BEGIN")
        other.execute("INSERT INTO things VALUES ('b')")
        other.execute("PREPARE TRANSACTION 'half'")
        began, until = unchanged(commits)
        other.execute("COMMIT PREPARED 'half'")
        changed(commits, began, until)


def transaction_of(connection: Any) -> bool:
    if isinstance(connection, sqlite3.Connection):
        return connection.in_transaction
    return bool(connection.info.transaction_status)


def unchanged(commits: Commits) -> tuple[float, float]:
    """A moment since which nothing was committed, and until when that is known."""
    ask(commits)
    began = monotonic()
    ask(commits)
    until = known(commits, began)
    assert began <= until <= monotonic()
    return began, until


def changed(commits: Commits, began: float, until: float) -> None:
    """Something was committed: what was read before is as good as it was, and no longer."""
    for _ in range(2):
        ask(commits)
        assert known(commits, began) == until
    # What is read from now on is good again.
    unchanged(commits)


class TestOrder:
    """The database answers at some moment between those of asking and of hearing."""

    def test_what_was_read_before_the_first_answer_had_come_may_lack_something(
        self, commits: Commits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moments = answers(monkeypatch)
        ask(commits)
        heard = monotonic()
        ask(commits)
        assert known(commits, moments[0]) == -math.inf
        assert known(commits, heard) > heard

    def test_what_is_committed_while_it_asks_again_may_come_after_the_answer(
        self, commits: Commits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moments = answers(monkeypatch)
        began, until = unchanged(commits)
        assert until <= moments[1] - 0.05
        asked = monotonic()
        ask(commits)
        assert asked <= known(commits, began) <= moments[2] - 0.05

    def test_the_span_before_the_last_change_is_remembered_and_none_before_that(
        self, commits: Commits, engine: Engine
    ) -> None:
        first, _ = unchanged(commits)
        write(engine, "DELETE FROM things")
        second, until = unchanged(commits)
        assert first < second
        assert known(commits, first) > first
        write(engine, "DROP TABLE things")
        ask(commits)
        assert known(commits, first) == -math.inf
        assert known(commits, second) == until


class TestTrouble:
    def test_another_connection_begins_anew(self, commits: Commits) -> None:
        began, until = unchanged(commits)
        commits._connection.close()
        with capture_logs() as logs:
            changed(commits, began, until)
        assert [(line["event"], line["part"]) for line in logs] == [
            ("part_gone", "commits"),
            ("part_back", "commits"),
        ]

    @ON_POSTGRESQL
    def test_a_server_that_was_away_begins_anew(self, commits: Commits, server: Any) -> None:
        began, until = unchanged(commits)
        with capture_logs() as logs:
            with stopped(server):
                ask(commits)
                ask(commits)
                assert known(commits, began) == until
                assert known(commits, monotonic()) == until
            changed(commits, began, until)
        assert [line["event"] for line in logs] == ["part_gone", "part_back"]

    @ON_POSTGRESQL
    def test_a_server_that_hangs_is_waited_for_once_and_by_nobody_else(
        self, commits: Commits, server: Any
    ) -> None:
        began, until = unchanged(commits)
        with frozen(server), capture_logs():
            started = monotonic()
            for _ in range(1000):
                assert commits.unchanged_until(began) == until
            assert monotonic() - started < DEADLINE
            # One is under way, and none waits for its end.
            assert commits._pool._work_queue.qsize() <= 1
            wait(commits)
            assert known(commits, began) == until
        with capture_logs():
            changed(commits, began, until)

    def test_a_file_that_is_no_database_tells_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(outage, "_PAUSE_SECONDS", 0.0)
        broken = tmp_path / "broken.db"
        broken.write_bytes(b"no database" * 1000)
        with (
            capture_logs() as logs,
            closing(Commits(engine_on(f"sqlite:///{broken}", tmp_path))) as commits,
        ):
            ask(commits)
            ask(commits)
            assert known(commits, monotonic()) == -math.inf
        assert [line["event"] for line in logs] == ["part_gone"]


class TestCost:
    def test_it_is_asked_once_a_second_while_somebody_wants_to_know(
        self, commits: Commits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moments = answers(monkeypatch, seconds=0)
        monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.5)
        started = monotonic()
        while monotonic() < started + 1.2:
            commits.unchanged_until(started)
            sleep(0.001)
        wait(commits)
        assert 1 <= len(moments) <= 3
        assert all(later - earlier > 0.4 for earlier, later in pairwise(moments))
        asked = len(moments)
        sleep(0.7)
        assert len(moments) == asked

    @ON_SQLITE
    def test_its_connection_stands_in_the_way_of_no_writer_and_no_checkpoint(
        self, commits: Commits, connect: Connect
    ) -> None:
        other = connect()
        unchanged(commits)
        other.execute("INSERT INTO things VALUES ('b')")
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)

    @ON_POSTGRESQL
    def test_its_connection_has_no_transaction_and_is_none_of_the_pool(
        self, commits: Commits, engine: Engine, connect: Connect
    ) -> None:
        unchanged(commits)
        assert states(connect()) == ["idle"]
        engine.dispose()
        with engine.connect():
            assert len(states(connect())) == 2

    def test_nothing_of_it_stays(self, engine: Engine, connect: Connect) -> None:
        before = threads()
        with closing(Commits(engine)) as commits:
            ask(commits)
            assert [thread.name for thread in threads() - before] == ["commits_0"]
        assert threads() <= before
        # Who asks after that hears nothing, and begins nothing.
        assert commits.unchanged_until(monotonic()) < monotonic()
        assert threads() <= before
        engine.dispose()
        if engine.dialect.name == "sqlite":
            # The last connection takes the log along.
            assert not Path(f"{engine.url.database}-wal").exists()
        else:
            until(lambda: states(connect()) == [])


def threads() -> set[threading.Thread]:
    return {*threading.enumerate()}


def states(connection: Any) -> list[str]:
    """What the connections of the service to this database do."""
    rows = connection.execute(
        "SELECT state FROM pg_stat_activity"
        " WHERE application_name = 'circdesk' AND datname = current_database()"
    )
    return [state for (state,) in rows.fetchall()]


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        assert monotonic() < deadline
        sleep(0.01)
