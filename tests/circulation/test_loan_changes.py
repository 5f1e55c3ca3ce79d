"""What staff change of loans: due dates, losses, claims and recoveries, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import delete, select

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import TERMS, Library
from tests.people import MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

# A Monday, noon in Berlin.
NOW = datetime(2026, 3, 2, 11, tzinfo=UTC)
SOON = datetime(2026, 3, 9, 17, tzinfo=UTC)
# A Friday; Saturday, Sunday and Monday are open days.
LATE = datetime(2026, 2, 27, 17, tzinfo=UTC)
NOTHING = {"amount": "0.00", "currency": "EUR"}
UNKNOWN = "019b8d2b-8c00-7012-8000-0000000000ff"


class Desk:
    """The present moment, which a test may move."""

    now = NOW


@pytest.fixture(autouse=True)
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    present = Desk()
    monkeypatch.setattr(clock, "now", lambda: present.now)
    return present


@pytest.fixture
def copy(library: Library) -> UUID:
    return library.copy(library.book(), library.branch(), status="on_loan")


@pytest.fixture
def lend(library: Library, copy: UUID) -> Callable[..., UUID]:
    """`lend()`: the copy on loan to the member."""

    def make(**values: Any) -> UUID:
        return library.loan(MEMBER_ID, copy, **{"due_at": SOON, **values})

    return make


@pytest.fixture
def find(sessions: Sessions) -> Callable[..., Any]:
    """`find(Loan, id)`: the row as it is stored."""

    def read(model: Any, identity: UUID) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, identity)

    return read


@pytest.fixture
def owed(sessions: Sessions) -> Callable[[], dict[str, Decimal]]:
    """`owed()`: what is outstanding, by the kind of fee."""

    def read() -> dict[str, Decimal]:
        with unit_of_work(sessions, writing=False) as session:
            return {fee.kind: fee.outstanding for fee in session.scalars(select(Fee))}

    return read


def change(client: httpx.Client, loan: UUID, due_at: str) -> httpx.Response:
    return client.patch(f"/api/loans/{loan}", json={"due_at": due_at})


def do(client: httpx.Client, loan: UUID, deed: str) -> JSON:
    response = client.post(f"/api/loans/{loan}/{deed}")
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def undo(client: httpx.Client, answer: JSON) -> None:
    event = answer["compensation"]["parameters"]["event_id"]
    client.post(f"/api/events/{event}/reversals", json={}).raise_for_status()


class TestChangeDueDate:
    def test_it_is_due_then(
        self,
        librarian: httpx.Client,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        loan = lend(recalled_at=NOW)

        response = change(librarian, loan, "2026-03-20T18:00:00+01:00")

        answer = response.json()
        compensation, shown = answer.pop("compensation"), answer.pop("loan")
        assert answer == {"fee": NOTHING, "refund": NOTHING, "warnings": []}
        assert (shown["due_at"], shown["recalled_at"]) == ("2026-03-20T17:00:00Z", None)
        assert find(Loan, loan).due_at == datetime(2026, 3, 20, 17, tzinfo=UTC)
        event = find(Event, UUID(compensation["parameters"]["event_id"]))
        assert (event.kind, event.subject_id) == ("loan.change_due_date", loan)
        assert [entry.target_id for entry in audit("loan.change_due_date")] == [loan]

    def test_what_was_charged_becomes_what_the_new_date_makes_of_it(
        self, librarian: httpx.Client, lend: Callable[..., UUID], owed: Callable[[], JSON]
    ) -> None:
        loan = lend(due_at=SOON)
        late = change(librarian, loan, "2026-02-27T17:00:00Z").json()
        assert (late["fee"]["amount"], late["loan"]["overdue"]) == ("0.60", True)
        assert owed() == {"overdue": Decimal("0.60")}

        later = change(librarian, loan, "2026-02-28T17:00:00Z").json()
        assert (later["fee"]["amount"], owed()) == ("0.40", {"overdue": Decimal("0.40")})

        soon = change(librarian, loan, "2026-03-09T17:00:00Z").json()
        assert (soon["fee"], owed()) == (NOTHING, {"overdue": Decimal("0.00")})

    def test_it_can_be_taken_back(
        self, librarian: httpx.Client, lend: Callable[..., UUID], find: Callable[..., Any]
    ) -> None:
        loan = lend()
        undo(librarian, change(librarian, loan, "2026-03-20T17:00:00Z").json())
        assert find(Loan, loan).due_at == SOON

    @pytest.mark.parametrize(
        "due_at", ["2026-01-05T10:00:00Z", "2036-03-12T00:00:00Z", "9999-12-31T23:59:59Z"]
    )
    def test_not_before_it_was_lent_and_not_in_ages(
        self, librarian: httpx.Client, lend: Callable[..., UUID], due_at: str, problem: Expected
    ) -> None:
        response = change(librarian, lend(), due_at)

        message = "The loan cannot be due before it was made, or in more than ten years."
        fault = {"in": "body", "pointer": "/due_at", "rule": "range", "message": message}
        assert response.json() == problem(response, "due_date_impossible", message, details=[fault])

    @pytest.mark.parametrize("status", ["lost", "claimed_returned", "returned"])
    def test_only_while_it_is_open(
        self, librarian: httpx.Client, lend: Callable[..., UUID], status: str, problem: Expected
    ) -> None:
        ended = {"returned_at": NOW} if status == "returned" else {}

        response = change(librarian, lend(status=status, **ended), "2026-03-20T17:00:00Z")

        message = f"The loan is {status.replace('_', ' ')}."
        fault = {"in": "path", "pointer": "/loan_id", "rule": "status", "message": message}
        assert response.json() == problem(
            response, "loan_status_forbids", message, details=[{**fault, "allowed": ["open"]}]
        )


class TestDeclareLoanLost:
    def test_the_copy_is_lost_and_charged_as_was_agreed(
        self,
        librarian: httpx.Client,
        copy: UUID,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        owed: Callable[[], JSON],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        loan = lend(due_at=LATE)

        answer = do(librarian, loan, "losses")

        compensation, shown = answer.pop("compensation"), answer.pop("loan")
        cost = {"amount": "25.00", "currency": "EUR"}
        assert answer == {"fee": cost, "refund": NOTHING, "warnings": []}
        assert (shown["status"], shown["overdue"], shown["returned_at"]) == ("lost", False, None)
        assert find(Copy, copy).status == "lost"
        assert owed() == {"overdue": Decimal("0.60"), "lost": Decimal("25.00")}
        event = find(Event, UUID(compensation["parameters"]["event_id"]))
        assert (event.kind, event.user_id) == ("loan.declare_lost", MEMBER_ID)
        assert event.data["copy_status"] == ["on_loan", "lost"]
        assert [entry.target_id for entry in audit("loan.declare_lost")] == [loan]

    def test_a_loss_that_costs_nothing(
        self, librarian: httpx.Client, lend: Callable[..., UUID], owed: Callable[[], JSON]
    ) -> None:
        answer = do(librarian, lend(terms={**TERMS, "lost_fee": "0.00"}), "losses")
        assert (answer["fee"], owed()) == (NOTHING, {})

    def test_it_can_be_taken_back(
        self,
        librarian: httpx.Client,
        copy: UUID,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        owed: Callable[[], JSON],
    ) -> None:
        loan = lend()
        undo(librarian, do(librarian, loan, "losses"))
        assert (find(Loan, loan).status, find(Copy, copy).status) == ("open", "on_loan")
        assert owed() == {"lost": Decimal("0.00")}

    def test_what_is_lost_is_not_lost_again(
        self, librarian: httpx.Client, lend: Callable[..., UUID]
    ) -> None:
        loan = lend()
        do(librarian, loan, "losses")
        response = librarian.post(f"/api/loans/{loan}/losses")
        assert (response.status_code, response.json()["code"]) == (409, "loan_status_forbids")
        assert response.json()["details"][0]["allowed"] == ["open", "claimed_returned"]


class TestClaimLoanReturned:
    def test_the_copy_is_missing_and_costs_no_more(
        self,
        librarian: httpx.Client,
        copy: UUID,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        desk: Desk,
        owed: Callable[[], JSON],
    ) -> None:
        loan = lend(due_at=LATE)

        answer = do(librarian, loan, "claims")

        assert answer["loan"]["status"] == "claimed_returned"
        assert (answer["loan"]["overdue"], answer["fee"]["amount"]) == (False, "0.60")
        assert find(Copy, copy).status == "missing"
        desk.now = datetime(2026, 3, 30, 11, tzinfo=UTC)
        librarian.post("/api/returns", json={"copy": str(copy)}).raise_for_status()
        assert owed() == {"overdue": Decimal("0.60")}

    def test_what_is_not_found_may_be_declared_lost(
        self, librarian: httpx.Client, copy: UUID, lend: Callable[..., UUID], find: Any
    ) -> None:
        loan = lend()
        do(librarian, loan, "claims")
        assert do(librarian, loan, "losses")["loan"]["status"] == "lost"
        assert find(Copy, copy).status == "lost"

    def test_only_while_it_is_open(
        self, librarian: httpx.Client, lend: Callable[..., UUID]
    ) -> None:
        loan = lend(status="lost")
        response = librarian.post(f"/api/loans/{loan}/claims")
        assert (response.status_code, response.json()["code"]) == (409, "loan_status_forbids")


class TestRecoverLoan:
    def test_the_loan_goes_on_and_the_loss_costs_nothing(
        self,
        librarian: httpx.Client,
        copy: UUID,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        owed: Callable[[], JSON],
    ) -> None:
        loan = lend()
        do(librarian, loan, "losses")
        (fee,) = librarian.get("/api/fees").json()["items"]
        paid = {"amount": "5.00"}
        librarian.post(f"/api/fees/{fee['id']}/payments", json=paid).raise_for_status()

        answer = do(librarian, loan, "recoveries")

        refund = {"amount": "5.00", "currency": "EUR"}
        assert (answer["fee"], answer["refund"]) == (NOTHING, refund)
        assert (answer["loan"]["status"], answer["loan"]["due_at"]) == (
            "open",
            "2026-03-09T17:00:00Z",
        )
        assert find(Copy, copy).status == "on_loan"
        assert owed() == {"lost": Decimal("0.00")}

    def test_the_time_in_between_costs_nothing_and_what_comes_does(
        self,
        librarian: httpx.Client,
        copy: UUID,
        lend: Callable[..., UUID],
        desk: Desk,
        owed: Callable[[], JSON],
    ) -> None:
        loan = lend(due_at=LATE)
        do(librarian, loan, "claims")
        desk.now = datetime(2026, 3, 16, 11, tzinfo=UTC)

        answer = do(librarian, loan, "recoveries")

        # Until the desk closes on that day.
        assert answer["loan"]["due_at"] == "2026-03-16T17:00:00Z"
        assert owed() == {"overdue": Decimal("0.60")}
        desk.now = datetime(2026, 3, 18, 11, tzinfo=UTC)
        back = librarian.post("/api/returns", json={"copy": str(copy)}).json()
        assert back["fee"]["amount"] == "0.40"
        assert owed() == {"overdue": Decimal("1.00")}

    def test_after_closing_time_it_is_due_on_the_next_day(
        self, librarian: httpx.Client, lend: Callable[..., UUID], desk: Desk
    ) -> None:
        loan = lend(due_at=LATE, status="claimed_returned")
        desk.now = datetime(2026, 3, 16, 20, tzinfo=UTC)
        due_at = do(librarian, loan, "recoveries")["loan"]["due_at"]
        assert due_at == "2026-03-17T17:00:00Z"

    def test_it_can_be_taken_back(
        self,
        librarian: httpx.Client,
        copy: UUID,
        lend: Callable[..., UUID],
        find: Callable[..., Any],
        owed: Callable[[], JSON],
    ) -> None:
        loan = lend()
        do(librarian, loan, "losses")
        undo(librarian, do(librarian, loan, "recoveries"))
        assert (find(Loan, loan).status, find(Copy, copy).status) == ("lost", "lost")
        assert owed() == {"lost": Decimal("25.00")}

    def test_a_copy_that_was_written_off_is_not_on_loan_again(
        self, librarian: httpx.Client, library: Library
    ) -> None:
        copy = library.copy(library.book(), library.branch(), status="withdrawn")
        loan = library.loan(MEMBER_ID, copy, status="lost")

        response = librarian.post(f"/api/loans/{loan}/recoveries")

        assert (response.status_code, response.json()["code"]) == (409, "copy_state_refused")

    def test_a_copy_that_has_left_the_catalogue_is_not_on_loan_again(
        self,
        librarian: httpx.Client,
        library: Library,
        sessions: Sessions,
        problem: Expected,
    ) -> None:
        withdrawn = library.copy(library.book(), library.branch(), status="withdrawn")
        loan = library.loan(MEMBER_ID, withdrawn, status="lost")
        with unit_of_work(sessions, writing=True) as session:
            session.execute(delete(Copy).where(Copy.id == withdrawn))

        response = librarian.post(f"/api/loans/{loan}/recoveries")

        message = "The copy has left the catalogue."
        fault = {"in": "path", "pointer": "/loan_id", "rule": "copy", "message": message}
        assert response.json() == problem(response, "copy_gone", message, details=[fault])

    def test_only_what_is_not_there(self, librarian: httpx.Client, lend: Any) -> None:
        response = librarian.post(f"/api/loans/{lend()}/recoveries")
        assert response.json()["details"][0]["allowed"] == ["lost", "claimed_returned"]


class TestAccess:
    @pytest.fixture(params=["PATCH", "losses", "claims", "recoveries"])
    def call(self, request: pytest.FixtureRequest) -> Callable[[httpx.Client], httpx.Response]:
        def send(client: httpx.Client) -> httpx.Response:
            if request.param == "PATCH":
                return client.patch(
                    f"/api/loans/{UNKNOWN}", json={"due_at": "2026-03-20T17:00:00Z"}
                )
            return client.post(f"/api/loans/{UNKNOWN}/{request.param}")

        return send

    def test_a_loan_that_is_not_there_is_404(
        self,
        librarian: httpx.Client,
        call: Callable[[httpx.Client], httpx.Response],
        problem: Expected,
    ) -> None:
        response = call(librarian)
        message = f"No loan has the id {UNKNOWN}."
        assert response.json() == problem(response, "not_found", message)

    def test_it_is_for_staff(
        self,
        client: httpx.Client,
        member: httpx.Client,
        call: Callable[[httpx.Client], httpx.Response],
    ) -> None:
        assert call(client).status_code == 401
        refused = call(member)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
