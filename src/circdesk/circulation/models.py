"""Tables of circulation.

Every row that an action at the desk can change carries `event_id`, the last event that changed
it: an action can be taken back as long as its event is still the last one of all its rows.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from circdesk.circulation.money import NOTHING, Amount, Hundredths
from circdesk.db.base import Base, Identified, Moment, Timestamped
from circdesk.db.versions import Versioned

_OPEN_LOAN = text("returned_at IS NULL")
_ACTIVE_HOLD = text("ended_at IS NULL")


class Loan(Identified, Timestamped, Base):
    """A copy lent to a person; open until `returned_at` is set."""

    __tablename__ = "loans"
    __table_args__ = (
        # The database decides who gets the last copy.
        Index(
            "uq_loans_open_copy",
            "copy_id",
            unique=True,
            sqlite_where=_OPEN_LOAN,
            postgresql_where=_OPEN_LOAN,
        ),
        Index(
            "ix_loans_open_user",
            "user_id",
            "due_at",
            sqlite_where=_OPEN_LOAN,
            postgresql_where=_OPEN_LOAN,
        ),
        Index(
            "ix_loans_open_due",
            "due_at",
            "id",
            sqlite_where=_OPEN_LOAN,
            postgresql_where=_OPEN_LOAN,
        ),
        Index(None, "user_id", "lent_at"),
        Index(None, "copy_id", "lent_at"),
        Index(None, "book_id"),
        Index(None, "due_at", "id"),
        Index(None, "lent_at", "id"),
    )

    # None once the person is forgotten, as everybody is who keeps no history.
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    # None once the copy or the book has left the catalogue.
    copy_id: Mapped[UUID | None] = mapped_column(ForeignKey("copies.id", ondelete="SET NULL"))
    book_id: Mapped[UUID | None] = mapped_column(ForeignKey("books.id", ondelete="SET NULL"))
    # The copy's branch when it was lent, in whose zone and hours the loan is due.
    branch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("branches.id", ondelete="SET NULL"), index=True
    )
    user_category: Mapped[str]
    material_type: Mapped[str]
    # open, claimed_returned, lost or returned.
    status: Mapped[str]
    lent_at: Mapped[Moment]
    due_at: Mapped[Moment]
    # When it came back, and when nobody needs to know any more whose it was.
    returned_at: Mapped[datetime | None]
    renewals: Mapped[int] = mapped_column(default=0)
    renewed_at: Mapped[datetime | None]
    recalled_at: Mapped[datetime | None]
    # The rule that decided, and of its terms those on fees, as they were agreed at the desk:
    # `circdesk.circulation.policies.terms.FeeTerms`, as JSON.
    policy_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("loan_policies.id", ondelete="SET NULL"), index=True
    )
    terms: Mapped[dict[str, Any]] = mapped_column(JSON)
    # When its overdue fee is reckoned next; None for as soon as it is overdue.
    accrues_at: Mapped[datetime | None]
    event_id: Mapped[UUID | None]


class Hold(Identified, Timestamped, Base):
    """A person's place in the queue for a title, or for one copy of it; active until `ended_at`."""

    __tablename__ = "holds"
    __table_args__ = (
        Index(
            "uq_holds_queue",
            "book_id",
            "rank",
            unique=True,
            sqlite_where=_ACTIVE_HOLD,
            postgresql_where=_ACTIVE_HOLD,
        ),
        Index(
            "uq_holds_active_user",
            "user_id",
            "book_id",
            unique=True,
            sqlite_where=_ACTIVE_HOLD,
            postgresql_where=_ACTIVE_HOLD,
        ),
        Index(
            "uq_holds_trapped_copy",
            "trapped_copy_id",
            unique=True,
            sqlite_where=_ACTIVE_HOLD,
            postgresql_where=_ACTIVE_HOLD,
        ),
        Index(
            "ix_holds_shelf",
            "shelf_expires_at",
            sqlite_where=text("status = 'ready'"),
            postgresql_where=text("status = 'ready'"),
        ),
        Index(None, "user_id", "placed_at"),
        Index(None, "copy_id"),
        Index(None, "placed_at", "id"),
    )

    user_id: Mapped[UUID | None] = mapped_column(ForeignKey("users.id"))
    book_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("books.id", ondelete="SET NULL"), index=True
    )
    # The one copy that is wanted; None for any copy of the title.
    copy_id: Mapped[UUID | None] = mapped_column(ForeignKey("copies.id", ondelete="SET NULL"))
    pickup_branch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("branches.id", ondelete="SET NULL"), index=True
    )
    # waiting, in_transit, ready, fulfilled, cancelled or expired.
    status: Mapped[str]
    # Orders the active holds of a title; the position is how many of them rank up to here.
    rank: Mapped[int] = mapped_column(BigInteger)
    placed_at: Mapped[Moment]
    # The first day on which it takes part in the queue again.
    suspended_until: Mapped[date | None]
    # The copy that was set aside for it, on its way or on the hold shelf.
    trapped_copy_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("copies.id", ondelete="SET NULL")
    )
    # Days that it may stay on the hold shelf, by the rule when it was placed.
    shelf_days: Mapped[int]
    ready_at: Mapped[datetime | None]
    shelf_expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    event_id: Mapped[UUID | None]


