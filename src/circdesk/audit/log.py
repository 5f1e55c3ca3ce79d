"""The audit log as administrators read it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.audit.models import AuditEntry
from circdesk.db.pagination import Page, PageQuery, paginate

JSON = dict[str, Any]

_SORTS = {"occurred_at": (AuditEntry.occurred_at,)}


class AuditQuery(PageQuery):
    """What entries can be filtered by."""

    action: str | None
    outcome: str | None
    actor: UUID | None
    target: UUID | None
    occurred_after: datetime | None
    occurred_before: datetime | None


def list_entries(session: Session, query: AuditQuery) -> Page:
    """One page of the entries that match."""
    found = select(AuditEntry)
    if query["action"] is not None:
        found = found.where(AuditEntry.action == query["action"])
    if query["outcome"] is not None:
        found = found.where(AuditEntry.outcome == query["outcome"])
    if query["actor"] is not None:
        found = found.where(AuditEntry.actor_id == query["actor"])
    if query["target"] is not None:
        found = found.where(AuditEntry.target_id == query["target"])
    if query["occurred_after"] is not None:
        found = found.where(AuditEntry.occurred_at >= query["occurred_after"])
    if query["occurred_before"] is not None:
        found = found.where(AuditEntry.occurred_at < query["occurred_before"])
    return paginate(
        session,
        found,
        sorts=_SORTS,
        query=query,
        present=lambda row: present(row[0]),
        scope="list_audit_entries",
    )


def present(entry: AuditEntry) -> JSON:
    """An entry as the contract shows it."""
    return {
        "id": entry.id,
        "occurred_at": entry.occurred_at,
        "action": entry.action,
        "outcome": entry.outcome,
        "actor": {"type": entry.actor_type, "id": entry.actor_id},
        "target": entry.target_type and {"type": entry.target_type, "id": entry.target_id},
        "request_id": entry.request_id,
        "address": entry.address,
        "details": entry.details,
    }
