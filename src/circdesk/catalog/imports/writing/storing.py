"""Writes what a batch amounts to: few statements, whatever the number of records."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, delete, select
from uuid_utils import uuid7

from circdesk.catalog.imports.models import SourceLink
from circdesk.catalog.imports.reading.records import SourceBook
from circdesk.catalog.imports.writing.bulk import among, insert_rows, update_rows
from circdesk.catalog.imports.writing.copying import CopyPlan
from circdesk.catalog.imports.writing.matching import Key, Link
from circdesk.catalog.imports.writing.names import NameIds, id_hex
from circdesk.catalog.imports.writing.planning import Draft
from circdesk.catalog.models import (
    NO_YEAR,
    Author,
    Book,
    BookAuthor,
    BookISBN,
    BookSubject,
    BookText,
    Branch,
    Copy,
    Subject,
)
from circdesk.catalog.search import text_row
from circdesk.db.text import sort_key

_FACTS = (
    "title",
    "sort_title",
    "sort_year",
    "subtitle",
    "publisher",
    "year",
    "language",
    "summary",
    "material_type",
    "edition",
    "updated_at",
)
_TEXTS = ("title", "people", "subjects", "rest", "variants")
_COPY = ("branch_id", "shelf_mark", "material_type", "loanable", "updated_at")


class Store:
    """Writes the books of one import after the other, remembering the names it has met."""

    def __init__(self) -> None:
        self._authors = NameIds(Author)
        self._subjects = NameIds(Subject)

    def keep(self) -> None:
        """Remember what the batch found, as it is committed."""
        self._authors.keep()
        self._subjects.keep()

    def forget(self) -> None:
        """Know nothing: the batch failed, perhaps because what was known has changed."""
        self._authors.forget()
        self._subjects.forget()

    def write_new(self, connection: Connection, drafts: Iterable[Draft], now: str) -> None:
        """Store books that were not there before."""
        books = [(draft.book, draft.content) for draft in drafts]
        rows = [(*_facts(content, now), "[]", now, book) for book, content in books]
        insert_rows(connection, Book, (*_FACTS, "edited_fields", "created_at", "id"), rows)
        texts = [(*_texts(content), book) for book, content in books]
        insert_rows(connection, BookText, (*_TEXTS, "book_id"), texts)
        self._write_lists(connection, books, now)

    def write_changed(
        self, connection: Connection, books: Sequence[tuple[str, SourceBook]], now: str
    ) -> None:
        """Store the new state of books that are there."""
        rows = [(*_facts(content, now), book) for book, content in books]
        update_rows(connection, Book, (*_FACTS, "id"), rows)
        texts = [(*_texts(content), book) for book, content in books]
        update_rows(connection, BookText, (*_TEXTS, "book_id"), texts)
        ids = [book for book, _ in books]
        for table in (BookISBN, BookAuthor, BookSubject):
            connection.execute(delete(table).where(among(connection, table.book_id, ids)))
        self._write_lists(connection, books, now)

    def _write_lists(
        self, connection: Connection, books: Sequence[tuple[str, SourceBook]], now: str
    ) -> None:
        isbns = [
            (book, isbn, place)
            for book, content in books
            for place, isbn in enumerate(content.isbns)
        ]
        insert_rows(connection, BookISBN, ("book_id", "isbn", "position"), isbns)
        names = {name: None for _, content in books for name in content.authors}
        ids = self._authors.resolve(connection, names, now)
        rows = [row for book, content in books for row in _members(book, content.authors, ids)]
        insert_rows(connection, BookAuthor, ("book_id", "author_id", "position"), rows)
        names = {name: None for _, content in books for name in content.subjects}
        ids = self._subjects.resolve(connection, names, now)
        rows = [row for book, content in books for row in _members(book, content.subjects, ids)]
        insert_rows(connection, BookSubject, ("book_id", "subject_id", "position"), rows)


def write_links(connection: Connection, links: dict[Key, Link], now: str) -> None:
    """Remember which records fed which books, in which state."""
    new = [
        (uuid7().hex, agency or "", None if agency is None else number, link.content_hash,
         link.book, now, now)
        for (agency, number), link in links.items()
        if link.id is None
    ]  # fmt: skip
    columns = ("id", "agency", "control_number", "content_hash", "book_id", "created_at")
    insert_rows(connection, SourceLink, (*columns, "updated_at"), new)
    changed = [(link.content_hash, now, link.id) for link in links.values() if link.id]
    update_rows(connection, SourceLink, ("content_hash", "updated_at", "id"), sorted(changed))


def write_copies(connection: Connection, copies: CopyPlan, now: str) -> None:
    """Store branches that were unknown, new copies, and changes to copies."""
    if copies.branches:
        _write_branches(connection, copies.branches, now)
    planned = [*copies.new, *copies.changed]
    if not planned:
        return
    ids = _branch_ids(connection, {copy.branch for copy in planned})
    new = [
        (uuid7().hex, copy.book, copy.barcode, "available", now,
         ids[copy.branch], copy.shelf_mark, copy.material_type, copy.loanable, now)
        for copy in copies.new
    ]  # fmt: skip
    columns = ("id", "book_id", "barcode", "status", "created_at", *_COPY)
    insert_rows(connection, Copy, columns, new)
    changed = [
        (ids[copy.branch], copy.shelf_mark, copy.material_type, copy.loanable, now, copy.id)
        for copy in sorted(copies.changed, key=lambda copy: copy.id or "")
    ]
    update_rows(connection, Copy, (*_COPY, "id"), changed)


def _write_branches(connection: Connection, branches: dict[str, str], now: str) -> None:
    """Create branches that are closed until somebody says when they open."""
    columns = ("id", "code", "name", "sort_name", "time_zone", "opening_hours", "closed_days")
    rows = [
        (uuid7().hex, code, name, sort_key(name), "UTC", "{}", "[]", now, now)
        for code, name in sorted(branches.items())
    ]
    insert_rows(connection, Branch, (*columns, "created_at", "updated_at"), rows, or_ignore=True)


def _branch_ids(connection: Connection, codes: Iterable[str]) -> dict[str, str]:
    query = select(Branch.code, Branch.id).where(among(connection, Branch.code, list(codes)))
    return {code: id_hex(identity) for code, identity in connection.execute(query)}


def _facts(content: SourceBook, now: str) -> tuple[Any, ...]:
    """The values of `_FACTS`."""
    return (
        content.title,
        sort_key(content.title),
        NO_YEAR if content.year is None else content.year,
        content.subtitle,
        content.publisher,
        content.year,
        content.language,
        content.summary,
        content.material_type,
        content.edition,
        now,
    )


def _texts(content: SourceBook) -> tuple[str, ...]:
    """The values of `_TEXTS`."""
    row = text_row(
        content.title,
        content.subtitle,
        content.authors,
        content.subjects,
        (content.publisher, content.edition, *content.isbns, content.summary),
        content.variants,
    )
    return tuple(row[name] for name in _TEXTS)


def _members(
    book: str, names: Sequence[str], ids: dict[str, str]
) -> Iterator[tuple[str, str, int]]:
    """Authors or subjects of a book in their order; names that fold alike are there once."""
    distinct = dict.fromkeys(ids[name] for name in names)
    return ((book, identity, place) for place, identity in enumerate(distinct))
