"""The desk's tables as SQLAlchemy's documentation maps them, as far as the operations need them."""

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column
from uuid_utils.compat import uuid7

from rivals.catalog_models import Base


class User(Base):
    __tablename__ = "users"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    category: Mapped[str]
    status: Mapped[str]
    expires_on: Mapped[date | None]


class LoanPolicy(Base):
    __tablename__ = "loan_policies"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_category: Mapped[str | None]
    material_type: Mapped[str | None]
    branch_id: Mapped[UUID | None]
    period_length: Mapped[int]
    max_loans: Mapped[int | None]
    max_overdue: Mapped[int | None]
    max_debt: Mapped[int | None] = mapped_column(BigInteger)
    lends: Mapped[bool]
    fee_per_day: Mapped[int] = mapped_column(BigInteger)
    fee_cap: Mapped[int | None] = mapped_column(BigInteger)
    grace_days: Mapped[int]
    lost_fee: Mapped[int] = mapped_column(BigInteger)


class Loan(Base):
    __tablename__ = "loans"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    copy_id: Mapped[UUID | None] = mapped_column(ForeignKey("copies.id"))
    book_id: Mapped[UUID | None] = mapped_column(ForeignKey("books.id"))
    branch_id: Mapped[UUID | None] = mapped_column(ForeignKey("branches.id"))
    user_category: Mapped[str]
    material_type: Mapped[str]
    status: Mapped[str]
    lent_at: Mapped[datetime]
    due_at: Mapped[datetime]
    returned_at: Mapped[datetime | None]
    renewals: Mapped[int] = mapped_column(default=0)
    renewed_at: Mapped[datetime | None]
    recalled_at: Mapped[datetime | None]
    policy_id: Mapped[UUID | None] = mapped_column(ForeignKey("loan_policies.id"))
    terms: Mapped[dict[str, Any]]
    event_id: Mapped[UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def overdue(self) -> bool:
        return self.status == "open" and self.due_at < datetime.now(UTC)


class Hold(Base):
    __tablename__ = "holds"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None]
    book_id: Mapped[UUID | None]
    copy_id: Mapped[UUID | None]
    status: Mapped[str]
    rank: Mapped[int] = mapped_column(BigInteger)
    suspended_until: Mapped[date | None]
    trapped_copy_id: Mapped[UUID | None]
    ended_at: Mapped[datetime | None]


class Fee(Base):
    __tablename__ = "fees"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    outstanding: Mapped[int] = mapped_column(BigInteger)


class Block(Base):
    __tablename__ = "blocks"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID]
    reason: Mapped[str]
    expires_at: Mapped[datetime | None]
    lifted_at: Mapped[datetime | None]


class Event(Base):
    __tablename__ = "events"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str]
    subject_type: Mapped[str]
    subject_id: Mapped[UUID | None]
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    user_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]]
    occurred_at: Mapped[datetime]
    undo: Mapped[list[Any] | None] = mapped_column(JSON)
    undo_until: Mapped[datetime | None]


class AuditEntry(Base):
    __tablename__ = "audit_log"
    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    occurred_at: Mapped[datetime]
    action: Mapped[str]
    outcome: Mapped[str]
    actor_type: Mapped[str]
    actor_id: Mapped[UUID | None]
    target_type: Mapped[str | None]
    target_id: Mapped[UUID | None]
    request_id: Mapped[str | None]
    address: Mapped[str | None]
    details: Mapped[dict[str, Any]]
