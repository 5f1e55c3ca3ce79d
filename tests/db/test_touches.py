"""Which resources a transaction touches, whichever way it writes, on both databases."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.catalog.models import (
    CATALOG,
    NO_YEAR,
    Author,
    Book,
    BookAuthor,
    BookISBN,
    Branch,
    Copy,
    Subject,
)
from circdesk.db import plain_rows
from circdesk.db import unit_of_work as module
from circdesk.db.errors import OutcomeUnknown
from circdesk.db.generations import MemoryGenerations
from circdesk.db.plain_rows import plain
from circdesk.db.sessions import WritingSession
from circdesk.db.touches import note_whole, touch_whole
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.news.models import Post, PostTag

Touched = list[set[str]]


class Recorded(MemoryGenerations):
    """Generations that remember who was touched together."""

    def __init__(self) -> None:
        super().__init__()
        self.touched: Touched = []

    def touch(self, resources: Iterable[str]) -> None:
        self.touched.append({*resources})


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> Touched:
    """What was told, transaction by transaction."""
    recorded = Recorded()
    monkeypatch.setattr("circdesk.db.touches.generations_of", lambda _engine: recorded)
    return recorded.touched


Write = Callable[[Callable[[Session], Any]], Any]


@pytest.fixture
def write(sessions: Sessions, touched: Touched) -> Write:
    """`write(deed)` does it in a transaction of its own; only what the last one did is told."""

    def write(deed: Callable[[Session], Any]) -> Any:
        touched.clear()
        with unit_of_work(sessions, writing=True) as session:
            return deed(session)

    return write


def book(title: str = "A") -> Book:
    return Book(id=uuid4(), title=title, sort_title=title, sort_year=NO_YEAR, material_type="book")


def branch(code: str = "north") -> Branch:
    return Branch(
        id=uuid4(), code=code, name=code, sort_name=code, time_zone="UTC", opening_hours={},
        closed_days=[],
    )  # fmt: skip


def copy(of: Book, at: Branch) -> Copy:
    place = {"book_id": of.id, "branch_id": at.id}
    return Copy(id=uuid4(), **place, status="available", material_type="book", loanable=True)


class TestFlushes:
    def test_a_new_row_touches_its_table_and_itself(self, write: Write, touched: Touched) -> None:
        new = book()
        write(lambda session: session.add(new))
        assert touched == [{"books", f"books:{new.id}"}]

    def test_a_copy_touches_its_book(self, write: Write, touched: Touched) -> None:
        of, at = book(), branch()
        write(lambda session: session.add_all([of, at]))
        new = copy(of, at)
        write(lambda session: session.add(new))
        assert touched == [{"copies", f"copies:{new.id}", f"books:{of.id}"}]

        def lend(session: Session) -> None:
            session.get_one(Copy, new.id).status = "on_loan"

        write(lend)
        assert touched == [{"copies", f"copies:{new.id}", f"books:{of.id}"}]

        write(lambda session: session.delete(session.get_one(Copy, new.id)))
        assert touched == [{"copies", f"copies:{new.id}", f"books:{of.id}"}]

    def test_a_copy_past_the_orm_touches_the_same(self, write: Write, touched: Touched) -> None:
        of, at = book(), branch()
        write(lambda session: session.add_all([of, at]))
        moment, made = clock.now(), copy(of, at)
        names = ("id", "book_id", "branch_id", "status", "material_type", "loanable")
        columns: dict[str, Any] = {name: getattr(made, name) for name in names}
        new = plain(Copy)(**columns, created_at=moment, updated_at=moment)

        for changed in (None, ["status"]):
            write(partial(plain_rows.write_rows, writes=[plain_rows.Write.of(new, changed)]))
            assert touched == [{"copies", f"copies:{new.id}", f"books:{of.id}"}]

    def test_a_copy_that_goes_to_another_book_touches_both(
        self, write: Write, touched: Touched
    ) -> None:
        of, other, at = book(), book("B"), branch()
        new = copy(of, at)

        def store(session: Session) -> None:
            session.add_all([of, other, at])
            session.flush()
            session.add(new)

        write(store)

        def move(session: Session) -> None:
            session.get_one(Copy, new.id).book_id = other.id

        write(move)
        assert {f"books:{of.id}", f"books:{other.id}"} < touched[0]

    @pytest.mark.parametrize(("model", "table"), [(Author, "authors"), (Subject, "subjects")])
    def test_only_a_name_that_changes_touches_books(
        self, write: Write, touched: Touched, model: Any, table: str
    ) -> None:
        new = model(id=uuid4(), name="A", sort_name="a")
        write(lambda session: session.add(new))
        assert touched == [{table}]

        def rename(session: Session) -> None:
            session.get_one(model, new.id).name = "Á"

        write(rename)
        assert touched == [{table, "books", "books:*"}]

    def test_a_tag_touches_its_post(self, write: Write, touched: Touched) -> None:
        post = Post(id=uuid4(), title="A", sort_title="a", body="", author="")
        post.published_at = clock.now()
        write(lambda session: session.add(post))

        def tag(session: Session) -> None:
            session.get_one(Post, post.id).tags = [PostTag(name="new", position=0)]

        write(tag)
        assert touched == [{"posts", f"posts:{post.id}"}]

    def test_what_only_seems_to_change_touches_nothing(
        self, write: Write, touched: Touched
    ) -> None:
        new = book()
        write(lambda session: session.add(new))

        def set_again(session: Session) -> None:
            session.get_one(Book, new.id).title = new.title

        write(set_again)
        assert touched == []


class TestStatements:
    @pytest.fixture
    def stored(self, write: Write) -> UUID:
        new = book()
        write(lambda session: session.add(new))
        return new.id

    def test_rows_that_are_inserted_touch_what_they_name(
        self, write: Write, touched: Touched, stored: UUID
    ) -> None:
        rows = [{"book_id": stored, "isbn": "9780441478125", "position": 0}]
        write(lambda session: session.execute(insert(BookISBN), rows))
        assert touched == [{"books", f"books:{stored}"}]

    def test_values_in_the_statement_are_not_looked_for(
        self, write: Write, touched: Touched, stored: UUID
    ) -> None:
        values = {"book_id": stored, "isbn": "9780441478125", "position": 0}
        write(lambda session: session.execute(insert(BookISBN).values(**values)))
        assert touched == [{"books", "books:*"}]

    def test_a_deletion_touches_the_rows_that_it_names(
        self, write: Write, touched: Touched, stored: UUID
    ) -> None:
        members = delete(BookAuthor).where(BookAuthor.book_id == stored)
        write(lambda session: session.execute(members))
        assert touched == [{"books", f"books:{stored}", "authors"}]
        write(lambda session: session.execute(delete(Book).where(Book.id == stored)))
        assert touched == [{"books", f"books:{stored}", "authors", "subjects"}]

    @pytest.mark.parametrize(
        "condition", [Copy.status == "lost", Copy.id.in_([uuid4()]), Copy.id != uuid4()]
    )
    def test_where_it_names_none_every_row_is_touched(
        self, write: Write, touched: Touched, condition: Any
    ) -> None:
        write(lambda session: session.execute(update(Copy).where(condition).values(status="lost")))
        assert touched == [{"copies", "copies:*", "books:*"}]

    def test_what_nobody_keeps_touches_nothing(self, write: Write, touched: Touched) -> None:
        write(lambda session: session.execute(update(User).values(name="Nobody")))
        assert touched == []


class TestTransactions:
    def test_it_is_told_after_the_commit_and_once(
        self, sessions: Sessions, touched: Touched
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(book())
            session.flush()
            with session.begin_nested():
                session.add(book("B"))
            assert touched == []
        assert len(touched) == 1
        assert len(touched[0]) == 3

    def test_what_is_rolled_back_is_not_told(self, sessions: Sessions, touched: Touched) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.add(book())
            session.flush()
            session.rollback()
        assert touched == []

    def test_what_breaks_is_not_told(self, sessions: Sessions, touched: Touched) -> None:
        def write_and_break() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.add(book())
                session.flush()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_and_break()
        assert touched == []

    def test_a_commit_that_may_have_been_carried_out_is_told(
        self, sessions: Sessions, touched: Touched, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lose(_session: Session) -> None:
            raise DBAPIError("COMMIT", None, Exception("gone"))

        unknown = OutcomeUnknown("It is not known.")
        monkeypatch.setattr(module, "as_unknown_outcome", lambda _error: unknown)
        monkeypatch.setattr(WritingSession, "commit", lose)

        def write() -> None:
            with unit_of_work(sessions, writing=True) as session:
                session.add(book())

        with pytest.raises(OutcomeUnknown):
            write()
        assert [len(one) for one in touched] == [2]

    def test_what_is_written_by_its_connection_is_told_where_somebody_says_so(
        self, sessions: Sessions, touched: Touched
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.connection()
            note_whole(session, Author)
        touch_whole(session.get_bind().engine, *CATALOG)
        assert touched == [
            {"authors", "books", "books:*"},
            {"books", "books:*", "copies", "copies:*", "authors", "subjects", "branches"},
        ]
