"""HTTP face of authors."""

from typing import Any, Unpack
from uuid import UUID

from circdesk.catalog.authors import AUTHORS
from circdesk.catalog.book_lists import AuthorBooksQuery, list_books_by
from circdesk.catalog.names import NameQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session

JSON = dict[str, Any]


def list_authors(**query: Unpack[NameQuery]) -> Page:
    """List authors."""
    return AUTHORS.list_page(current_session(), query)


def create_author(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create an author."""
    author = AUTHORS.create(current_session(), body)
    return author, 201, {"Location": f"/api/authors/{author['id']}"}


def get_author(*, author_id: UUID) -> JSON:
    """Read an author."""
    return AUTHORS.read(current_session(), author_id)


def replace_author(*, author_id: UUID, body: JSON) -> JSON:
    """Replace an author."""
    return AUTHORS.change(current_session(), author_id, body)


def update_author(*, author_id: UUID, body: JSON) -> JSON:
    """Change an author."""
    return AUTHORS.change(current_session(), author_id, body)


def delete_author(*, author_id: UUID) -> None:
    """Delete an author."""
    AUTHORS.delete(current_session(), author_id)


def list_author_books(**query: Unpack[AuthorBooksQuery]) -> Page:
    """List an author's books."""
    return list_books_by(current_session(), query)
