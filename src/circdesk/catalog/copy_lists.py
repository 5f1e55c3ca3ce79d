"""Lists of copies: all that match, and those of one book."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from circdesk.catalog.books import find_book_id
from circdesk.catalog.branches import is_branch
from circdesk.catalog.checks import checked_isbn
from circdesk.catalog.copies import find_book, present
from circdesk.catalog.copy_problems import book_key_in
from circdesk.catalog.models import BookISBN, Branch, Copy
from circdesk.contract.requests import NotFound
from circdesk.db.direct import AnySelect
from circdesk.db.pagination import Page, PageQuery, paginate

JSON = dict[str, Any]

_ISBN = "isbn:"
_SORTS = {"created_at": (Copy.created_at,)}


class CopyQuery(PageQuery):
    """What copies can be filtered by; branches and books by id or natural key."""

    status: str | None
    branch: str | None
    book: str | None
    barcode: str | None


class BookCopyQuery(PageQuery):
    """Which book's copies; the book is part of their cursors."""

    book_id: str


def list_copies(session: Session, query: CopyQuery) -> Page:
    """One page of the copies that match; what a filter names need not exist.

    Raises IsbnInvalid and IsbnAmbiguous, and what `paginate` raises.
    """
    found = select(Copy)
    if query["status"] is not None:
        found = found.where(Copy.status == query["status"])
    if query["branch"] is not None:
        branch = select(Branch.id).where(is_branch(query["branch"])).scalar_subquery()
        found = found.where(Copy.branch_id == branch)
    if query["barcode"] is not None:
        found = found.where(Copy.barcode == query["barcode"])
    if query["book"] is None:
        return _page(session, found, query, "list_copies")
    with book_key_in("query", "/book"):
        page = _page_of_book(session, found, query, query["book"], "list_copies")
        if not page.items:
            # Several books may have the ISBN also where none of them has a copy.
            with suppress(NotFound):
                find_book_id(session, query["book"])
    return page


def list_book_copies(session: Session, query: BookCopyQuery) -> Page:
    """One page of the copies of a book.

    Raises NotFound, IsbnInvalid and IsbnAmbiguous, and what `paginate` raises.
    """
    key = query["book_id"]
    page = _page_of_book(session, select(Copy), query, key, "list_book_copies")
    if not page.items:
        find_book(session, key)
    return page


def _page_of_book(
    session: Session, found: AnySelect, query: PageQuery, key: str, operation_id: str
) -> Page:
    """One page of what was found of a book.

    Its ISBN is looked up within the statement that makes the page, because a list costs two
    statements and the other one counts. Whether there is such a book shows only where the page
    has an item: what an empty one means is for the caller to find out.
    """
    if not key.startswith(_ISBN):
        return _page(session, found.where(Copy.book_id == UUID(key)), query, operation_id)
    isbn = checked_isbn(key.removeprefix(_ISBN), "get_book", "path", "book_id", _ISBN)
    holders = select(BookISBN.book_id).where(BookISBN.isbn == isbn)
    number = select(func.count()).select_from(holders.subquery()).scalar_subquery()
    found = found.where(Copy.book_id.in_(holders)).add_columns(number.label("holders"))
    return _page(session, found, query, operation_id, key)


def _page(
    session: Session,
    found: AnySelect,
    query: PageQuery,
    operation_id: str,
    isbn_key: str | None = None,
) -> Page:
    def item(row: Row[*tuple[Any, ...]]) -> JSON:
        if isbn_key is not None and row.holders > 1:
            # It tells which books these are.
            find_book_id(session, isbn_key)
        return present(row[0])

    return paginate(session, found, sorts=_SORTS, query=query, present=item, scope=operation_id)
