"""Tables of events."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, FetchedValue, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from circdesk.db.base import Base, Identified, Moment


class Event(Identified, Base):
    """Something that happened to a copy, a loan, a hold or a fee.

    It holds ids and never names, and refers to no other table, so that it stays whatever goes.
    The database itself refuses to change an event, but for what tells whose it was, which is
    dropped when it has served its purpose: `user_id`, `undo`, and an `actor_id` that is the same
    person. `data` never names one.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index(None, "transaction_id", "id"),
        Index(None, "kind", "transaction_id", "id"),
        Index(None, "occurred_at"),
        Index(None, "subject_id", "transaction_id"),
        Index(
            "ix_events_undoable",
            "undo_until",
            sqlite_where=text("undo IS NOT NULL"),
            postgresql_where=text("undo IS NOT NULL"),
        ),
    )

    # On PostgreSQL the transaction that wrote it, by default: a reader who stays below the oldest
    # one that still runs never sees a gap fill later. On SQLite, where writers queue, a trigger
    # counts.
    transaction_id: Mapped[int] = mapped_column(BigInteger, FetchedValue())
    kind: Mapped[str]
    # copy, loan, hold, fee, block or clock, and its id.
    subject_type: Mapped[str]
    subject_id: Mapped[UUID | None]
    # user, client, system, as in the audit log; None once who acted for themselves is forgotten.
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    # Whose loan, hold or fee it is.
    user_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    # By the clock of circulation, which a sandbox may move.
    occurred_at: Mapped[Moment]
    # How the rows were that it changed; None where it cannot be taken back (any more).
    undo: Mapped[list[Any] | None] = mapped_column(JSON(none_as_null=True))
    undo_until: Mapped[datetime | None]
    # The event that this one took back.
    undoes_id: Mapped[UUID | None] = mapped_column(unique=True)
