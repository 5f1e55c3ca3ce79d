"""HTTP face of OAuth clients."""

from typing import Unpack
from uuid import UUID

from circdesk.auth import clients
from circdesk.auth.clients import JSON
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session

# What holds a secret is stored nowhere on its way.
_NO_STORE = {"Cache-Control": "no-store"}


def list_clients(**query: Unpack[PageQuery]) -> Page:
    """List clients."""
    return clients.list_clients(current_session(), query)


def create_client(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Register a client."""
    client = clients.create_client(current_session(), body)
    return client, 201, {"Location": f"/api/admin/clients/{client['id']}"} | _NO_STORE


def get_client(*, client_id: UUID) -> JSON:
    """Read one client."""
    return clients.read_client(current_session(), client_id)


def update_client(*, client_id: UUID, body: JSON) -> JSON:
    """Change a client."""
    return clients.patch_client(current_session(), client_id, body)


def delete_client(*, client_id: UUID) -> None:
    """Delete a client."""
    clients.delete_client(current_session(), client_id)


def rotate_client_secret(*, client_id: UUID) -> tuple[JSON, int, dict[str, str]]:
    """Replace the secret of a client."""
    secret = clients.rotate_client_secret(current_session(), client_id)
    return secret, 201, {"Location": f"/api/admin/clients/{client_id}"} | _NO_STORE
