"""HTTP face of consents."""

from typing import Unpack
from uuid import UUID

from circdesk.auth import consents
from circdesk.db.pagination import Page, PageQuery
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_user_id


def list_my_consents(**query: Unpack[PageQuery]) -> Page:
    """List what the caller has allowed applications."""
    return consents.list_consents(current_session(), current_user_id(), query)


def delete_my_consent(*, consent_id: UUID) -> None:
    """Take back what the caller has allowed an application."""
    consents.delete_consent(current_session(), current_user_id(), consent_id)
