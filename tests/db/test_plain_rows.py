"""Rows past the ORM: what is read of them, and how they are stored, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from circdesk import clock
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.db.plain_rows import Part, Write, is_plain, plain, write_rows
from circdesk.db.rows import engine_of, read_row
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library

_COPY = Part(Copy, "book_id", "status")
_BRANCH = Part(Branch, "code")
_PlainCopy = plain(Copy)


@pytest.fixture
def library(sessions: Sessions) -> Library:
    return Library(sessions)


@pytest.fixture
def book(library: Library) -> UUID:
    return library.book()


@pytest.fixture
def branch(library: Library) -> UUID:
    return library.branch()


@pytest.fixture
def stored(sessions: Sessions) -> Callable[[UUID], Copy]:
    """`stored(copy_id)`: the row as it is stored now."""

    def read(copy_id: UUID) -> Copy:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(Copy, copy_id)

    return read


def new_copy(book: UUID, branch: UUID) -> Copy:
    moment = clock.now()
    return _PlainCopy(
        id=uuid4(), book_id=book, branch_id=branch, status="available", material_type="book",
        loanable=True, created_at=moment, updated_at=moment,
    )  # fmt: skip


class TestParts:
    def test_a_row_has_the_columns_that_were_read(
        self, sessions: Sessions, library: Library, book: UUID, branch: UUID
    ) -> None:
        copy_id = library.copy(book, branch)
        found = select(*_COPY.columns, *_BRANCH.columns, Book.title).join_from(Copy, Book)
        found = found.join(Branch, Branch.id == Copy.branch_id)

        with unit_of_work(sessions, writing=False) as session:
            values = iter(read_row(session, found, {}))
        copy, at, title = _COPY.take(values), _BRANCH.take(values), next(values)

        assert copy is not None
        assert at is not None
        assert (copy.id, copy.book_id, copy.status) == (copy_id, book, "available")
        assert (at.id, title) == (branch, "Book 2" if at.code == "branch-1" else "Book 1")
        assert copy.barcode is None
        assert is_plain(copy)

    def test_a_table_that_was_joined_in_vain_has_no_row(
        self, sessions: Sessions, book: UUID
    ) -> None:
        found = select(Book.id, *_COPY.columns, Book.title).outerjoin(Copy, Copy.book_id == Book.id)

        with unit_of_work(sessions, writing=False) as session:
            values = iter(read_row(session, found, {}))

        assert next(values) == book
        assert _COPY.take(values) is None
        assert next(values).startswith("Book")


class TestWrites:
    def test_a_new_row_is_stored(
        self, sessions: Sessions, stored: Callable[[UUID], Copy], book: UUID, branch: UUID
    ) -> None:
        copy = new_copy(book, branch)
        with unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(copy)])

        found = stored(copy.id)
        assert {name: getattr(found, name) for name in vars(copy)} == vars(copy)
        assert (found.version, found.barcode) == (1, None)

    def test_only_what_is_named_is_changed_and_the_change_is_counted(
        self, sessions: Sessions, stored: Callable[[UUID], Copy], book: UUID, branch: UUID
    ) -> None:
        copy = new_copy(book, branch)
        with unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(copy)])
        copy.status, copy.material_type = "on_loan", "map"
        with unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(copy, ["status"])])

        found = stored(copy.id)
        assert (found.status, found.material_type, found.version) == ("on_loan", "book", 2)

    def test_rows_of_different_shapes_take_one_statement_where_the_database_can(
        self, sessions: Sessions, stored: Callable[[UUID], Copy], book: UUID, branch: UUID,
        count_queries: Any,
    ) -> None:  # fmt: skip
        first, second = new_copy(book, branch), new_copy(book, branch)
        with unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(first)])
        first.status = "lost"
        with count_queries() as statements, unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(first, ["status"]), Write.of(second)])
            expected = 1 if engine_of(session) == "postgresql" else 2

        assert (stored(first.id).status, stored(second.id).status) == ("lost", "available")
        written = [text for text in statements if not text.startswith("BEGIN")]
        assert len(written) == expected, written

    def test_rows_of_one_shape_are_stored_together(
        self, sessions: Sessions, stored: Callable[[UUID], Copy], book: UUID, branch: UUID
    ) -> None:
        copies = [new_copy(book, branch) for _ in range(3)]
        with unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(copy) for copy in copies])

        assert [stored(copy.id).book_id for copy in copies] == [book] * 3

    def test_what_breaks_a_constraint_stores_nothing(
        self, sessions: Sessions, stored: Callable[[UUID], Copy], book: UUID, branch: UUID
    ) -> None:
        copy, homeless = new_copy(book, branch), new_copy(book, uuid4())
        with unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(copy)])
        copy.status = "lost"
        with pytest.raises(IntegrityError), unit_of_work(sessions, writing=True) as session:
            write_rows(session, [Write.of(copy, ["status"]), Write.of(homeless)])

        assert stored(copy.id).status == "available"
