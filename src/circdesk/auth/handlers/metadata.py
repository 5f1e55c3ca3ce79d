"""HTTP face of what OAuth 2 clients find out about the server."""

from typing import Any

from flask import current_app

from circdesk.auth.metadata import server_metadata
from circdesk.auth.signing_keys import verifying_jwks
from circdesk.contract.contract import Contract
from circdesk.db.unit_of_work import current_session
from circdesk.settings import Settings

# Short enough that a key is known everywhere long before a client that keeps the set needs it.
_CACHED = {"Cache-Control": "public, max-age=60"}


def get_server_metadata() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Read what OAuth 2 clients need to know."""
    settings: Settings = current_app.extensions["circdesk.settings"]
    contract: Contract = current_app.extensions["circdesk.contract"]
    return server_metadata(settings.public_url or "", contract.document), 200, _CACHED


def get_key_set() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Read the keys that verify access tokens."""
    return {"keys": verifying_jwks(current_session())}, 200, _CACHED
