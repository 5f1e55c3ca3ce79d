"""A library to take things back in: two branches, a title with one copy, and time that passes."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import inspect, select

from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, LedgerEntry, Loan
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library

JSON = dict[str, Any]

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOTHING = Decimal("0.00")


@dataclass
class World:
    """What a test has, and what it does at the desk; each deed answers the body of its answer."""

    client: httpx.Client
    library: Library
    sessions: Sessions
    monkeypatch: pytest.MonkeyPatch
    branch: UUID
    other_branch: UUID
    book: UUID
    copy: UUID
    user: UUID
    other_user: UUID
    now: datetime = NOW

    @classmethod
    def of(
        cls,
        client: httpx.Client,
        library: Library,
        sessions: Sessions,
        monkeypatch: pytest.MonkeyPatch,
        **rule: Any,
    ) -> "World":
        """A world whose one rule is that of all tests, and what stands here."""
        library.policy(**rule)
        branch, book = library.branch(), library.book()
        world = cls(
            client,
            library,
            sessions,
            monkeypatch,
            branch,
            library.branch(),
            book,
            library.copy(book, branch),
            library.user(),
            library.user(),
        )
        monkeypatch.setattr("circdesk.clock.now", lambda: world.now)
        return world

    def passes(self, **time: float) -> None:
        """Let time pass, as `timedelta` takes it."""
        self.now += timedelta(**time)

    def send(self, path: str, *, method: str = "POST", **body: Any) -> JSON:
        """Send a call that must succeed."""
        sent = {name: _plain(value) for name, value in body.items()}
        response = self.client.request(method, f"/api/{path}", json=sent)
        assert response.is_success, response.text
        answer: JSON = response.json()
        return answer

    def lend(self, user: UUID | None = None, copy: UUID | None = None, **consent: Any) -> JSON:
        """Lend the copy to the user."""
        return self.send("loans", user=user or self.user, copy=copy or self.copy, **consent)

    def take_back(self, copy: UUID | None = None, branch: UUID | None = None) -> JSON:
        """Take the copy back at the branch."""
        return self.send("returns", copy=copy or self.copy, branch=branch or self.branch)

    def hold(self, user: UUID | None = None, **more: Any) -> JSON:
        """Put the user into the queue of the title."""
        body = {"user": user or self.user, "book": self.book, "pickup_branch": self.branch} | more
        return self.send("holds", **body)

    def cancel(self, hold_id: str) -> JSON:
        """Cancel the hold."""
        return self.send(f"holds/{hold_id}/cancellations")

    def undo(self, answer: JSON) -> httpx.Response:
        """Take back what a call has answered, by the compensation in it."""
        compensation = answer["compensation"]
        assert compensation["operation_id"] == "reverse_event"
        event_id = compensation["parameters"]["event_id"]
        return self.client.post(f"/api/events/{event_id}/reversals")

    def state(self) -> JSON:
        """All copies, loans and holds, and the fees with something charged, as they are stored.

        The sums of the ledger must be those of the fees.
        """
        with unit_of_work(self.sessions, writing=False) as session:
            models: tuple[Any, ...] = (Copy, Loan, Hold)
            rows = [row for model in models for row in session.scalars(select(model))]
            fees = session.scalars(select(Fee)).all()
            entries = session.scalars(select(LedgerEntry)).all()
            for fee in fees:
                amounts = [entry.amount for entry in entries if entry.fee_id == fee.id]
                assert fee.outstanding == sum(amounts, NOTHING)
            return {str(row.id): _columns(row) for row in [*rows, *(f for f in fees if f.amount)]}


def _columns(row: Base) -> JSON:
    names = {column.key for column in inspect(type(row)).columns} - {"updated_at", "version"}
    return {name: getattr(row, name) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
