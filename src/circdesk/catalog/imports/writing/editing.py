"""Books that are there, as an import finds them, and what it may change of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select

from circdesk.catalog.imports.models import SourceLink
from circdesk.catalog.imports.reading.records import SourceBook
from circdesk.catalog.imports.writing.bulk import among
from circdesk.catalog.imports.writing.names import id_hex
from circdesk.catalog.imports.writing.planning import Draft, settle
from circdesk.catalog.models import Author, Book, BookAuthor, BookISBN, BookSubject, Subject

AnyRow = Row[*tuple[Any, ...]]
_Lists = dict[str, list[str]]


def settled(
    connection: Connection, drafts: Sequence[Draft], *, overwrite: bool
) -> list[tuple[str, SourceBook]]:
    """The new state of books that are there, by id: what a person has set stays as it is.

    A book that several sources feed is added to, as each of them knows only its own part.
    """
    ids = sorted(draft.book for draft in drafts)
    if not ids:
        return []
    by_book = {draft.book: draft for draft in drafts}
    shared = _fed_by_several(connection, ids)
    books = []
    for book, old, edited in _books(connection, ids):
        draft = by_book[book]
        kept = () if overwrite else edited
        joined = draft.joined or book in shared
        books.append((book, settle(old, draft.content, joined=joined, kept=kept)))
    return books


def _books(
    connection: Connection, ids: Sequence[str]
) -> Iterable[tuple[str, SourceBook, list[str]]]:
    # The order in which rows are locked is the same for all who import.
    query = select(Book.__table__).where(among(connection, Book.id, ids)).order_by(Book.id)
    rows = connection.execute(query.with_for_update()).all()
    isbns = _isbns(connection, ids)
    authors = _names(connection, ids, BookAuthor, Author)
    subjects = _names(connection, ids, BookSubject, Subject)
    for row in rows:
        book = id_hex(row.id)
        lists = (tuple(part.get(book, ())) for part in (authors, isbns, subjects))
        yield book, _content(row, *lists), row.edited_fields


def _content(
    row: AnyRow, authors: tuple[str, ...], isbns: tuple[str, ...], subjects: tuple[str, ...]
) -> SourceBook:
    return SourceBook(
        title=row.title,
        subtitle=row.subtitle,
        authors=authors,
        isbns=isbns,
        publisher=row.publisher,
        year=row.year,
        language=row.language,
        subjects=subjects,
        summary=row.summary,
        material_type=row.material_type,
        edition=row.edition,
    )


def _isbns(connection: Connection, ids: Sequence[str]) -> _Lists:
    query = select(BookISBN.book_id, BookISBN.isbn).where(among(connection, BookISBN.book_id, ids))
    return _grouped(connection.execute(query.order_by(BookISBN.book_id, BookISBN.position)))


def _names(
    connection: Connection,
    ids: Sequence[str],
    member: type[BookAuthor] | type[BookSubject],
    named: type[Author] | type[Subject],
) -> _Lists:
    query = (
        select(member.book_id, named.name)
        .join(named)
        .where(among(connection, member.book_id, ids))
        .order_by(member.book_id, member.position)
    )
    return _grouped(connection.execute(query))


def _grouped(rows: Iterable[AnyRow]) -> _Lists:
    lists: _Lists = {}
    for row in rows:
        lists.setdefault(id_hex(row[0]), []).append(row[1])
    return lists


def _fed_by_several(connection: Connection, ids: Sequence[str]) -> set[str]:
    query = (
        select(SourceLink.book_id)
        .where(among(connection, SourceLink.book_id, ids))
        .group_by(SourceLink.book_id)
        .having(func.count() > 1)
    )
    return {id_hex(book) for book in connection.execute(query).scalars()}
