"""The table of answers that are kept for repeated requests."""

from datetime import timedelta
from typing import Any

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from circdesk.db.base import Base, Moment, Words

# How long the answer to a request with an idempotency key is kept; the contract says so, too.
ANSWERS_ARE_KEPT = timedelta(hours=24)


class IdempotencyKey(Base):
    """A key that a request succeeded with, and the answer to whoever repeats the request."""

    __tablename__ = "idempotency_keys"

    # A hash of whose key it is and of the key: no caller can name another's.
    key_hash: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str]
    # Of the request, by which another one with the same key is known.
    fingerprint: Mapped[str]
    # What the caller was allowed to do; who may do less is not answered from here.
    scopes: Mapped[list[str]] = mapped_column(Words)
    status: Mapped[int]
    media_type: Mapped[str | None]
    headers: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Encrypted with CIRCDESK_ENCRYPTION_KEY: it may tell a secret, and often tells of a person.
    body: Mapped[bytes]
    created_at: Mapped[Moment] = mapped_column(index=True)
