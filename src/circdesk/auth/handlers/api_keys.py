"""API keys over HTTP."""

from typing import Unpack
from uuid import UUID

from circdesk.auth import api_keys
from circdesk.auth.api_keys import JSON
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session

# What tells a secret is kept by nobody on the way.
_NO_STORE = {"Cache-Control": "no-store"}


def list_api_keys(**query: Unpack[PageQuery]) -> Page:
    """List one's own API keys."""
    return api_keys.list_api_keys(current_session(), query)


def create_api_key(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Make an API key."""
    key = api_keys.create_api_key(current_session(), body)
    return key, 201, _NO_STORE | {"Location": f"/api/api-keys/{key['id']}"}


def get_api_key(*, key_id: UUID) -> JSON:
    """Read one of one's own API keys."""
    return api_keys.read_api_key(current_session(), key_id)


def update_api_key(*, key_id: UUID, body: JSON) -> JSON:
    """Change an API key."""
    return api_keys.patch_api_key(current_session(), key_id, body)


def revoke_api_key(*, key_id: UUID) -> None:
    """Revoke an API key."""
    api_keys.revoke_api_key(current_session(), key_id)


def rotate_api_key(*, key_id: UUID, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Give an API key a new secret."""
    key = api_keys.rotate_api_key(current_session(), key_id, body["overlap_seconds"])
    return key, 201, _NO_STORE | {"Location": f"/api/api-keys/{key_id}"}
