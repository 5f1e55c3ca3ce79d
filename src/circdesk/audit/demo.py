"""The demo's entry in the audit log, which the examples in the contract show."""

from sqlalchemy.orm import Session

from circdesk.audit.models import AuditEntry
from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id


def seed_audit_log(session: Session) -> None:
    """Store the one entry that every demo has, unless it is there."""
    entry_id = demo_id(Kind.AUDIT_ENTRY, 1)
    if session.get(AuditEntry, entry_id) is not None:
        return
    session.add(
        AuditEntry(
            id=entry_id,
            occurred_at=MOMENT,
            action="user.create",
            outcome="success",
            actor_type="user",
            actor_id=demo_id(Kind.USER, 3),
            target_type="user",
            target_id=demo_id(Kind.USER, 1),
            request_id="5f1c9be7a1d04b6c9d2f8a3e4b7c6d50",
            address=None,
            details={"role": "member"},
        )
    )
