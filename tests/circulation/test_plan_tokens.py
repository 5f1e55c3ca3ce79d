"""Plan tokens notice whatever changes what the decision has told, even if no reason changes."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.catalog.models import Branch, Copy
from tests.circulation.conftest import Library

JSON = dict[str, Any]
Change = Callable[..., None]

NOW = datetime(2026, 2, 6, 10, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that never stands still, so that each change of a branch is a later one."""

    def tick() -> Iterator[datetime]:
        now = NOW
        while True:
            now += timedelta(milliseconds=1)
            yield now

    ticks = tick()
    monkeypatch.setattr("circdesk.clock.now", lambda: next(ticks))


@pytest.fixture
def late(library: Library) -> tuple[UUID, UUID, UUID]:
    """A branch, a copy of it, and a loan of that which is four days late."""
    library.policy()
    branch = library.branch()
    copy = library.copy(library.book(), branch, status="on_loan")
    return branch, copy, library.loan(library.user(), copy)


def decide(librarian: httpx.Client, **question: Any) -> JSON:
    response = librarian.post("/api/decisions", json=question)
    assert response.status_code == 200, response.text
    decision: JSON = response.json()
    return decision


def assert_outdated(librarian: httpx.Client, path: str, decision: JSON, **body: Any) -> None:
    sent = body | {"plan_token": decision["plan_token"]}
    response = librarian.post(path, json=sent)
    assert (response.status_code, response.json()["code"]) == (412, "plan_outdated")


class TestPlanTokens:
    def test_the_fee_of_a_return_elsewhere_depends_on_the_hours_of_the_lender(
        self,
        librarian: httpx.Client,
        library: Library,
        late: tuple[UUID, UUID, UUID],
        change: Change,
    ) -> None:
        lender, copy, _ = late
        body = {"copy": str(copy), "branch": str(library.branch())}
        decision = decide(librarian, action="return", **body)
        assert decision["result"]["fee"]["amount"] == "0.80"

        change(Branch, lender, closed_days=["2026-02-03"])

        assert_outdated(librarian, "/api/returns", decision, **body)

    def test_the_fee_of_a_renewal_depends_on_the_hours_of_the_branch_that_lent_the_copy(
        self,
        librarian: httpx.Client,
        library: Library,
        late: tuple[UUID, UUID, UUID],
        change: Change,
    ) -> None:
        lender, copy, loan = late
        change(Copy, copy, branch_id=library.branch())
        decision = decide(librarian, action="renew", loan=str(loan))
        assert decision["result"]["fee"]["amount"] == "0.80"

        change(Branch, lender, closed_days=["2026-02-03"])

        assert_outdated(librarian, f"/api/loans/{loan}/renewals", decision)

    def test_where_the_copy_of_a_cancelled_hold_goes_depends_on_where_it_belongs(
        self, librarian: httpx.Client, library: Library, change: Change
    ) -> None:
        branch, book = library.branch(), library.book()
        copy = library.copy(book, branch, status="on_hold_shelf")
        hold = library.hold(
            library.user(), book, branch, status="ready", trapped_copy_id=copy, ready_at=NOW
        )
        decision = decide(librarian, action="cancel_hold", hold=str(hold))
        assert decision["result"]["next_step"] == "shelve"

        change(Copy, copy, branch_id=library.branch())

        assert_outdated(librarian, f"/api/holds/{hold}/cancellations", decision)
