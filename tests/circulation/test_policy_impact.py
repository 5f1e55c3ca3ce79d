"""How many open loans and active holds a rule that is not saved would decide otherwise."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk import clock
from circdesk.circulation.models import Fee
from circdesk.circulation.policies import impact
from tests.circulation.conftest import Library

JSON = dict[str, Any]
Expected = Callable[..., JSON]

PATH = "/api/loan-policies/impact"
# What `RULE` says, as a body.
SAME: JSON = {
    "name": "Everything else",
    "period_unit": "days",
    "period_length": 28,
    "renewals": 2,
    "fee_per_day": "0.20",
    "fee_cap": "10.00",
    "lost_fee": "25.00",
}
NO_LOANS = dict.fromkeys(
    ("examined", "changed", "lending", "due_date", "renewal", "fees", "recall"), 0
)
NO_HOLDS = dict.fromkeys(("examined", "changed", "placing", "shelf_days"), 0)


class Desk:
    """A branch with a rule for everything, and shortcuts to lend and to hold."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.branch = library.branch(code="north")
        self.policy = library.policy()
        self.user = library.user()

    def lend(self, user: UUID | None = None, **values: Any) -> UUID:
        """A loan of a copy of a new book, not due yet."""
        copy = self.library.copy(self.library.book(), self.branch)
        now = clock.now()
        times = {"lent_at": now - timedelta(days=7), "due_at": now + timedelta(days=7)}
        return self.library.loan(user or self.user, copy, **{**times, **values})

    def hold(self, user: UUID | None = None, **values: Any) -> UUID:
        """A hold on a new book."""
        return self.library.hold(user or self.user, self.library.book(), self.branch, **values)


@pytest.fixture
def desk(library: Library) -> Desk:
    return Desk(library)


def measure(librarian: httpx.Client, **changes: Any) -> JSON:
    response = librarian.post(PATH, json=SAME | changes)
    assert response.status_code == 200, response.text
    numbers: JSON = response.json()
    return numbers


def loans(numbers: JSON) -> JSON:
    """The numbers of loans that are not nothing."""
    return {name: number for name, number in numbers["loans"].items() if number}


def holds(numbers: JSON) -> JSON:
    return {name: number for name, number in numbers["holds"].items() if number}


