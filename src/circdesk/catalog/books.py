"""What can be done with one book."""

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Row, bindparam, delete, exists, func, select
from sqlalchemy.orm import Session

from circdesk import clock
from circdesk.catalog import book_contents, book_rows
from circdesk.catalog.book_contents import FIELDS, Call
from circdesk.catalog.checks import checked_isbn, suggestion
from circdesk.catalog.models import Book, BookISBN, Copy
from circdesk.circulation.models import Hold
from circdesk.contract.problems import Problem, fault
from circdesk.contract.requests import NotFound
from circdesk.db.direct import AnySelect
from circdesk.db.errors import raises_on
from circdesk.db.rows import engine_of, read_rows
from circdesk.db.versions import raise_if_modified, show_version

JSON = dict[str, Any]

_KEY = "isbn:"
_BOOKS_NAMED = 10
_COPIES_NAMED = 20


class IsbnAmbiguous(Problem):
    """Several books have the ISBN."""

    code: ClassVar[str] = "isbn_ambiguous"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Several books have this ISBN."
    advice: ClassVar[str] = "Choose one of the books in `details` and give its id instead."


class BookInUse(Problem):
    """The book has copies."""

    code: ClassVar[str] = "book_in_use"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "The book has copies."
    advice: ClassVar[str] = "Delete its copies first; `details` names them."


class BookHeld(Problem):
    """People wait for the book, although it has no copies."""

    code: ClassVar[str] = "book_held"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "People wait for this book."
    advice: ClassVar[str] = "Cancel its holds first; the call in `suggestions` lists them."


def create_book(session: Session, content: JSON) -> JSON:
    """Add a book to the catalogue. Raises BookInvalid."""
    given = [name for name in FIELDS if content.get(name) not in (None, [])]
    now = clock.now()
    book = Book(edited_fields=given, created_at=now, updated_at=now)
    book_contents.store(session, book, Call("create_book", {}, content), now)
    return _read(session, book.id)


def read_book(session: Session, key: str) -> JSON:
    """One book, by its id or `isbn:` and an ISBN.

    Raises NotFound, IsbnInvalid and IsbnAmbiguous.
    """
    return _read(session, find_book_id(session, key))


def replace_book(session: Session, key: str, content: JSON) -> JSON:
    """Replace everything that a caller can set.

    Raises NotFound, PreconditionFailed, IsbnInvalid, IsbnAmbiguous and BookInvalid.
    """
    return _change(session, key, content, "replace_book")


def patch_book(session: Session, key: str, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396): what it does not name stays.

    Raises NotFound, PreconditionFailed, IsbnInvalid, IsbnAmbiguous and BookInvalid.
    """
    return _change(session, key, changes, "update_book")


def delete_book(session: Session, key: str) -> None:
    """Delete a book without copies; its authors and subjects stay.

    Raises NotFound, PreconditionFailed, IsbnInvalid, IsbnAmbiguous, BookInUse and BookHeld.
    """
    book = _locked(session, find_book_id(session, key))
    raise_if_modified(session, book)
    if count := session.scalar(select(func.count()).where(Copy.book_id == book.id)):
        raise _in_use(book, count, _copies_of(session, book))
    _raise_if_held(session, book)
    # A copy may come in from another transaction in the meantime.
    with raises_on("fk_copies_book_id_books", _in_use(book)):
        session.execute(delete(Book).where(Book.id == book.id))


def find_book_id(session: Session, key: str | UUID) -> UUID:
    """The id that a caller means with a book's key: the id itself, or `isbn:` and an ISBN.

    Whether a book has an id that is given as such remains to be seen.

    Raises:
        NotFound: No book has the ISBN.
        IsbnInvalid: It is no ISBN; the right one is suggested where only its last digit is wrong.
        IsbnAmbiguous: Several books have it.
    """
    if isinstance(key, UUID):
        return key
    if not key.startswith(_KEY):
        return UUID(key)
    isbn = checked_isbn(key.removeprefix(_KEY), "get_book", "path", "book_id", _KEY)
    held = select(BookISBN.book_id).where(BookISBN.isbn == isbn)
    books = session.execute(
        select(Book.id, Book.title, Book.year).where(Book.id.in_(held)).order_by(Book.id)
    ).all()
    if len(books) > 1:
        raise _ambiguous(isbn, books)
    if not books:
        raise NotFound(f"No book has the ISBN {isbn}.")
    identity: UUID = books[0].id
    return identity


def _read(session: Session, identity: UUID) -> JSON:
    shown = _by_id(engine_of(session))
    rows = read_rows(session, shown, {"book_id": identity})
    if not rows:
        raise _not_found(identity)
    (row,) = rows
    show_version(session, row)
    return book_rows.present(row)


@cache
def _by_id(engine: str) -> AnySelect:
    return book_rows.shown_books(engine).where(Book.id == bindparam("book_id"))


def _change(session: Session, key: str, body: JSON, operation_id: str) -> JSON:
    book = _locked(session, find_book_id(session, key))
    raise_if_modified(session, book)
    book.edited_fields = [name for name in FIELDS if name in body or name in book.edited_fields]
    if body:
        call = Call(operation_id, {"book_id": str(key)}, body)
        book_contents.store(session, book, call, clock.now())
    return _read(session, book.id)


def _locked(session: Session, identity: UUID) -> Book:
    # Whoever else changes the book waits here, before lists are deleted and written anew.
    book = session.get(Book, identity, with_for_update={"key_share": True})
    if book is None:
        raise _not_found(identity)
    return book


def _not_found(identity: UUID) -> NotFound:
    return NotFound(f"No book has the id {identity}.")


def _ambiguous(isbn: str, books: Sequence[Row[UUID, str, int | None]]) -> IsbnAmbiguous:
    message = f"{len(books)} books have the ISBN {isbn}."
    details = []
    calls = []
    for book in books[:_BOOKS_NAMED]:
        named = f"{book.title[:400]!r}" + (f" of {book.year}" if book.year is not None else "")
        details.append(
            fault("path", "/book_id", "ambiguous", f"{named} has this ISBN", str(book.id))
        )
        calls.append(suggestion("get_book", {"book_id": str(book.id)}, reason=f"This is {named}."))
    return IsbnAmbiguous(message, details=details, suggestions=calls)


def _copies_of(session: Session, book: Book) -> list[str]:
    query = select(Copy.id, Copy.barcode).where(Copy.book_id == book.id)
    copies = session.execute(query.order_by(Copy.id).limit(_COPIES_NAMED))
    return [f"barcode:{copy.barcode}" if copy.barcode else str(copy.id) for copy in copies]


def _raise_if_held(session: Session, book: Book) -> None:
    waiting = exists().where(Hold.book_id == book.id, Hold.ended_at.is_(None))
    if session.scalar(select(waiting)):
        message = "Somebody has a hold on the book."
        reason = "These wait for the book."
        raise BookHeld(
            message,
            details=[fault("path", "/book_id", "held", message)],
            suggestions=[suggestion("list_book_holds", {"book_id": str(book.id)}, reason=reason)],
        )


def _in_use(book: Book, count: int = 0, copies: Sequence[str] = ()) -> BookInUse:
    """The problem of a book with so many copies, some of which are named."""
    return BookInUse(
        f"The book has {count:,} copies." if count > 1 else "The book has a copy.",
        details=[
            fault("path", "/book_id", "in_use", f"the copy {key} is of this book", key)
            for key in copies
        ],
        suggestions=[
            suggestion(
                "list_book_copies",
                {"book_id": str(book.id)},
                reason="These are the copies of the book.",
            )
        ],
    )
