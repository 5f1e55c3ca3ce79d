"""Lists of loans, and one loan: what they hold, who sees them, and what they cost."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk import clock
from circdesk.catalog.models import BookISBN
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

NOW = datetime(2026, 3, 2, 11, tzinfo=UTC)
SOON = datetime(2026, 3, 9, 17, tzinfo=UTC)
LATE = datetime(2026, 2, 27, 17, tzinfo=UTC)
ISBN = "9780441478125"
UNKNOWN = "019b8d2b-8c00-7012-8000-0000000000ff"


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def branch(library: Library) -> UUID:
    return library.branch(code="central")


@pytest.fixture
def lend(library: Library, branch: UUID) -> Callable[..., UUID]:
    """`lend(user)`: a new copy of a new book on loan to the member, or to another user."""

    def make(user: UUID = MEMBER_ID, copy: UUID | None = None, **values: Any) -> UUID:
        copy = copy or library.copy(library.book(), branch, status="on_loan")
        return library.loan(user, copy, **{"due_at": SOON, **values})

    return make


def ids(client: httpx.Client, path: str = "/api/loans", **query: Any) -> list[str]:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


class TestListLoans:
    def test_all_of_them_by_when_they_are_due(
        self, librarian: httpx.Client, library: Library, branch: UUID
    ) -> None:
        book = library.book()
        copy = library.copy(book, branch, status="on_loan")
        policy = library.policy()
        loan = library.loan(MEMBER_ID, copy, due_at=SOON, policy_id=policy)

        response = librarian.get("/api/loans")

        item = {
            "id": str(loan),
            "user_id": str(MEMBER_ID),
            "copy_id": str(copy),
            "book_id": str(book),
            "branch_id": str(branch),
            "material_type": "book",
            "status": "open",
            "lent_at": "2026-01-05T10:00:00Z",
            "due_at": "2026-03-09T17:00:00Z",
            "overdue": False,
            "returned_at": None,
            "renewals": 0,
            "renewed_at": None,
            "recalled_at": None,
            "policy_id": str(policy),
            "renewable": {"allowed": True, "blockers": [], "due_at": "2026-03-30T16:00:00Z"},
            "created_at": "2026-03-02T11:00:00Z",
            "updated_at": "2026-03-02T11:00:00Z",
        }
        assert response.json() == {
            "items": [item],
            "page": 1,
            "per_page": 20,
            "total": 1,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/loans", "first": "/api/loans"},
        }

    @pytest.fixture
    def loans(self, library: Library, lend: Callable[..., UUID]) -> dict[str, str]:
        """One loan of each kind, by name."""
        north = library.branch(code="north")
        user = library.user(card_number="90001")
        book = library.book(isbns=[BookISBN(isbn=ISBN, position=0)])
        there = library.copy(book, north, barcode="30001", status="on_loan")
        returned_at = datetime(2026, 2, 20, tzinfo=UTC)
        lent_at = datetime(2026, 1, 7, tzinfo=UTC)
        made = {
            "there": lend(user, there, lent_at=lent_at),
            "late": lend(due_at=LATE),
            "lost": lend(due_at=LATE, status="lost"),
            "returned": lend(due_at=LATE, status="returned", returned_at=returned_at),
        }
        return {str(loan): name for name, loan in made.items()}

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"user": "card:90001"}, {"there"}),
            ({"user": str(MEMBER_ID)}, {"late", "lost", "returned"}),
            ({"copy": "barcode:30001"}, {"there"}),
            ({"book": f"isbn:{ISBN}"}, {"there"}),
            ({"book": "isbn:9780306406157"}, set()),
            ({"branch": "code:north"}, {"there"}),
            ({"branch": "code:central"}, {"late", "lost", "returned"}),
            ({"branch": "code:nowhere"}, set()),
            ({"status": "open"}, {"there", "late"}),
            ({"status": "lost"}, {"lost"}),
            ({"status": "returned"}, {"returned"}),
            ({"overdue": "true"}, {"late"}),
            ({"overdue": "false"}, {"there", "lost", "returned"}),
            ({"due_before": "2026-03-01T00:00:00Z"}, {"late", "lost", "returned"}),
            ({"due_after": "2026-03-09T17:00:00Z"}, {"there"}),
            ({"due_after": "2026-03-09T17:00:01Z"}, set()),
        ],
    )
    def test_filters(
        self, librarian: httpx.Client, loans: dict[str, str], query: JSON, names: set[str]
    ) -> None:
        assert {loans[loan] for loan in ids(librarian, **query)} == names

    @pytest.mark.usefixtures("loans")
    def test_a_copy_and_a_book_by_their_ids(self, librarian: httpx.Client) -> None:
        (loan,) = librarian.get("/api/loans", params={"copy": "barcode:30001"}).json()["items"]

        assert ids(librarian, copy=loan["copy_id"]) == [loan["id"]]
        assert ids(librarian, book=loan["book_id"]) == [loan["id"]]

    def test_orders(self, librarian: httpx.Client, loans: dict[str, str]) -> None:
        assert loans[ids(librarian)[-1]] == "there"
        assert loans[ids(librarian, sort="-due_at")[0]] == "there"
        assert loans[ids(librarian, sort="-lent_at")[0]] == "there"

    def test_a_cursor_walks_it(self, librarian: httpx.Client, loans: dict[str, str]) -> None:
        cursor, seen = "start", []
        while cursor:
            query: JSON = {"cursor": cursor, "per_page": 1}
            page = librarian.get("/api/loans", params=query).json()
            seen += [item["id"] for item in page["items"]]
            cursor = page["next_cursor"]
        assert seen == ids(librarian)
        assert {*seen} == loans.keys()

    def test_a_wrong_isbn_is_422_with_the_right_one(self, librarian: httpx.Client) -> None:
        response = librarian.get("/api/loans", params={"book": "isbn:9780441478124"})
        assert (response.status_code, response.json()["code"]) == (422, "isbn_invalid")
        (call,) = response.json()["suggestions"]
        assert call["operation_id"] == "list_loans"
        assert call["parameters"] == {"book": f"isbn:{ISBN}"}

    def test_members_do_not_see_it(self, client: httpx.Client, member: httpx.Client) -> None:
        assert client.get("/api/loans").status_code == 401
        refused = member.get("/api/loans")
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


class TestGetLoan:
    def test_staff_see_each_and_members_their_own(
        self, librarian: httpx.Client, member: httpx.Client, lend: Callable[..., UUID]
    ) -> None:
        loan = lend()
        response = member.get(f"/api/loans/{loan}")
        assert response.json() == librarian.get(f"/api/loans/{loan}").json()
        assert response.json()["user_id"] == str(MEMBER_ID)
        blockers = response.json()["renewable"]["blockers"]
        assert [each["code"] for each in blockers] == ["no_loan_policy"]

    def test_any_other_is_404(
        self, member: httpx.Client, lend: Callable[..., UUID], problem: Expected
    ) -> None:
        for loan in (str(lend(LIBRARIAN_ID)), UNKNOWN):
            response = member.get(f"/api/loans/{loan}")
            assert response.json() == problem(response, "not_found", f"No loan has the id {loan}.")

    def test_an_anonymous_caller_is_401(self, client: httpx.Client) -> None:
        assert client.get(f"/api/loans/{UNKNOWN}").status_code == 401


class TestListMyLoans:
    def test_each_tells_whether_it_can_be_renewed(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        policy = library.policy()
        lend(LIBRARIAN_ID)
        can, cannot = lend(), lend(renewals=2)
        ended = lend(status="returned", returned_at=NOW)

        items = member.get("/api/me/loans").json()["items"]

        found = {item["id"]: item["renewable"] for item in items}
        limit = {"current": 2, "allowed": 2, "policy_id": str(policy)}
        assert found == {
            str(can): {"allowed": True, "blockers": [], "due_at": "2026-03-30T16:00:00Z"},
            str(cannot): {
                "allowed": False,
                "blockers": [
                    {
                        "code": "renewal_limit",
                        "message": "The loan was renewed as often as the rule allows.",
                        "values": limit,
                        "permission": "circulation:override",
                    }
                ],
                "due_at": "2026-03-30T16:00:00Z",
            },
            str(ended): None,
        }

    def test_it_says_what_the_renewal_says(
        self, member: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy(renewable_days=3)
        loan = lend()

        (item,) = member.get("/api/me/loans").json()["items"]
        refused = member.post(f"/api/loans/{loan}/renewals", json={}).json()["decision"]

        assert item["renewable"] == {
            "allowed": refused["allowed"],
            "blockers": refused["blockers"],
            "due_at": refused["result"]["due_at"],
        }

    def test_filters(self, member: httpx.Client, lend: Callable[..., UUID]) -> None:
        late, lost = str(lend(due_at=LATE)), str(lend(status="lost"))
        path = "/api/me/loans"
        assert ids(member, path, overdue="true") == [late]
        assert ids(member, path, status="lost") == [lost]
        assert ids(member, path, sort="-due_at") == [lost, late]

    def test_a_long_list_costs_no_more_than_a_short_one(
        self,
        member: httpx.Client,
        library: Library,
        lend: Callable[..., UUID],
        count_queries: CountQueries,
    ) -> None:
        library.policy()
        for _ in range(12):
            lend()
        member.get("/api/me").raise_for_status()
        costs = []
        for number in (1, 10):
            with count_queries() as statements:
                member.get("/api/me/loans", params={"per_page": number}).raise_for_status()
            costs.append(len(statements))
        assert costs[0] == costs[1] <= 7

    def test_an_anonymous_caller_is_401(self, client: httpx.Client) -> None:
        assert client.get("/api/me/loans").status_code == 401


class TestListUserLoans:
    def test_staff_see_those_of_each_user_by_id_and_card(
        self, librarian: httpx.Client, library: Library, lend: Callable[..., UUID]
    ) -> None:
        library.policy()
        loan = str(lend())
        for key in (str(MEMBER_ID), "card:20001"):
            response = librarian.get(f"/api/users/{key}/loans")
            (item,) = response.json()["items"]
            assert item["id"] == loan
            assert item["renewable"]["allowed"]

    def test_members_see_their_own(self, member: httpx.Client, lend: Callable[..., UUID]) -> None:
        loan = str(lend())
        assert ids(member, f"/api/users/{MEMBER_ID}/loans", status="open") == [loan]

    def test_any_other_user_is_404(self, member: httpx.Client, problem: Expected) -> None:
        for key in (str(LIBRARIAN_ID), UNKNOWN, "card:nobody"):
            response = member.get(f"/api/users/{key}/loans")
            message = f"No user has the key {key}."
            assert response.json() == problem(response, "not_found", message)

    def test_an_anonymous_caller_is_401(self, client: httpx.Client) -> None:
        assert client.get(f"/api/users/{MEMBER_ID}/loans").status_code == 401
