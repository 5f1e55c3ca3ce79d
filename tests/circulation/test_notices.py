from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from circdesk.accounts.models import User
from circdesk.circulation.chores import run_chores
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.circulation.notices.making import NOTICES
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library
from tests.people import MEMBER_ID

Problem = Callable[..., dict[str, Any]]

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def loan(library: Library, **values: Any) -> UUID:
    branch = library.branch(name="Central")
    book = library.book(title="Solaris")
    copy = library.copy(book, branch, status="on_loan")
    defaults = {
        "user_id": MEMBER_ID,
        "copy_id": copy,
        "book_id": book,
        "branch_id": branch,
        "user_category": "standard",
        "material_type": "book",
        "status": "open",
        "lent_at": NOW - 20 * DAY,
        "due_at": NOW + 10 * DAY,
        "terms": {},
    }
    return library.store(Loan(**{**defaults, **values}))


def hold(library: Library, **values: Any) -> UUID:
    defaults = {
        "user_id": MEMBER_ID,
        "book_id": library.book(title="Solaris"),
        "pickup_branch_id": library.branch(name="Central"),
        "status": "ready",
        "rank": 1,
        "placed_at": NOW - 9 * DAY,
        "shelf_days": 7,
        "ready_at": NOW - 2 * DAY,
        "shelf_expires_at": NOW + 5 * DAY,
    }
    return library.store(Hold(**{**defaults, **values}))


def fee(library: Library, **values: Any) -> UUID:
    defaults = {"user_id": MEMBER_ID, "kind": "manual", "reason": "A card"}
    amounts = {"amount": Decimal("2.50"), "outstanding": Decimal("2.50")}
    return library.store(Fee(**{**defaults, **amounts, **values}))


def kinds(sessions: Sessions) -> list[str]:
    """Make the notices that are due; the kinds of all there are."""
    run_chores(sessions, NOTICES)
    with unit_of_work(sessions, writing=False) as session:
        return sorted(session.scalars(select(Notice.kind)))


class TestMaking:
    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ({"due_at": NOW + 2 * DAY}, ["due_soon"]),
            ({"due_at": NOW + 4 * DAY}, []),
            ({"due_at": NOW + DAY, "lent_at": NOW - timedelta(hours=2)}, []),
            ({"due_at": NOW + DAY, "renewed_at": NOW - timedelta(hours=2)}, []),
            ({"due_at": NOW - DAY}, ["overdue"]),
            ({"due_at": NOW - DAY, "status": "lost"}, []),
            ({"due_at": NOW - DAY, "status": "returned", "returned_at": NOW}, []),
            ({"recalled_at": NOW}, ["recalled"]),
        ],
    )
    def test_a_loan_is_told_of_when_it_is_time(
        self, library: Library, sessions: Sessions, values: dict[str, Any], told: list[str]
    ) -> None:
        loan(library, **values)
        assert kinds(sessions) == told

    @pytest.mark.parametrize(
        ("values", "told"),
        [
            ({}, ["hold_ready"]),
            ({"shelf_expires_at": NOW + DAY / 2}, ["hold_expiring", "hold_ready"]),
            ({"shelf_expires_at": NOW + DAY / 2, "ready_at": NOW}, ["hold_ready"]),
            ({"status": "waiting", "ready_at": None, "shelf_expires_at": None}, []),
        ],
    )
    def test_a_hold_is_told_of_when_it_is_time(
        self, library: Library, sessions: Sessions, values: dict[str, Any], told: list[str]
    ) -> None:
        hold(library, **values)
        assert kinds(sessions) == told

    def test_a_fee_is_told_of_while_it_is_owed(self, library: Library, sessions: Sessions) -> None:
        fee(library)
        fee(library, outstanding=Decimal("0.00"))
        assert kinds(sessions) == ["fee"]

    def test_it_tells_how_many_are_new(self, library: Library, sessions: Sessions) -> None:
        for _ in range(3):
            fee(library)
        assert run_chores(sessions, NOTICES) == {"notices_fee": 3}
        assert run_chores(sessions, NOTICES) == {}

    def test_each_cause_is_told_once(self, library: Library, sessions: Sessions) -> None:
        found = loan(library, due_at=NOW - DAY)
        assert kinds(sessions) == ["overdue"]
        assert kinds(sessions) == ["overdue"]

        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(Loan).where(Loan.id == found).values(due_at=NOW - DAY / 2))

        assert kinds(sessions) == ["overdue", "overdue"]

    def test_what_somebody_does_not_want_is_not_told(
        self, library: Library, sessions: Sessions
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.execute(
                update(User).where(User.id == MEMBER_ID).values(unwanted_notices=["fee", "overdue"])
            )
        fee(library)
        loan(library, due_at=NOW - DAY)
        loan(library, due_at=NOW + DAY)

        assert kinds(sessions) == ["due_soon"]


class TestListMyNotices:
    def test_the_latest_is_first(
        self, library: Library, sessions: Sessions, member: httpx.Client
    ) -> None:
        told = hold(library)
        kinds(sessions)

        response = member.get("/api/me/notices")

        assert response.status_code == 200
        (notice,) = response.json()["items"]
        assert notice == {
            "id": notice["id"],
            "kind": "hold_ready",
            "subject_type": "hold",
            "subject_id": str(told),
            "since": present(NOW - 2 * DAY),
            "title": "Solaris",
            "branch_name": "Central",
            "due_at": None,
            "expires_at": present(NOW + 5 * DAY),
            "amount": None,
            "read": False,
            "sent_at": None,
            "created_at": notice["created_at"],
        }

    def test_a_fee_tells_its_amount(
        self, library: Library, sessions: Sessions, member: httpx.Client
    ) -> None:
        fee(library)
        kinds(sessions)

        (notice,) = member.get("/api/me/notices", params={"kind": "fee"}).json()["items"]

        assert notice["amount"] == {"amount": "2.50", "currency": "EUR"}
        assert (notice["title"], notice["branch_name"]) == (None, None)

    def test_others_see_none_of_it(
        self, library: Library, sessions: Sessions, librarian: httpx.Client
    ) -> None:
        fee(library)
        kinds(sessions)
        assert librarian.get("/api/me/notices").json()["items"] == []

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Problem) -> None:
        response = client.get("/api/me/notices")
        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")


class TestUpdateMyNotice:
    def test_a_notice_is_read_and_unread(
        self, library: Library, sessions: Sessions, member: httpx.Client
    ) -> None:
        fee(library)
        kinds(sessions)
        (notice,) = member.get("/api/me/notices").json()["items"]
        path = f"/api/me/notices/{notice['id']}"

        response = member.patch(path, json={"read": True})

        assert response.status_code == 200
        assert response.json() == {**notice, "read": True}
        assert member.get("/api/me/notices", params={"read": False}).json()["items"] == []
        assert member.get("/api/me/notices", params={"read": True}).json()["total"] == 1
        assert member.patch(path, json={}).json()["read"] is True
        assert member.patch(path, json={"read": False}).json() == notice

    def test_somebody_elses_is_not_there(
        self,
        library: Library,
        sessions: Sessions,
        member: httpx.Client,
        librarian: httpx.Client,
        problem: Problem,
    ) -> None:
        fee(library)
        kinds(sessions)
        (notice,) = member.get("/api/me/notices").json()["items"]

        response = librarian.patch(f"/api/me/notices/{notice['id']}", json={"read": True})

        assert response.status_code == 404
        message = f"No notice has the id {notice['id']}."
        assert response.json() == problem(response, "not_found", message)


def present(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