class TestMeasurePolicyImpact:
    def test_the_same_rule_changes_nothing(self, librarian: httpx.Client, desk: Desk) -> None:
        desk.lend()
        desk.hold()

        assert measure(librarian) == {
            "loans": NO_LOANS | {"examined": 1},
            "holds": NO_HOLDS | {"examined": 1},
            "complete": True,
        }

    @pytest.mark.usefixtures("desk")
    def test_where_nothing_is_lent_there_is_nothing_to_change(
        self, librarian: httpx.Client
    ) -> None:
        assert measure(librarian, period_length=1) == {
            "loans": NO_LOANS,
            "holds": NO_HOLDS,
            "complete": True,
        }

    def test_only_open_loans_and_active_holds_count(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        desk.lend(returned_at=clock.now(), status="returned")
        desk.hold(ended_at=clock.now(), status="cancelled")

        numbers = measure(librarian, lends=False, holds=False)

        assert (numbers["loans"], numbers["holds"]) == (NO_LOANS, NO_HOLDS)

    @pytest.mark.parametrize(
        ("changes", "otherwise"),
        [
            ({"period_length": 14}, ["due_date"]),
            ({"period_length": 1}, ["due_date", "renewal"]),
            ({"renewals": 0}, ["renewal"]),
            ({"renewable_days": 3}, ["renewal"]),
            ({"renewable_days": 8}, []),
            ({"fee_per_day": "0.30"}, ["fees"]),
            ({"lost_fee": "0"}, ["fees"]),
            ({"recall_days": 7}, ["recall"]),
            ({"lends": False}, ["lending", "renewal"]),
            ({"max_loans": 0}, ["lending"]),
            ({"max_loans": 1}, []),
            ({"name": "Another name", "self_service": True}, []),
            ({"hold_shelf_days": 3}, []),
            (
                {"period_unit": "fixed_date", "period_length": None, "period_date": "2026-01-05"},
                ["lending", "due_date", "renewal"],
            ),
        ],
    )
    def test_what_would_be_otherwise_is_told_of_loans(
        self, librarian: httpx.Client, desk: Desk, changes: JSON, otherwise: list[str]
    ) -> None:
        desk.lend()

        found = loans(measure(librarian, **changes))

        expected = dict.fromkeys(("changed", *otherwise), 1) if otherwise else {}
        assert found == {"examined": 1, **expected}

    @pytest.mark.parametrize(
        ("changes", "otherwise"),
        [
            ({"hold_shelf_days": 3}, ["shelf_days"]),
            ({"holds": False}, ["placing"]),
            ({"max_holds": 0}, ["placing"]),
            ({"max_holds": 1}, []),
            ({"max_loans": 0}, []),
        ],
    )
    def test_what_would_be_otherwise_is_told_of_holds(
        self, librarian: httpx.Client, desk: Desk, changes: JSON, otherwise: list[str]
    ) -> None:
        desk.hold()

        found = holds(measure(librarian, **changes))

        expected = dict.fromkeys(("changed", *otherwise), 1) if otherwise else {}
        assert found == {"examined": 1, **expected}

    def test_a_rule_for_some_changes_what_it_is_for(
        self, librarian: httpx.Client, desk: Desk, library: Library
    ) -> None:
        teacher = library.user(category="teacher")
        film = library.copy(library.book(), desk.branch, material_type="video")
        desk.lend()
        desk.lend(teacher)
        library.loan(desk.user, film)
        desk.hold()
        desk.hold(teacher)

        shorter = {"period_length": 14, "hold_shelf_days": 3}
        teachers = measure(librarian, user_category="teacher", **shorter)
        films = measure(librarian, material_type="video", **shorter)
        here = measure(librarian, branch_id="code:north", **shorter)

        assert (loans(teachers)["changed"], holds(teachers)["changed"]) == (1, 1)
        assert (loans(films)["changed"], holds(films)) == (1, {"examined": 2})
        assert (loans(here)["changed"], holds(here)["changed"]) == (3, 2)

    def test_a_more_specific_rule_that_is_there_still_decides(
        self, librarian: httpx.Client, desk: Desk, library: Library
    ) -> None:
        library.policy(branch_id=desk.branch)
        desk.lend()

        assert loans(measure(librarian, period_length=1)) == {"examined": 1}

    def test_a_copy_that_has_moved_follows_the_rule_of_its_new_branch(
        self, librarian: httpx.Client, desk: Desk, library: Library
    ) -> None:
        south = library.branch(code="south")
        copy = library.copy(library.book(), south)
        library.loan(desk.user, copy, branch_id=desk.branch)

        there = measure(librarian, branch_id="code:south", recall_days=7)
        here = measure(librarian, branch_id="code:north", recall_days=7)

        assert loans(there) == {"examined": 1, "changed": 1, "recall": 1}
        assert loans(here) == {"examined": 1}

    def test_a_rule_where_there_was_none_lends(self, librarian: httpx.Client, desk: Desk) -> None:
        librarian.delete(f"/api/loan-policies/{desk.policy}").raise_for_status()
        desk.lend()
        desk.hold()

        numbers = measure(librarian)

        everything = dict.fromkeys(("changed", "lending", "due_date", "renewal", "fees"), 1)
        assert loans(numbers) == {"examined": 1, **everything}
        assert holds(numbers) == {"examined": 1, "changed": 1, "placing": 1, "shelf_days": 1}

    def test_limits_count_what_the_rule_is_for_the_oldest_first(
        self, librarian: httpx.Client, desk: Desk, library: Library
    ) -> None:
        now = clock.now()
        for days in range(5):
            desk.lend(lent_at=now - timedelta(days=days))
        desk.lend(library.user())
        desk.lend(status="lost")
        film = library.copy(library.book(), desk.branch, material_type="video")
        library.loan(desk.user, film)
        for days in range(3):
            desk.hold(placed_at=now - timedelta(days=days))

        of_all = measure(librarian, max_loans=2, max_holds=1)
        of_books = measure(librarian, material_type="book", max_loans=2)

        assert loans(of_all) == {"examined": 8, "changed": 4, "lending": 4}
        assert holds(of_all) == {"examined": 3, "changed": 2, "placing": 2}
        assert loans(of_books) == {"examined": 8, "changed": 3, "lending": 3}

    def test_debts_and_overdue_loans_stand_against_renewals(
        self, librarian: httpx.Client, desk: Desk, library: Library
    ) -> None:
        desk.lend()
        desk.lend(due_at=clock.now() - timedelta(days=1))
        owed = {"kind": "manual", "amount": Decimal("5.00"), "outstanding": Decimal("5.00")}
        library.store(Fee(user_id=desk.user, **owed))

        assert loans(measure(librarian, max_overdue=1, max_debt="5.01")) == {"examined": 2}
        for limit in ({"max_overdue": 0}, {"max_debt": "5.00"}):
            found = loans(measure(librarian, **limit))
            assert found == {"examined": 2, "changed": 2, "renewal": 2}

    def test_it_follows_the_hours_of_the_branch(
        self, librarian: httpx.Client, desk: Desk, library: Library
    ) -> None:
        # Four weeks later all is open; two days later the branch is closed.
        closed = library.branch(code="south", closed_days=["2026-01-07"])
        copy = library.copy(library.book(), closed)
        library.loan(desk.user, copy, lent_at=datetime(2026, 1, 5, 10, tzinfo=UTC))
        two_days = {"branch_id": "code:south", "period_length": 2, "renewals": 0}
        librarian.post("/api/loan-policies", json=SAME | two_days).raise_for_status()

        kept = measure(librarian, **two_days, closed_days="keep")

        assert loans(kept) == {"examined": 1, "changed": 1, "due_date": 1}

    def test_it_stops_in_time_and_says_so(
        self, librarian: httpx.Client, desk: Desk, library: Library, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(impact, "_USERS_AT_ONCE", 2)
        for _ in range(5):
            user = library.user()
            desk.lend(user)
            desk.lend(user)
            desk.hold(user)

        whole = measure(librarian, lends=False)
        monkeypatch.setattr(impact, "_PATIENCE", -1.0)
        part = measure(librarian, lends=False)

        assert (loans(whole), holds(whole)) == (
            {"examined": 10, "changed": 10, "lending": 10, "renewal": 10},
            {"examined": 5},
        )
        assert whole["complete"]
        assert (loans(part)["examined"], holds(part)["examined"]) == (4, 2)
        assert not part["complete"]

    @pytest.mark.usefixtures("desk")
    def test_it_stores_nothing(self, librarian: httpx.Client) -> None:
        before = librarian.get("/api/loan-policies").json()

        measure(librarian, period_length=1)
        measure(librarian, user_category="teacher")

        assert librarian.get("/api/loan-policies").json() == before

    def test_a_batch_costs_a_handful_of_statements(
        self, librarian: httpx.Client, desk: Desk, library: Library, count_queries: Any
    ) -> None:
        for _ in range(20):
            desk.lend(library.user())
            desk.hold(library.user())

        with count_queries() as statements:
            measure(librarian, period_length=1)

        # Rules, branches, debts, and of loans and holds a batch and the look for another one.
        assert len(statements) == 7, statements

    def test_an_impossible_rule_is_refused(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post(PATH, json=SAME | {"branch_id": "code:nowhere"})

        assert response.status_code == 422
        message = "No branch has the key code:nowhere."
        detail = {"in": "body", "pointer": "/branch_id", "rule": "reference", "message": message}
        assert response.json() == problem(response, "reference_unknown", message, details=[detail])

    def test_members_are_refused(self, member: httpx.Client) -> None:
        response = member.post(PATH, json=SAME)

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"

    def test_anonymous_callers_are_refused(self, client: httpx.Client, problem: Expected) -> None:
        response = client.post(PATH, json=SAME)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")
