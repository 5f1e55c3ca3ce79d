"""A small library: rules, branches, books with copies, and borrowers, stored directly."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.auth.models import ApiKey
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.auth.secrets import hash_secret
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.models import Hold, Loan, LoanPolicy
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work

# Open every day from nine to six, so that a due date is only ever moved where a test says so.
EVERY_DAY = {
    day: [{"opens": "09:00", "closes": "18:00"}]
    for day in ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
}


class Library:
    """Makes what a test needs and answers the ids; everything has a barcode, a code or a card."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._numbers = count(1)

    def store(self, row: Any) -> UUID:
        """Store a row; answers its id."""
        with unit_of_work(self._sessions, writing=True) as session:
            session.add(row)
            session.flush()
            found: UUID = row.id
        return found

    def branch(self, **values: Any) -> UUID:
        """A branch in Berlin that is open every day."""
        number = next(self._numbers)
        return self.store(
            Branch(
                **{
                    "code": f"branch-{number}",
                    "name": f"Branch {number}",
                    "sort_name": f"branch {number}",
                    "time_zone": "Europe/Berlin",
                    "opening_hours": EVERY_DAY,
                    "closed_days": [],
                    **values,
                }
            )
        )

    def book(self, **values: Any) -> UUID:
        """A book without copies."""
        title = f"Book {next(self._numbers)}"
        defaults = {"title": title, "sort_title": title.lower(), "sort_year": -10_000}
        return self.store(Book(**{**defaults, "material_type": "book", **values}))

    def copy(self, book_id: UUID, branch_id: UUID, **values: Any) -> UUID:
        """An available copy of a book."""
        defaults: dict[str, Any] = {"barcode": f"3{next(self._numbers):05}", "status": "available"}
        defaults |= {"material_type": "book", "loanable": True}
        return self.store(Copy(book_id=book_id, branch_id=branch_id, **{**defaults, **values}))

    def user(self, role: str = "member", **values: Any) -> UUID:
        """An active user with a card."""
        number = next(self._numbers)
        defaults: dict[str, Any] = {"name": f"User {number}", "sort_name": f"user {number}"}
        defaults |= {"card_number": f"5{number:04}", "role": role, "status": "active"}
        return self.store(User(**{**defaults, **values}))

    def key(
        self, user_id: UUID, role: str = "member", *, scopes: Iterable[str] | None = None
    ) -> dict[str, str]:
        """The headers of a caller with a new API key of this user; by default it may do all."""
        secret = f"cdk_the-key-of-{user_id}-that-only-tests-know"
        key = ApiKey(
            user_id=user_id,
            name="For tests",
            prefix=secret[:12],
            secret_hash=hash_secret(secret),
            scopes=sorted(ROLE_SCOPES[role] if scopes is None else scopes),
        )
        self.store(key)
        return {"X-API-Key": secret}

    def policy(self, **values: Any) -> UUID:
        """A rule for everybody and everything: four weeks, two renewals, no limits."""
        scope = "/".join(
            str(values.get(name) or "") for name in ("user_category", "material_type", "branch_id")
        )
        return self.store(LoanPolicy(**{**RULE, "scope": scope, **values}))

    def loan(self, user_id: UUID, copy_id: UUID, **values: Any) -> UUID:
        """An open loan of a copy, lent and due some time ago; the copy itself stays as it is."""
        with unit_of_work(self._sessions, writing=False) as session:
            copy = session.get_one(Copy, copy_id)
        defaults: dict[str, Any] = {
            "book_id": copy.book_id,
            "branch_id": copy.branch_id,
            "material_type": copy.material_type,
            "user_category": "standard",
            "status": "open",
            "lent_at": datetime(2026, 1, 5, 10, tzinfo=UTC),
            "due_at": datetime(2026, 2, 2, 17, tzinfo=UTC),
            "terms": TERMS,
        }
        return self.store(Loan(user_id=user_id, copy_id=copy_id, **{**defaults, **values}))

    def hold(self, user_id: UUID, book_id: UUID, branch_id: UUID, **values: Any) -> UUID:
        """A waiting hold on a title, the last in its queue."""
        defaults: dict[str, Any] = {
            "status": "waiting",
            "rank": next(self._numbers),
            "placed_at": datetime(2026, 1, 5, 10, tzinfo=UTC),
            "shelf_days": 7,
        }
        place = {"book_id": book_id, "pickup_branch_id": branch_id}
        return self.store(Hold(user_id=user_id, **{**place, **defaults, **values}))


# What loans by `RULE` cost.
TERMS: dict[str, Any] = {
    "fee_per_day": "0.20",
    "fee_cap": "10.00",
    "grace_days": 0,
    "lost_fee": "25.00",
}
RULE: dict[str, Any] = {
    "name": "Everything else",
    "user_category": None,
    "material_type": None,
    "branch_id": None,
    "period_unit": "days",
    "period_length": 28,
    "period_date": None,
    "closed_days": "next_open_day",
    "renewals": 2,
    "renewable_days": None,
    "max_loans": None,
    "max_holds": None,
    "max_overdue": None,
    "max_debt": None,
    "lends": True,
    "holds": True,
    "self_service": False,
    "hold_shelf_days": 7,
    "recall_days": None,
    "fee_per_day": Decimal("0.20"),
    "fee_cap": Decimal("10.00"),
    "grace_days": 0,
    "lost_fee": Decimal("25.00"),
}


@pytest.fixture
def library(sessions: Sessions) -> Library:
    """A library without anything in it."""
    return Library(sessions)


@pytest.fixture
def audit(sessions: Sessions) -> Callable[[str], list[AuditEntry]]:
    """`audit("loan.renew")`: the entries of the audit log with this action, the oldest first."""

    def read(action: str) -> list[AuditEntry]:
        with unit_of_work(sessions, writing=False) as session:
            entries = select(AuditEntry).where(AuditEntry.action == action)
            return list(session.scalars(entries.order_by(AuditEntry.id)))

    return read


@pytest.fixture
def read(sessions: Sessions) -> Callable[[type[Base], UUID], Any]:
    """`read(Copy, copy_id)`: the row as it is stored now."""

    def read(model: type[Base], row_id: UUID) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, row_id)

    return read


@pytest.fixture
def change(sessions: Sessions) -> Callable[..., None]:
    """`change(Copy, copy_id, status="lost")`: change a row behind the desk's back."""

    def change(model: type[Base], row_id: UUID, **values: Any) -> None:
        with unit_of_work(sessions, writing=True) as session:
            row = session.get_one(model, row_id)
            for name, value in values.items():
                setattr(row, name, value)

    return change
