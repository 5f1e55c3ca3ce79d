"""HTTP face of the branches."""

from typing import Unpack

from circdesk.catalog import branches
from circdesk.catalog.branches import JSON
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session


def list_branches(**query: Unpack[PageQuery]) -> Page:
    """List branches."""
    return branches.list_branches(current_session(), query)


def create_branch(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a branch."""
    branch = branches.create_branch(current_session(), body)
    return branch, 201, {"Location": f"/api/branches/{branch['id']}"}


def get_branch(*, branch_id: str) -> JSON:
    """Read one branch."""
    return branches.read_branch(current_session(), branch_id)


def replace_branch(*, branch_id: str, body: JSON) -> JSON:
    """Replace a branch."""
    return branches.replace_branch(current_session(), branch_id, body)


def update_branch(*, branch_id: str, body: JSON) -> JSON:
    """Change a branch."""
    return branches.patch_branch(current_session(), branch_id, body)


def delete_branch(*, branch_id: str) -> None:
    """Delete a branch."""
    branches.delete_branch(current_session(), branch_id)
