"""HTTP face of books."""

from typing import Any, Unpack

from circdesk.catalog import book_lists, books, facets
from circdesk.catalog.book_filters import BookFilters, BookQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session

JSON = dict[str, Any]


def list_books(**query: Unpack[BookQuery]) -> Page:
    """Search books."""
    return book_lists.list_books(current_session(), query)


def get_book_facets(**filters: Unpack[BookFilters]) -> JSON:
    """Count books by facet."""
    return facets.count_facets(current_session(), filters)


def create_book(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a book."""
    book = books.create_book(current_session(), body)
    return book, 201, {"Location": f"/api/books/{book['id']}"}


def get_book(*, book_id: str) -> JSON:
    """Read a book."""
    return books.read_book(current_session(), book_id)


def replace_book(*, book_id: str, body: JSON) -> JSON:
    """Replace a book."""
    return books.replace_book(current_session(), book_id, body)


def update_book(*, book_id: str, body: JSON) -> JSON:
    """Change a book."""
    return books.patch_book(current_session(), book_id, body)


def delete_book(*, book_id: str) -> None:
    """Delete a book."""
    books.delete_book(current_session(), book_id)
