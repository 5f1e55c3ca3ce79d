"""HTTP face of the keys that sign access tokens."""

from typing import Unpack

from flask import current_app

from circdesk.auth import signing_keys
from circdesk.auth.signing_keys import JSON
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session
from circdesk.settings import Settings


def list_signing_keys(**query: Unpack[PageQuery]) -> Page:
    """List signing keys."""
    return signing_keys.list_signing_keys(current_session(), query)


def create_signing_key() -> tuple[JSON, int, dict[str, str]]:
    """Replace the signing key."""
    settings: Settings = current_app.extensions["circdesk.settings"]
    key = signing_keys.create_signing_key(current_session(), settings.encryption_key)
    return key, 201, {"Location": "/api/admin/signing-keys"}
