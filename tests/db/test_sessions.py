"""Sessions that are made whole late do what whole ones do, whenever that is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import bindparam, event, func, literal_column, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from circdesk.db import direct, rows
from circdesk.db.sessions import LateSession, WritingSession
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.news.models import Post

MakePost = Callable[..., Post]

TITLES = select(Post.title.label("title")).order_by(Post.id)
RENAME: Any = update(Post.__table__).values(title=bindparam("new"))  # type: ignore[arg-type]  # It is a table.


@pytest.fixture(autouse=True)
def a_post(sessions: Sessions, make_post: MakePost) -> None:
    with unit_of_work(sessions, writing=True) as session:
        session.add(make_post(title="Old"))


def rename(session: Session, title: str) -> None:
    """Write past the ORM."""
    direct.execute(session.connection(), RENAME, {"new": title})


def titles(session: Session) -> list[str]:
    """What is read past the ORM."""
    return [row.title for row in rows.read_rows(session, TITLES)]


def stored(sessions: Sessions) -> list[str]:
    with unit_of_work(sessions, writing=False) as session:
        return titles(session)


def is_whole(session: Session) -> bool:
    assert isinstance(session, LateSession)
    return session.is_whole


@contextmanager
def failing_work(
    sessions: Sessions, error: type[Exception] = ZeroDivisionError
) -> Iterator[Session]:
    """A writing unit of work that fails, with this error if not in the end."""
    try:
        with unit_of_work(sessions, writing=True) as session:
            yield session
            raise ZeroDivisionError
    except error:
        return


class TestWriting:
    def test_what_is_written_past_the_orm_is_committed_without_a_whole_one(
        self, sessions: Sessions
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            seen = titles(session)
            others = stored(sessions)

        assert not is_whole(session)
        assert (seen, others, stored(sessions)) == (["New"], ["Old"], ["New"])

    def test_an_error_takes_it_back(self, sessions: Sessions) -> None:
        with failing_work(sessions) as session:
            rename(session, "New")

        assert stored(sessions) == ["Old"]

    def test_a_refusal_of_the_database_takes_it_back(self, sessions: Sessions) -> None:
        nothing: Any = select(literal_column("nothing"))
        with failing_work(sessions, DBAPIError) as session:
            rename(session, "New")
            rows.read_rows(session, nothing)

        assert stored(sessions) == ["Old"]

    def test_what_becomes_whole_goes_on_in_the_same_transaction(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            session.add(make_post(title="Another"))
            whole = is_whole(session)
            seen = sorted(titles(session))
            others = stored(sessions)

        assert whole
        assert (seen, others) == (["Another", "New"], ["Old"])
        assert sorted(stored(sessions)) == ["Another", "New"]

    def test_what_becomes_whole_and_asks_nothing_is_committed(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            assert make_post() not in session

        assert is_whole(session)
        assert stored(sessions) == ["New"]

    def test_an_error_takes_back_what_was_done_before_and_after_it_was_whole(
        self, sessions: Sessions, make_post: MakePost
    ) -> None:
        with failing_work(sessions) as session:
            rename(session, "New")
            session.add(make_post(title="Another"))
            session.flush()

        assert stored(sessions) == ["Old"]

    def test_a_savepoint_takes_back_no_more_than_what_came_after_it(
        self, sessions: Sessions
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            with suppress(ZeroDivisionError), session.begin_nested():
                rename(session, "Newer")
                raise ZeroDivisionError
            seen = titles(session)

        assert (seen, stored(sessions)) == (["New"], ["New"])

    def test_what_is_committed_early_is_followed_by_another_transaction(
        self, sessions: Sessions
    ) -> None:
        with failing_work(sessions) as session:
            rename(session, "New")
            session.commit()
            assert not session.in_transaction()
            rename(session, "Newer")

        assert stored(sessions) == ["New"]

    def test_what_is_rolled_back_is_followed_by_another_transaction(
        self, sessions: Sessions
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            session.rollback()
            seen = titles(session)
            rename(session, "Newer")
            others = stored(sessions)

        assert (seen, others, stored(sessions)) == (["Old"], ["Old"], ["Newer"])

    def test_its_connection_is_free_again(self, sessions: Sessions, make_post: MakePost) -> None:
        with unit_of_work(sessions, writing=False) as session:
            pool: Any = session.connection().engine.pool
        before = pool.checkedout()
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "Newer")
            session.add(make_post())

        assert pool.checkedout() == before


class TestListeners:
    def test_who_listens_to_a_session_hears_of_its_commit(self, sessions: Sessions) -> None:
        heard: list[str] = []
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            event.listen(session, "after_commit", lambda _: heard.append("committed"))
            before = [*heard]

        assert (before, heard) == ([], ["committed"])
        assert not is_whole(session)

    def test_who_begins_to_listen_in_its_midst_is_in_the_same_transaction(
        self, sessions: Sessions
    ) -> None:
        heard: list[str] = []
        with unit_of_work(sessions, writing=True) as session:
            rename(session, "New")
            event.listen(session, "after_commit", lambda _: heard.append("committed"))
            seen = titles(session)
            rename(session, "Newer")
            others = stored(sessions)

        assert (seen, others, stored(sessions)) == (["New"], ["Old"], ["Newer"])
        assert heard == ["committed"]

    def test_who_listens_to_its_beginning_hears_of_it(self, sessions: Sessions) -> None:
        heard: list[Any] = []
        with unit_of_work(sessions, writing=True) as session:
            event.listen(session, "after_begin", lambda *told: heard.append(told))
            rename(session, "New")
            connection = session.connection()

        assert [(told[0], told[2]) for told in heard] == [(session, connection)]
        assert stored(sessions) == ["New"]

    def test_a_transaction_that_was_rolled_back_is_told_to_nobody(self, sessions: Sessions) -> None:
        heard: list[str] = []
        with failing_work(sessions) as session:
            rename(session, "New")
            event.listen(session, "after_commit", lambda _: heard.append("committed"))

        assert heard == []


class TestBeforeItIsWhole:
    def test_it_has_nothing_to_store(self, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.flush()
            state = ([*session.new], session.in_transaction(), session.in_nested_transaction())

        assert state == ([], False, False)
        assert not is_whole(session)

    def test_what_no_session_has_it_has_not_either(self, sessions: Sessions) -> None:
        with unit_of_work(sessions, writing=True) as session:
            assert not hasattr(session, "nothing")

    @pytest.mark.parametrize("writing", [True, False])
    def test_it_becomes_whole_for_an_entity(self, sessions: Sessions, *, writing: bool) -> None:
        with unit_of_work(sessions, writing=writing) as session:
            count = session.scalar(select(func.count()).select_from(Post))
            post = session.scalars(select(Post)).one()

        assert is_whole(session)
        assert (count, post.title) == (1, "Old")
        assert isinstance(session, WritingSession) is writing
