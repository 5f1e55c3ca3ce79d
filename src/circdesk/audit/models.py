"""Tables of the audit log."""

from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from circdesk.db.base import Base, Identified, Moment


class AuditEntry(Identified, Base):
    """Something that was done, or tried, with an account or a credential.

    It holds ids and never names or emails, so that it may stay when a person goes, and it refers
    to no other table, so that it stays whatever goes. The database itself refuses to change or
    delete an entry; its address alone may be dropped.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index(None, "occurred_at", "id"),
        Index(None, "actor_id", "occurred_at"),
        Index(None, "target_id", "occurred_at"),
        Index(None, "action", "occurred_at"),
        # The few entries whose address is still to be dropped.
        Index(
            "ix_audit_log_with_address",
            "occurred_at",
            sqlite_where=text("address IS NOT NULL"),
            postgresql_where=text("address IS NOT NULL"),
        ),
    )

    occurred_at: Mapped[Moment]
    action: Mapped[str]
    # success or failure.
    outcome: Mapped[str]
    # user, client, system or anonymous; the last two have no id.
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    target_type: Mapped[str | None]
    target_id: Mapped[UUID | None]
    request_id: Mapped[str | None]
    # Where the request came from; dropped after 90 days.
    address: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
