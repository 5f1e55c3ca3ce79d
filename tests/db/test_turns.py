"""Writers on SQLite take turns in the order in which they came."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from circdesk.db.engine import make_engine
from circdesk.db.errors import DatabaseBusy
from circdesk.db.turns import Turns
from circdesk.db.unit_of_work import Sessions, make_sessions, unit_of_work
from circdesk.settings import Settings

DEADLINE = 1
PATIENCE = 30


@pytest.fixture
def engine_here(tmp_path: Path) -> Iterator[Engine]:
    """An engine on a database with one table."""
    settings = Settings(
        instance=tmp_path,
        database_url=SecretStr(f"sqlite:///{tmp_path / 'library.db'}"),
        secret_key=SecretStr("a secret key that only tests know"),
        encryption_key=SecretStr("an encryption key that only tests know"),
        threads=16,
        database_timeout_seconds=DEADLINE,
    )
    engine = make_engine(settings)
    with unit_of_work(make_sessions(engine), writing=True) as session:
        session.execute(text("CREATE TABLE things (name TEXT)"))
    yield engine
    engine.dispose()


@pytest.fixture
def here(engine_here: Engine) -> Sessions:
    """The sessions of that engine."""
    return make_sessions(engine_here)


def write(sessions: Sessions, name: str) -> None:
    with unit_of_work(sessions, writing=True) as session:
        session.execute(text("INSERT INTO things VALUES (:name)"), {"name": name})


def names(sessions: Sessions) -> list[str]:
    with unit_of_work(sessions, writing=False) as session:
        return list(session.scalars(text("SELECT name FROM things ORDER BY rowid")))


class TestTurns:
    def test_who_waits_too_long_leaves_the_line(self) -> None:
        turns = Turns()
        assert turns.take(0)
        assert not turns.take(0.01)
        turns.give()
        assert turns.take(0)

    def test_the_first_who_waits_is_the_next(self) -> None:
        turns, order = Turns(), list[int]()
        turns.take(0)

        def wait(number: int) -> None:
            assert turns.take(PATIENCE)
            order.append(number)
            turns.give()

        threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
        for number, thread in enumerate(threads):
            thread.start()
            while len(turns._waiting) <= number:
                time.sleep(0.001)
        turns.give()
        for thread in threads:
            thread.join(PATIENCE)
        assert order == [0, 1, 2, 3, 4]


class TestWriters:
    def test_none_waits_while_others_write_again_and_again(self, here: Sessions) -> None:
        longest, over = list[float](), threading.Event()

        def write_on() -> None:
            while not over.is_set():
                began = time.monotonic()
                with unit_of_work(here, writing=True) as session:
                    session.execute(text("INSERT INTO things VALUES ('a')"))
                    longest.append(time.monotonic() - began)
                    time.sleep(0.002)

        threads = [threading.Thread(target=write_on) for _ in range(12)]
        for thread in threads:
            thread.start()
        time.sleep(3)
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert len(names(here)) == len(longest) > 100
        # Where each looked for the lock by itself, some were refused after their second.
        assert max(longest) < DEADLINE

    def test_who_is_refused_takes_nobodys_turn(self, here: Sessions) -> None:
        with unit_of_work(here, writing=True) as session:
            session.execute(text("INSERT INTO things VALUES ('first')"))
            with pytest.raises(DatabaseBusy):
                write(here, "second")
        write(here, "third")
        assert names(here) == ["first", "third"]

    def test_a_transaction_that_fails_ends_its_turn(self, here: Sessions) -> None:
        with pytest.raises(OperationalError), unit_of_work(here, writing=True) as session:
            session.execute(text("INSERT INTO nothing VALUES (1)"))
        write(here, "next")
        assert names(here) == ["next"]

    def test_a_connection_that_is_lost_ends_its_turn(self, here: Sessions) -> None:
        with here.writing() as session:
            session.execute(text("INSERT INTO things VALUES ('lost')"))
            session.connection().invalidate()
        write(here, "next")
        assert names(here) == ["next"]

    def test_another_process_is_waited_for_no_longer_than_the_deadline(
        self, engine_here: Engine, here: Sessions
    ) -> None:

        other = sqlite3.connect(str(engine_here.url.database), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseBusy):
            write(here, "refused")
        other.execute("ROLLBACK")
        other.close()
        write(here, "next")
        assert names(here) == ["next"]
