"""What holds are found by: the keys that callers use, and what callers may reach at all."""

from uuid import UUID

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import InstrumentedAttribute

from circdesk.catalog.checks import checked_isbn
from circdesk.catalog.models import Book, BookISBN
from circdesk.visits import Caller

_ISBN = "isbn:"


def is_book(key: str | UUID) -> ColumnElement[bool]:
    """The condition for the book with an id, or for those with the ISBN behind `isbn:`.

    Raises IsbnInvalid, which points to the path.
    """
    if isinstance(key, str) and key.startswith(_ISBN):
        isbn = checked_isbn(key.removeprefix(_ISBN), "get_book", "path", "book_id", _ISBN)
        return Book.id.in_(select(BookISBN.book_id).where(BookISBN.isbn == isbn))
    return Book.id == UUID(str(key))


def is_open_to(
    caller: Caller | None,
    scope: str,
    user_id: InstrumentedAttribute[UUID] | InstrumentedAttribute[UUID | None],
) -> ColumnElement[bool]:
    """The condition for what a caller may reach: all with the scope, else what is the own.

    None is the service itself.
    """
    return true() if caller is None or caller.may(scope) else user_id == caller.user_id
