"""HTTP face of the accounts."""

from typing import Unpack

import flask

from circdesk.accounts import anonymising, exports, me, registrations, users
from circdesk.accounts.capabilities import list_capabilities
from circdesk.accounts.users import JSON, UserQuery
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller, current_user_id, current_visit


def list_users(**query: Unpack[UserQuery]) -> Page:
    """List users."""
    return users.list_users(current_session(), query)


def create_user(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Create a user."""
    user = users.create_user(current_session(), current_caller(), body)
    return user, 201, {"Location": f"/api/users/{user['id']}"}


def get_user(*, user_id: str) -> JSON:
    """Read one user."""
    return users.read_user(current_session(), current_caller(), user_id)


def update_user(*, user_id: str, body: JSON) -> JSON:
    """Change a user."""
    return users.patch_user(current_session(), current_caller(), user_id, body)


def delete_user(*, user_id: str) -> None:
    """Delete a user."""
    anonymising.delete_user(current_session(), current_caller(), user_id)


def export_user(*, user_id: str) -> JSON:
    """Tell all that is held on a user."""
    return exports.export_user(current_session(), current_caller(), user_id)


def get_my_account() -> JSON:
    """Read the caller's own account."""
    return me.read_account(current_session(), current_caller(), current_user_id())


def update_my_account(*, body: JSON) -> JSON:
    """Change the caller's own account."""
    return me.patch_account(current_session(), current_caller(), current_user_id(), body)


def get_my_capabilities() -> JSON:
    """Tell which operations the caller may call."""
    operations = flask.current_app.extensions["circdesk.contract"].operations.values()
    return {"items": list_capabilities(operations, current_visit().caller)}


def register_user(*, body: JSON) -> tuple[None, int]:
    """Let somebody become a member."""
    extensions = flask.current_app.extensions
    registrations.raise_if_closed(extensions["circdesk.settings"])
    registrations.register(current_session(), extensions["circdesk.mail_hook"], body)
    return None, 202
