import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.auth.models import SignInFailure
from circdesk.db.engine import make_engine
from circdesk.db.errors import DatabaseBusy, DatabaseUnavailable, OutcomeUnknown
from circdesk.db.unit_of_work import (
    Sessions,
    current_session,
    make_sessions,
    sessions_of,
    store_at_the_end,
    unit_of_work,
    unit_of_work_before,
)
from circdesk.news.models import Post
from circdesk.settings import Settings

MakePost = Callable[..., Post]

# One writer at a time, as on SQLite, cannot deadlock, and its transactions cost nothing.
on_postgresql = pytest.mark.parametrize(
    "database_url", ["postgresql"], indirect=True, scope="session"
)


def titles(sessions: Sessions) -> list[str]:
    with unit_of_work(sessions, writing=False) as session:
        return list(session.scalars(select(Post.title).order_by(Post.id)))


class TestWriting:
    def test_what_was_written_is_committed_at_the_end(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(make_post(title="One"))

        assert titles(sessions) == ["One"]

    def test_an_error_stores_nothing_and_passes_on(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        def fail() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.add(make_post())
                session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()

        assert titles(sessions) == []

    def test_an_error_of_the_program_stays_what_it_is(self, sessions: Sessions) -> None:
        with pytest.raises(DBAPIError), unit_of_work(sessions, writing=True) as session:
            session.execute(text("SELECT nothing FROM nowhere"))

    def test_what_was_written_can_be_shown_after_the_commit(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            post = make_post(title="Still here")
            session.add(post)

        assert post.title == "Still here"

    def test_writers_that_read_first_wait_for_each_other(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        """A SQLite transaction that reads before it writes fails unless it began as a writer."""
        barrier = threading.Barrier(4)

        def write() -> None:
            barrier.wait()
            for _ in range(5):
                with unit_of_work(sessions, writing=True) as session:
                    session.scalar(select(func.count()).select_from(Post))
                    session.add(make_post())

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(titles(sessions)) == 20

    def test_a_lock_that_is_held_too_long_is_busy(
        self, sessions: Sessions, settings: Settings, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(make_post(title="First"))
        impatient = make_engine(settings.model_copy(update={"database_timeout_seconds": 0.1}))
        change = text("UPDATE posts SET title = 'Changed'")

        with unit_of_work(sessions, writing=True) as holder:
            holder.execute(change)
            with (
                pytest.raises(DatabaseBusy) as caught,
                unit_of_work(make_sessions(impatient), writing=True) as other,
            ):
                other.execute(change)

        impatient.dispose()
        assert (caught.value.status, caught.value.code) == (503, "database_busy")
        assert caught.value.headers == {"Retry-After": "1"}
        assert titles(sessions) == ["Changed"]

    @on_postgresql
    def test_a_deadlock_is_busy_for_one_and_nothing_to_the_other(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        posts = [make_post(), make_post()]
        with unit_of_work(sessions, writing=True) as session:
            session.add_all(posts)
        barrier = threading.Barrier(2)
        outcomes: list[str] = []

        def change(first: Post, second: Post) -> None:
            try:
                with unit_of_work(sessions, writing=True) as session:
                    for post in (first, second):
                        session.execute(
                            text("UPDATE posts SET title = 'Changed' WHERE id = :id"),
                            {"id": post.id},
                        )
                        if post is first:
                            barrier.wait(5)
                outcomes.append("changed")
            except DatabaseBusy:
                outcomes.append("busy")

        threads = [
            threading.Thread(target=change, args=order) for order in (posts, reversed(posts))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(outcomes) == ["busy", "changed"]


@on_postgresql
class TestLostConnections:
    def test_one_that_is_lost_at_the_commit_leaves_a_doubt(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        def write() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.add(make_post())
                session.flush()
                hang_up(session)

        with pytest.raises(OutcomeUnknown) as caught:
            write()

        assert (caught.value.status, caught.value.code) == (503, "outcome_unknown")
        assert caught.value.headers == {"Retry-After": "5"}
        assert isinstance(caught.value.__cause__, DBAPIError)
        assert titles(sessions) == []

    def test_one_that_is_lost_without_a_whole_session_leaves_it_too(
        self, sessions: Sessions
    ) -> None:
        def write() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.connection().execute(text("DELETE FROM posts"))
                hang_up(session)

        with pytest.raises(OutcomeUnknown) as caught:
            write()

        assert isinstance(caught.value.__cause__, DBAPIError)
        assert titles(sessions) == []

    def test_one_that_is_lost_before_the_commit_has_stored_nothing(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        def write() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.execute(text("SELECT 1"))
                hang_up(session)
                # It is only sent at the end, and before the commit.
                session.add(make_post())

        with pytest.raises(DatabaseUnavailable) as caught:
            write()

        assert caught.value.code == "database_unavailable"
        assert titles(sessions) == []

    def test_a_server_that_refuses_the_commit_has_stored_nothing(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        def write() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.add(make_post())
                session.flush()
                end = text("SELECT pg_terminate_backend(:server, 5000)")
                with unit_of_work(sessions, writing=False) as administrator:
                    server = session.scalar(text("SELECT pg_backend_pid()"))
                    assert administrator.scalar(end, {"server": server})

        with pytest.raises(DatabaseUnavailable) as caught:
            write()

        assert caught.value.code == "database_unavailable"
        assert titles(sessions) == []


def hang_up(session: Session) -> None:
    """Break the session's connection, without a word from the server."""
    driver = session.connection().connection.driver_connection
    assert driver is not None
    with socket.socket(fileno=os.dup(driver.fileno())) as connection:
        connection.shutdown(socket.SHUT_RDWR)


class TestReading:
    def test_a_change_is_a_programming_error(self, sessions: Sessions, make_post: MakePost) -> None:
        with unit_of_work(sessions, writing=False) as session:
            session.add(make_post())
            with pytest.raises(RuntimeError, match="a reading unit of work was asked to store"):
                session.flush()

        assert titles(sessions) == []

    def test_a_writer_does_not_keep_readers_waiting(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(make_post())
            session.flush()

            assert titles(sessions) == []

    @on_postgresql
    @pytest.mark.parametrize("writing", [False, True])
    def test_postgresql_opens_transactions_for_writing_alone(
        self, sessions: Sessions, *, writing: bool
    ) -> None:
        with unit_of_work(sessions, writing=writing) as session:
            session.execute(text("SELECT 1"))
            driver = session.connection().connection.driver_connection
            assert driver is not None
            in_transaction = driver.info.transaction_status is TransactionStatus.INTRANS
            assert in_transaction == writing

    def test_a_writer_is_no_reader_after_a_reader_had_its_connection(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        titles(sessions)

        with unit_of_work(sessions, writing=True) as session:
            session.add(make_post())
            session.flush()
            session.rollback()

        assert titles(sessions) == []


class TestBefore:
    def test_what_it_wrote_stays_whatever_becomes_of_the_session(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        def fail() -> None:
            with unit_of_work(sessions, writing=True) as session:
                with unit_of_work_before(session, writing=True) as before:
                    before.add(make_post(title="Before"))
                assert titles(sessions) == ["Before"]
                session.add(make_post(title="After"))
                session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()

        assert titles(sessions) == ["Before"]

    def test_it_stores_nothing_where_it_fails_itself(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        def fail(session: Session) -> None:
            with unit_of_work_before(session, writing=True) as before:
                before.add(make_post(title="Before"))
                before.flush()
                raise ZeroDivisionError

        with unit_of_work(sessions, writing=True) as session:
            with pytest.raises(ZeroDivisionError):
                fail(session)
            session.add(make_post(title="After"))

        assert titles(sessions) == ["After"]

    def test_the_current_session_is_its_own(self, session: Session) -> None:
        with unit_of_work_before(session, writing=False) as before:
            assert current_session() is before
        assert current_session() is session

    @pytest.mark.parametrize("writing", [False, True])
    def test_a_session_that_is_in_use_already_is_too_late(
        self, sessions: Sessions, *, writing: bool
    ) -> None:
        with unit_of_work(sessions, writing=writing) as session:
            session.execute(text("SELECT 1"))
            before = unit_of_work_before(session, writing=True)
            with pytest.raises(RuntimeError, match="in use already"):
                before.__enter__()


class TestSessionsOf:
    @pytest.mark.parametrize("writing", [False, True])
    def test_they_read_and_write_whatever_the_session_does(
        self, sessions: Sessions, make_post: MakePost, *, writing: bool
    ) -> None:
        with unit_of_work(sessions, writing=writing) as session:
            beside = sessions_of(session)
            with unit_of_work(beside, writing=True) as writer:
                writer.add(make_post(title="Beside"))

            assert titles(beside) == titles(sessions) == ["Beside"]
            with unit_of_work(beside, writing=False) as reader:
                reader.add(make_post())
                with pytest.raises(RuntimeError, match="a reading unit of work"):
                    reader.flush()


class TestCurrentSession:
    def test_it_is_that_of_the_unit_of_work_around(self, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as outer:
            assert current_session() is outer
            with unit_of_work(sessions, writing=False) as inner:
                assert current_session() is inner
            assert current_session() is outer

    def test_outside_it_is_a_runtime_error(self) -> None:
        with pytest.raises(RuntimeError, match="no unit of work is open"):
            current_session()

    def test_another_thread_has_its_own(self, session: Session) -> None:
        errors: list[RuntimeError] = []

        def ask() -> None:
            try:
                current_session()
            except RuntimeError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

        assert len(errors) == 1
        assert current_session() is session


class TestAtTheEnd:
    """Rows that are stored when the unit of work ends, together with those of others."""

    @staticmethod
    def store(session: Session, key: str) -> None:
        row = {"subject": key, "count": 0, "last_failed_at": clock.now()}
        store_at_the_end(session, insert(SignInFailure), row)

    @staticmethod
    def stored(sessions: Sessions) -> set[str]:
        with unit_of_work(sessions, writing=False) as session:
            return set(session.scalars(select(SignInFailure.subject)))

    def test_they_are_stored_where_there_is_nothing_else(self, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            self.store(session, "one")
            self.store(session, "two")
            assert not session.in_transaction()

        assert self.stored(sessions) == {"one", "two"}

    def test_they_are_stored_with_what_else_there_is(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            self.store(session, "one")
            session.add(make_post(title="A post"))

        assert self.stored(sessions) == {"one"}
        assert titles(sessions) == ["A post"]

    def test_an_error_stores_none(self, sessions: Sessions) -> None:
        def fail() -> None:
            with unit_of_work(sessions, writing=True) as session:
                self.store(session, "one")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()

        assert self.stored(sessions) == set()

    def test_a_row_that_fails_takes_what_else_there_is_with_it(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            self.store(session, "one")

        def store_again() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.add(make_post())
                self.store(session, "one")

        with pytest.raises(DBAPIError):
            store_again()

        assert titles(sessions) == []

    def test_many_at_once_are_all_stored(self, sessions: Sessions) -> None:
        def store(number: int) -> None:
            with unit_of_work(sessions, writing=True) as session:
                self.store(session, str(number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(store, range(100)))

        assert self.stored(sessions) == {str(number) for number in range(100)}

    def test_a_database_that_is_locked_is_busy_for_all_who_wait(
        self, sessions: Sessions, settings: Settings
    ) -> None:
        impatient = make_engine(settings.model_copy(update={"database_timeout_seconds": 0.2}))
        others = make_sessions(impatient)
        lock = "SELECT 1" if impatient.dialect.name == "sqlite" else "LOCK TABLE sign_in_failures"

        def store(number: int) -> str:
            try:
                with unit_of_work(others, writing=True) as session:
                    self.store(session, str(number))
            except DatabaseBusy as problem:
                return problem.code
            return "stored"

        with unit_of_work(sessions, writing=True) as holder, ThreadPoolExecutor(4) as pool:
            holder.execute(text(lock))
            outcomes = set(pool.map(store, range(4)))

        impatient.dispose()
        assert outcomes == {"database_busy"}
        assert self.stored(sessions) == set()
