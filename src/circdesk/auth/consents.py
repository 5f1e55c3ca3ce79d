"""Consents: what users allow applications, listed and taken back."""

from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, contains_eager

from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.access import end_grants
from circdesk.auth.models import Consent, Grant, OAuthClient
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate

JSON = dict[str, Any]

_SORTS = {"created_at": (Consent.created_at,)}


def list_consents(session: Session, user_id: UUID, query: PageQuery) -> Page:
    """One page of what the user has allowed."""
    own = select(Consent).join(Consent.client).options(contains_eager(Consent.client))
    own = own.where(Consent.user_id == user_id)
    return paginate(
        session,
        own,
        sorts=_SORTS,
        query=query,
        present=lambda row: present(row[0]),
        scope="list_my_consents",
    )


def delete_consent(session: Session, user_id: UUID, consent_id: UUID) -> None:
    """Take a consent back, with every token that hangs on it. Raises NotFound for others'."""
    # Whoever grants holds this row too, so that no grant slips in between.
    session.execute(select(User.id).where(User.id == user_id).with_for_update())
    consent = session.get(Consent, consent_id)
    if consent is None or consent.user_id != user_id:
        raise NotFound(f"You have no consent with the id {consent_id}.")
    session.delete(consent)
    end_grants(session, Grant.user_id == user_id, Grant.client_id == consent.client_id)
    record(session, "consent.revoke", "client", consent.client_id)


def present(consent: Consent) -> JSON:
    """A consent as the contract shows it; its `client` must be loaded."""
    client: OAuthClient = consent.client
    return {
        "id": consent.id,
        "client": {"id": client.id, "name": client.name},
        "scopes": consent.scopes,
        "created_at": consent.created_at,
        "updated_at": consent.updated_at,
    }
