"""HTTP face of the copies, on their own and under their book."""

from typing import Unpack

from circdesk.catalog import copies, copy_lists
from circdesk.catalog.copies import JSON
from circdesk.catalog.copy_lists import BookCopyQuery, CopyQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session


def list_copies(**query: Unpack[CopyQuery]) -> Page:
    """List copies."""
    return copy_lists.list_copies(current_session(), query)


def create_copy(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a copy."""
    copy = copies.create_copy(current_session(), body)
    return copy, 201, {"Location": f"/api/copies/{copy['id']}"}


def list_book_copies(**query: Unpack[BookCopyQuery]) -> Page:
    """List the copies of a book."""
    return copy_lists.list_book_copies(current_session(), query)


def create_book_copy(*, book_id: str, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a copy of a book."""
    copy = copies.create_book_copy(current_session(), book_id, body)
    return copy, 201, {"Location": f"/api/copies/{copy['id']}"}


def get_copy(*, copy_id: str) -> JSON:
    """Read one copy."""
    return copies.read_copy(current_session(), copy_id)


def replace_copy(*, copy_id: str, body: JSON) -> JSON:
    """Replace a copy."""
    return copies.replace_copy(current_session(), copy_id, body)


def update_copy(*, copy_id: str, body: JSON) -> JSON:
    """Change a copy."""
    return copies.patch_copy(current_session(), copy_id, body)


def delete_copy(*, copy_id: str) -> None:
    """Delete a copy."""
    copies.delete_copy(current_session(), copy_id)