class LoanPolicy(Identified, Timestamped, Versioned, Base):
    """A rule for lending, for the users, materials and branches that it names; None is any."""

    __tablename__ = "loan_policies"
    __table_args__ = (Index(None, "created_at", "id"),)

    name: Mapped[str]
    # The three of them in one word, never null, so that no two rules are for the same.
    scope: Mapped[str] = mapped_column(unique=True)
    user_category: Mapped[str | None]
    material_type: Mapped[str | None]
    branch_id: Mapped[UUID | None] = mapped_column(
        ForeignKey("branches.id", ondelete="CASCADE"), index=True
    )
    # days, hours or fixed_date, and how many, or on which day.
    period_unit: Mapped[str]
    period_length: Mapped[int | None]
    period_date: Mapped[date | None]
    # keep, next_open_day or previous_open_day.
    closed_days: Mapped[str]
    renewals: Mapped[int]
    # Days before the due date from which on a loan can be renewed; None for any time.
    renewable_days: Mapped[int | None]
    # Limits; None for none.
    max_loans: Mapped[int | None]
    max_holds: Mapped[int | None]
    max_overdue: Mapped[int | None]
    # From this balance on, nothing more is lent, renewed or held.
    max_debt: Mapped[Decimal | None] = mapped_column(Hundredths)
    lends: Mapped[bool]
    holds: Mapped[bool]
    self_service: Mapped[bool]
    hold_shelf_days: Mapped[int]
    # Days that are left to a borrower whose loan is recalled; None where loans are not recalled.
    recall_days: Mapped[int | None]
    fee_per_day: Mapped[Amount]
    fee_cap: Mapped[Decimal | None] = mapped_column(Hundredths)
    grace_days: Mapped[int]
    lost_fee: Mapped[Amount]


class Fee(Identified, Timestamped, Base):
    """What a person owes for one cause; `outstanding` is the sum of its ledger entries."""

    __tablename__ = "fees"
    __table_args__ = (
        # A loan has one overdue fee, which grows, and one for its loss.
        Index(
            "uq_fees_loan",
            "loan_id",
            "kind",
            unique=True,
            sqlite_where=text("loan_id IS NOT NULL"),
            postgresql_where=text("loan_id IS NOT NULL"),
        ),
        Index(None, "user_id", "created_at"),
        Index(
            "ix_fees_outstanding",
            "user_id",
            sqlite_where=text("outstanding > 0"),
            postgresql_where=text("outstanding > 0"),
        ),
        Index(None, "created_at", "id"),
        CheckConstraint("outstanding >= 0 AND outstanding <= amount", "outstanding"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    loan_id: Mapped[UUID | None] = mapped_column(ForeignKey("loans.id"))
    # overdue, lost or manual.
    kind: Mapped[str]
    reason: Mapped[str | None]
    # Everything that was charged, less what was reversed.
    amount: Mapped[Amount]
    outstanding: Mapped[Amount]
    # An overdue fee grows until its loan is renewed, and from there on again. How often the loan
    # had been renewed when it last grew, and what of `amount` was charged for the times before.
    loan_renewals: Mapped[int] = mapped_column(default=0)
    earlier: Mapped[Amount] = mapped_column(default=NOTHING)
    event_id: Mapped[UUID | None]


class LedgerEntry(Identified, Base):
    """One movement on a person's account.

    Positive is owed more, negative is owed less: a charge is positive; a payment and a waiver are
    negative; a refund, which is money given back, is positive, since it takes a payment away. A
    reversal takes back a part of an earlier movement, `reverses` says of which kind, and has the
    opposite sign of it. So the entries of a fee add up to its `outstanding`; its charges and their
    reversals to its `amount`; and all entries of a person to the balance.

    The ledger is append-only, and the database itself sees to that.
    """

    __tablename__ = "ledger_entries"
    __table_args__ = (
        Index(None, "fee_id"),
        Index(None, "user_id", "id"),
        Index(None, "event_id"),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    fee_id: Mapped[UUID] = mapped_column(ForeignKey("fees.id"))
    # charge, payment, waiver, refund or reversal.
    kind: Mapped[str]
    # What a reversal reverses, as one of the other kinds; None in all others.
    reverses: Mapped[str | None]
    amount: Mapped[Amount]
    comment: Mapped[str | None]
    actor_id: Mapped[UUID | None]
    event_id: Mapped[UUID]
    occurred_at: Mapped[Moment]

    # One way alone: entries are never reached through their fee, and by this are stored after it.
    fee: Mapped[Fee] = relationship(lazy="raise_on_sql")


class Block(Identified, Timestamped, Versioned, Base):
    """A person may not borrow, by a decision of staff, until it expires or is lifted."""

    __tablename__ = "blocks"
    __table_args__ = (Index(None, "user_id", "created_at"),)

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    reason: Mapped[str]
    expires_at: Mapped[datetime | None]
    created_by: Mapped[UUID | None]
    lifted_at: Mapped[datetime | None]


class Notice(Identified, Base):
    """Something that a person is told once, whatever tells it how often."""

    __tablename__ = "notices"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id", "since"),
        Index(None, "user_id", "created_at"),
        Index(
            "ix_notices_unsent",
            "next_attempt_at",
            sqlite_where=text("next_attempt_at IS NOT NULL"),
            postgresql_where=text("next_attempt_at IS NOT NULL"),
        ),
    )

    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    # due_soon, overdue, hold_ready, hold_expiring, fee or recalled.
    kind: Mapped[str]
    # The loan, hold or fee that it is about, and the moment that is its cause: a loan that falls
    # due anew, as after a renewal, is told of anew.
    subject_type: Mapped[str]
    subject_id: Mapped[UUID]
    since: Mapped[Moment]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[Moment]
    read_at: Mapped[datetime | None]
    # When it is to be mailed; None once it is, or where there is nowhere to send it.
    next_attempt_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)


class SandboxClock(Base):
    """The one row that says how far a sandbox's circulation is ahead of real time."""

    __tablename__ = "sandbox_clock"
    __table_args__ = (CheckConstraint("id = 1", "one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    offset_seconds: Mapped[int] = mapped_column(BigInteger)
