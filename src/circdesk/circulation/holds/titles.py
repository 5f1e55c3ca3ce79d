"""What a queue looks like at a moment: the holds in it, and the copies that they wait for."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.holds.queue import is_active
from circdesk.circulation.models import Hold, Loan, LoanPolicy

# Copies in these states are there no more, or may never be again.
GIVEN_UP = ("missing", "lost", "withdrawn")


@dataclass(frozen=True, slots=True)
class Place:
    """A hold in a queue.

    Args:
        copy_id: The one copy that is wanted; None for any copy of the title.
        material_type: Of that copy, or of the title.
        rank: What the queue is ordered by.
        time_zone: The name of its pickup branch's.
    """

    hold_id: UUID
    user_id: UUID | None
    book_id: UUID | None
    copy_id: UUID | None
    pickup_branch_id: UUID | None
    material_type: str
    status: str
    rank: int
    suspended_until: date | None
    time_zone: str

    @property
    def zone(self) -> ZoneInfo:
        """The zone by whose days it is suspended and expected."""
        return ZoneInfo(self.time_zone)

    def waits(self, now: datetime) -> bool:
        """Whether it takes the next copy that it can have."""
        return self.status == "waiting" and not self.is_suspended(now)

    def is_suspended(self, now: datetime) -> bool:
        """Whether others go before it at present."""
        until = self.suspended_until
        return until is not None and until > now.astimezone(self.zone).date()

    def takes(self, copy_id: UUID) -> bool:
        """Whether it is content with this copy of the title."""
        return self.copy_id in (None, copy_id)


@dataclass(frozen=True, slots=True)
class TitleCopy:
    """A copy of a title, and its open loan if it has one.

    Args:
        loan_status: open, claimed_returned or lost; None where it is not lent.
        recall_days: Days that the loan's rule leaves to a borrower whose loan is recalled.
        lender: The branch by whose hours the loan is due.
    """

    copy_id: UUID
    branch_id: UUID
    status: str
    loanable: bool
    loan_id: UUID | None
    borrower_id: UUID | None
    loan_status: str | None
    lent_at: datetime | None
    due_at: datetime | None
    recalled_at: datetime | None
    recall_days: int | None
    lender: Branch | None

    @property
    def can_come(self) -> bool:
        """Whether it may some day be lent to whoever waits for it."""
        return self.loanable and self.status not in GIVEN_UP

    def free_at(self, now: datetime) -> datetime | None:
        """When it is there for the next one; None where nobody can tell."""
        if not self.loanable:
            return None
        if self.status == "available":
            return now
        # Nobody knows when what is overdue comes back, or what may be lost.
        known = self.loan_status == "open" and self.due_at is not None and self.due_at >= now
        return self.due_at if known else None

    @property
    def lasts(self) -> timedelta | None:
        """How long its present loan lasts in all, which is the best guess for the next one.

        Whole days, because a loan of days ends when the branch closes, whenever it began.
        """
        if self.due_at is None or self.lent_at is None:
            return None
        lasts = self.due_at - self.lent_at
        return timedelta(days=lasts.days) or lasts


@dataclass(frozen=True, slots=True)
class Title:
    """The queue of a title, from its first place on, and its copies."""

    queue: Sequence[Place]
    copies: Sequence[TitleCopy]


def load_titles(session: Session, book_ids: Iterable[UUID]) -> dict[UUID, Title]:
    """The queues and the copies of these books, in two statements for all of them."""
    wanted = {*book_ids}
    if not wanted:
        return {}
    queues: dict[UUID, list[Place]] = {book_id: [] for book_id in wanted}
    for place in load_places(session, Hold.book_id.in_(wanted)):
        if place.book_id is not None:
            queues[place.book_id].append(place)
    copies = load_copies(session, Copy.book_id.in_(wanted))
    return {book_id: Title(queues[book_id], copies[book_id]) for book_id in wanted}


def load_places(session: Session, condition: ColumnElement[bool]) -> list[Place]:
    """The active holds that match, those on one title in the order of its queue; one statement."""
    rows: Iterable[Iterable[Any]] = session.execute(
        select(
            Hold.id,
            Hold.user_id,
            Hold.book_id,
            Hold.copy_id,
            Hold.pickup_branch_id,
            func.coalesce(Copy.material_type, Book.material_type),
            Hold.status,
            Hold.rank,
            Hold.suspended_until,
            func.coalesce(Branch.time_zone, "UTC"),
        )
        .join(Book, Book.id == Hold.book_id)
        .outerjoin(Copy, Copy.id == Hold.copy_id)
        .outerjoin(Branch, Branch.id == Hold.pickup_branch_id)
        .where(is_active(), condition)
        .order_by(Hold.rank)
    )
    return [Place(*values) for values in rows]


def load_copies(session: Session, condition: ColumnElement[bool]) -> dict[UUID, list[TitleCopy]]:
    """The copies that match, by book, with their open loans; one statement."""
    rows: Iterable[Any] = session.execute(
        select(
            Copy.book_id,
            Copy.id,
            Copy.branch_id,
            Copy.status,
            Copy.loanable,
            Loan.id,
            Loan.user_id,
            Loan.status,
            Loan.lent_at,
            Loan.due_at,
            Loan.recalled_at,
            LoanPolicy.recall_days,
            Branch,
        )
        .outerjoin(Loan, and_(Loan.copy_id == Copy.id, Loan.returned_at.is_(None)))
        .outerjoin(LoanPolicy, LoanPolicy.id == Loan.policy_id)
        .outerjoin(Branch, Branch.id == Loan.branch_id)
        .where(condition)
        .order_by(Copy.id)
    )
    copies: dict[UUID, list[TitleCopy]] = defaultdict(list)
    for book_id, *values in rows:
        copies[book_id].append(TitleCopy(*values))
    return copies
