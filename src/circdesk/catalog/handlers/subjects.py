"""HTTP face of subjects."""

from typing import Any, Unpack
from uuid import UUID

from circdesk.catalog.names import NameQuery
from circdesk.catalog.subjects import SUBJECTS
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session

JSON = dict[str, Any]


def list_subjects(**query: Unpack[NameQuery]) -> Page:
    """List subjects."""
    return SUBJECTS.list_page(current_session(), query)


def create_subject(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a subject."""
    subject = SUBJECTS.create(current_session(), body)
    return subject, 201, {"Location": f"/api/subjects/{subject['id']}"}


def get_subject(*, subject_id: UUID) -> JSON:
    """Read a subject."""
    return SUBJECTS.read(current_session(), subject_id)


def replace_subject(*, subject_id: UUID, body: JSON) -> JSON:
    """Replace a subject."""
    return SUBJECTS.change(current_session(), subject_id, body)


def update_subject(*, subject_id: UUID, body: JSON) -> JSON:
    """Change a subject."""
    return SUBJECTS.change(current_session(), subject_id, body)


def delete_subject(*, subject_id: UUID) -> None:
    """Delete a subject."""
    SUBJECTS.delete(current_session(), subject_id)
