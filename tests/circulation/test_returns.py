"""Returns: what becomes of a copy, its loan, and whoever waits, on both databases."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Engine, null, select

from circdesk import clock
from circdesk.audit.models import AuditEntry
from circdesk.auth.scopes import ROLE_SCOPES
from circdesk.catalog.models import Copy
from circdesk.circulation import return_facts
from circdesk.circulation.models import Fee, Hold, LedgerEntry, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import TERMS, Library
from tests.conftest import CountQueries

JSON = dict[str, Any]
Expected = Callable[..., JSON]

# A Monday, noon in Berlin; loans of the library are due on the 2nd of February.
NOW = datetime(2026, 3, 2, 11, tzinfo=UTC)
SOON = datetime(2026, 3, 9, 17, tzinfo=UTC)
NOTHING = {"amount": "0.00", "currency": "EUR"}
LATE: JSON = {
    "code": "loan_overdue",
    "message": "The loan is overdue.",
    "values": {"due_at": "2026-02-27T17:00:00Z"},
    "permission": None,
}
NOT_LENT: JSON = {
    "code": "no_open_loan",
    "message": "The copy was not on loan.",
    "values": {},
    "permission": None,
}


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


@pytest.fixture
def branch(library: Library) -> UUID:
    return library.branch()


@pytest.fixture
def book(library: Library) -> UUID:
    return library.book()


@pytest.fixture
def find(sessions: Sessions) -> Callable[..., Any]:
    """`find(Loan, id)`: the row as it is stored."""

    def read(model: Any, identity: UUID) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, identity)

    return read


def give_back(client: httpx.Client, copy: UUID | str, **more: Any) -> JSON:
    response = client.post("/api/returns", json={"copy": str(copy), **more})
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def decide(client: httpx.Client, copy: UUID | str, **more: Any) -> JSON:
    question = {"action": "return", "copy": str(copy), **more}
    response = client.post("/api/decisions", json=question)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def lend(library: Library, book: UUID, branch: UUID, **loan: Any) -> tuple[UUID, UUID, UUID]:
    """A user with a copy on loan: the ids of the three."""
    user, copy = library.user(), library.copy(book, branch, status="on_loan")
    return user, copy, library.loan(user, copy, **{"due_at": SOON, **loan})


class TestReturnCopy:
    def test_a_copy_that_comes_back_ends_its_loan_and_goes_on_the_shelf(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        find: Callable[..., Any],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        user, copy, loan = lend(library, book, branch)

        answer = give_back(librarian, copy)

        compensation, shown = answer.pop("compensation"), answer.pop("loan")
        assert answer == {
            "copy_id": str(copy),
            "copy_status": "available",
            "next_step": "shelve",
            "branch_id": None,
            "hold": None,
            "fee": NOTHING,
            "refund": NOTHING,
            "warnings": [],
        }
        assert shown["id"] == str(loan)
        assert (shown["status"], shown["returned_at"]) == ("returned", "2026-03-02T11:00:00Z")
        assert compensation["operation_id"] == "reverse_event"
        assert compensation["deadline"] == "2026-03-02T11:30:00Z"
        stored = find(Loan, loan)
        assert (stored.status, stored.returned_at, stored.user_id) == ("returned", NOW, user)
        assert find(Copy, copy).status == "available"
        event = find(Event, UUID(compensation["parameters"]["event_id"]))
        assert (event.kind, event.subject_id, event.user_id) == ("loan.return", loan, user)
        assert event.data == {
            "branch_id": str(branch),
            "copy_id": str(copy),
            "copy_status": ["on_loan", "available"],
        }
        (entry,) = audit("loan.return")
        assert (entry.target_id, entry.details) == (loan, {"branch_id": str(branch)})

    def test_the_same_is_said_by_a_barcode_and_decided_before(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        user = library.user()
        copy = library.copy(book, branch, status="on_loan", barcode="30001")
        library.loan(user, copy, due_at=SOON)

        decision = decide(librarian, "barcode:30001")

        token = decision.pop("plan_token")
        assert decision == {
            "action": "return",
            "allowed": True,
            "blockers": [],
            "confirmations": [],
            "warnings": [],
            "rule": None,
            "result": {
                "copy_status": "available",
                "next_step": "shelve",
                "branch_id": None,
                "fee": NOTHING,
            },
            "next_allowed_at": None,
        }
        assert give_back(librarian, "barcode:30001", plan_token=token)["next_step"] == "shelve"

    def test_a_plan_is_outdated_once_somebody_waits(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        _, copy, _ = lend(library, book, branch)
        token = decide(librarian, copy)["plan_token"]
        hold = library.hold(library.user(), book, branch)

        response = librarian.post("/api/returns", json={"copy": str(copy), "plan_token": token})

        assert (response.status_code, response.json()["code"]) == (412, "plan_outdated")
        fresh = response.json()["decision"]
        assert fresh["result"]["hold_id"] == str(hold)
        assert give_back(librarian, copy, plan_token=fresh["plan_token"])["hold"]["id"] == str(hold)

    def test_it_is_set_aside_for_the_first_who_waits(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        find: Callable[..., Any],
    ) -> None:
        _, copy, _ = lend(library, book, branch)
        waiting = library.user()
        first = library.hold(waiting, book, branch)
        library.hold(library.user(), book, branch)

        answer = give_back(librarian, copy)

        assert (answer["copy_status"], answer["next_step"]) == ("on_hold_shelf", "hold_shelf")
        assert answer["hold"] == {
            "id": str(first),
            "user_id": str(waiting),
            "pickup_branch_id": str(branch),
            "shelf_expires_at": "2026-03-09T17:00:00Z",
        }
        hold = find(Hold, first)
        assert (hold.status, hold.trapped_copy_id, hold.ready_at) == ("ready", copy, NOW)

    def test_whoever_may_not_read_it_does_not_learn_whose_turn_it_is(
        self, client: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        _, copy, _ = lend(library, book, branch)
        library.hold(library.user(), book, branch)
        scopes = ROLE_SCOPES["librarian"] - {"circulation:read"}
        key = library.key(library.user("librarian"), "librarian", scopes=scopes)

        response = client.post("/api/returns", json={"copy": str(copy)}, headers=key)

        assert response.json()["hold"]["user_id"] is None

    def test_it_is_sent_to_the_branch_where_it_is_picked_up(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        find: Callable[..., Any],
    ) -> None:
        _, copy, _ = lend(library, book, branch)
        there = library.branch(code="there")
        hold = library.hold(library.user(), book, there)

        sent = give_back(librarian, copy)

        assert (sent["copy_status"], sent["next_step"]) == ("in_transit", "transfer")
        assert (sent["branch_id"], sent["hold"]["id"]) == (str(there), str(hold))
        assert sent["hold"]["shelf_expires_at"] is None
        assert find(Hold, hold).status == "in_transit"

        arrived = give_back(librarian, copy, branch="code:there")

        assert (arrived["copy_status"], arrived["next_step"]) == ("on_hold_shelf", "hold_shelf")
        assert (arrived["branch_id"], arrived["hold"]["id"]) == (None, str(hold))
        assert find(Hold, hold).status == "ready"

    def test_without_anybody_waiting_it_is_sent_home(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        _, copy, _ = lend(library, book, branch)
        library.branch(code="there")

        sent = give_back(librarian, copy, branch="code:there")
        assert (sent["copy_status"], sent["branch_id"]) == ("in_transit", str(branch))
        assert sent["loan"]["status"] == "returned"

        home = give_back(librarian, copy)
        assert (home["copy_status"], home["next_step"]) == ("available", "shelve")
        assert home["loan"] is None

    def test_what_is_overdue_is_charged_by_the_open_days(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        sessions: Sessions,
    ) -> None:
        # Due on a Friday; Saturday, Sunday and today are open days.
        due_at = datetime(2026, 2, 27, 17, tzinfo=UTC)
        user, copy, loan = lend(library, book, branch, due_at=due_at)
        decided = decide(librarian, copy)

        answer = give_back(librarian, copy)

        assert answer["fee"] == decided["result"]["fee"] == {"amount": "0.60", "currency": "EUR"}
        assert answer["warnings"] == decided["warnings"] == [LATE]
        with unit_of_work(sessions, writing=False) as session:
            fee = session.scalars(select(Fee)).one()
            entry = session.scalars(select(LedgerEntry)).one()
        assert (fee.user_id, fee.loan_id, fee.kind) == (user, loan, "overdue")
        assert fee.outstanding == entry.amount == Decimal("0.60")

    def test_what_was_charged_already_is_not_charged_again(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        sessions: Sessions,
    ) -> None:
        due_at = datetime(2026, 2, 27, 17, tzinfo=UTC)
        user, copy, loan = lend(library, book, branch, due_at=due_at)
        amounts = {"amount": Decimal("0.60"), "outstanding": Decimal("0.10")}
        library.store(
            Fee(
                user_id=user,
                loan_id=loan,
                kind="overdue",
                loan_renewals=0,
                earlier=Decimal("0.00"),
                **amounts,
            )
        )

        assert give_back(librarian, copy)["fee"]["amount"] == "0.60"

        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(LedgerEntry)).all() == []

    def test_a_lost_copy_that_turns_up_costs_nothing_any_more(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        _, copy, loan = lend(library, book, branch)
        librarian.post(f"/api/loans/{loan}/losses").raise_for_status()
        fee = librarian.get("/api/fees", params={"kind": "lost"}).json()["items"][0]
        paid = {"amount": "10.00"}
        librarian.post(f"/api/fees/{fee['id']}/payments", json=paid).raise_for_status()

        answer = give_back(librarian, copy)

        assert answer["refund"] == {"amount": "10.00", "currency": "EUR"}
        assert [reason["code"] for reason in answer["warnings"]] == ["copy_found"]
        assert (answer["copy_status"], answer["loan"]["status"]) == ("available", "returned")
        fee = librarian.get(f"/api/fees/{fee['id']}").json()
        assert (fee["amount"]["amount"], fee["outstanding"]["amount"]) == ("0.00", "0.00")

    def test_a_copy_that_was_said_to_be_back_and_is(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        _, copy, loan = lend(library, book, branch)
        librarian.post(f"/api/loans/{loan}/claims").raise_for_status()

        answer = give_back(librarian, copy)

        assert [reason["code"] for reason in answer["warnings"]] == ["copy_found"]
        assert (answer["copy_status"], answer["loan"]["status"]) == ("available", "returned")

    @pytest.mark.parametrize("status", ["missing", "lost", "on_order"])
    def test_a_copy_that_turns_up_without_a_loan(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        status: str,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        copy = library.copy(book, branch, status=status)

        answer = give_back(librarian, copy)

        assert (answer["copy_status"], answer["next_step"]) == ("available", "shelve")
        assert answer["warnings"][0] == NOT_LENT
        found = status in ("missing", "lost")
        assert ("copy_found" in [each["code"] for each in answer["warnings"]]) == found
        assert answer["compensation"] is not None
        assert [entry.target_id for entry in audit("copy.return")] == [copy]

    def test_a_copy_that_stays_what_and_where_it_was_is_no_event(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        sessions: Sessions,
    ) -> None:
        shelved = library.copy(book, branch)
        held = library.copy(book, branch, status="on_hold_shelf")
        library.hold(library.user(), book, branch, status="ready", trapped_copy_id=held)

        assert give_back(librarian, shelved)["compensation"] is None
        again = give_back(librarian, held)

        assert (again["next_step"], again["compensation"]) == ("hold_shelf", None)
        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(Event)).all() == []

    def test_a_copy_of_the_shelf_is_set_aside_when_it_is_fetched(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        copy = library.copy(book, branch)
        library.hold(library.user(), book, branch)

        assert give_back(librarian, copy)["copy_status"] == "on_hold_shelf"

    @pytest.mark.parametrize(
        ("status", "next_step"), [("in_repair", "repair"), ("withdrawn", "inspect")]
    )
    def test_a_copy_that_was_written_off_since_ends_its_loan_and_stays_so(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        status: str,
        next_step: str,
    ) -> None:
        copy = library.copy(book, branch, status=status)
        library.loan(library.user(), copy, status="lost")
        library.hold(library.user(), book, branch)

        answer = give_back(librarian, copy)

        assert (answer["copy_status"], answer["next_step"]) == (status, next_step)
        assert (answer["hold"], answer["loan"]["status"]) == (None, "returned")

    def test_a_withdrawn_copy_is_not_returned(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        problem: Expected,
    ) -> None:
        copy = library.copy(book, branch, status="withdrawn")
        decision = decide(librarian, copy)
        assert not decision["allowed"]

        response = librarian.post("/api/returns", json={"copy": str(copy)})

        message = "The copy was withdrawn."
        fault = {"in": "body", "pointer": "", "rule": "copy_withdrawn", "message": message}
        assert response.status_code == 409
        assert response.json() == problem(
            response, "action_refused", message, details=[fault], decision=decision
        )

    def test_a_damaged_copy_is_returned_where_staff_say_so(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        copy = library.copy(book, branch, status="in_repair")
        response = librarian.post("/api/returns", json={"copy": str(copy)})
        assert response.status_code == 409

        override = {"codes": ["copy_damaged"], "comment": "It was mended."}
        assert decide(librarian, copy, override=override)["allowed"]
        assert give_back(librarian, copy, override=override)["copy_status"] == "available"

        (entry,) = audit("copy.return")
        lifted = {"overridden": ["copy_damaged"], "comment": "It was mended."}
        assert entry.details == {"branch_id": str(branch), **lifted}

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"copy": "barcode:nothing"}, "copy_unknown"),
            ({"copy": str(uuid4())}, "copy_unknown"),
            ({"copy": "barcode:30001", "branch": "code:nowhere"}, "branch_unknown"),
        ],
    )
    def test_what_is_not_there(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        body: JSON,
        code: str,
    ) -> None:
        library.copy(book, branch, barcode="30001")

        response = librarian.post("/api/returns", json=body)

        assert (response.status_code, response.json()["code"]) == (409, "action_refused")
        assert [each["code"] for each in response.json()["decision"]["blockers"]] == [code]

    def test_it_can_be_taken_back(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        find: Callable[..., Any],
    ) -> None:
        _, copy, loan = lend(library, book, branch, due_at=datetime(2026, 2, 27, 17, tzinfo=UTC))
        hold = library.hold(library.user(), book, branch)
        event = give_back(librarian, copy)["compensation"]["parameters"]["event_id"]

        librarian.post(f"/api/events/{event}/reversals", json={}).raise_for_status()

        assert (find(Loan, loan).status, find(Loan, loan).returned_at) == ("open", None)
        assert find(Copy, copy).status == "on_loan"
        assert (find(Hold, hold).status, find(Hold, hold).trapped_copy_id) == ("waiting", None)
        owed = librarian.get("/api/fees").json()["items"]
        assert [fee["outstanding"]["amount"] for fee in owed] == ["0.00"]

    def test_an_anonymous_caller_is_401_and_a_member_is_403(
        self, client: httpx.Client, member: httpx.Client
    ) -> None:
        body = {"copy": "barcode:30001"}
        assert client.post("/api/returns", json=body).status_code == 401
        refused = member.post("/api/returns", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
        asked = member.post("/api/decisions", json={"action": "return", **body})
        assert (asked.status_code, asked.json()["code"]) == (403, "scope_missing")


# A Friday; the three days until the present are open days and cost 0.60.
DUE = datetime(2026, 2, 27, 17, tzinfo=UTC)


@dataclass(frozen=True)
class Scene:
    """A copy that is about to be returned, and who changes what is owed for it until then."""

    librarian: httpx.Client
    library: Library
    user: UUID
    loan: UUID

    def charged(self, amount: str, outstanding: str | None = None) -> None:
        """The worker has charged something, of which a part may be paid."""
        self.library.store(
            Fee(
                user_id=self.user,
                loan_id=self.loan,
                kind="overdue",
                loan_renewals=0,
                earlier=Decimal("0.00"),
                amount=Decimal(amount),
                outstanding=Decimal(outstanding or amount),
            )
        )

    def lost(self, **settled: str) -> None:
        """The copy was given up, and of its fee so much settled, as `payments` or `waivers`."""
        self.librarian.post(f"/api/loans/{self.loan}/losses").raise_for_status()
        fee = self.librarian.get("/api/fees", params={"kind": "lost"}).json()["items"][0]
        for how, amount in settled.items():
            path = f"/api/fees/{fee['id']}/{how}"
            body = {"amount": amount, "comment": "Agreed."}
            self.librarian.post(path, json=body).raise_for_status()


def nothing(_scene: Scene) -> None:
    """It is in time, or nothing was charged yet."""


def accrued(scene: Scene) -> None:
    scene.charged("0.60")


def accrued_in_part(scene: Scene) -> None:
    scene.charged("0.20")


def accrued_too_much_and_paid(scene: Scene) -> None:
    scene.charged("1.00", "0.20")


def lost(scene: Scene) -> None:
    scene.lost()


def lost_and_paid(scene: Scene) -> None:
    scene.lost(payments="10.00", waivers="5.00")


# SQLite, which has no round trips, takes a statement for each kind of row that is stored.
MOST_STATEMENTS = {"postgresql": 6, "sqlite": 9}


class TestStatements:
    """How many statements it takes, beside those of event and audit log."""

    @pytest.mark.parametrize(
        ("due_at", "before"),
        [
            (SOON, nothing),
            (DUE, nothing),
            (DUE, accrued),
            (DUE, accrued_in_part),
            (DUE, accrued_too_much_and_paid),
            (SOON, lost),
            (SOON, lost_and_paid),
        ],
    )
    @pytest.mark.parametrize("held", [False, True], ids=["no_hold", "hold"])
    def test_whatever_a_return_settles_they_are_few(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        engine: Engine,
        count_queries: CountQueries,
        due_at: datetime,
        before: Callable[[Scene], None],
        held: bool,  # noqa: FBT001 - pytest names it.
    ) -> None:
        user, copy, loan = lend(library, book, branch, due_at=due_at)
        before(Scene(librarian, library, user, loan))
        if held:
            library.hold(library.user(), book, branch)
        librarian.get("/api/me").raise_for_status()

        with count_queries() as asked:
            decide(librarian, copy)
        with count_queries() as statements:
            answer = give_back(librarian, copy)

        assert (answer["next_step"] == "hold_shelf") == held
        assert len(asked) <= 5, asked
        needed = _needed(statements)
        assert len(needed) <= MOST_STATEMENTS[engine.dialect.name], "\n".join(needed)

    def test_so_they_are_for_a_copy_that_is_not_on_loan(
        self,
        librarian: httpx.Client,
        library: Library,
        book: UUID,
        branch: UUID,
        count_queries: CountQueries,
    ) -> None:
        copy = library.copy(book, branch)
        library.hold(library.user(), book, branch)
        librarian.get("/api/me").raise_for_status()

        with count_queries() as statements:
            give_back(librarian, copy)

        needed = _needed(statements)
        assert len(needed) <= 6, needed


def _needed(statements: list[str]) -> list[str]:
    records = ("INSERT INTO events", "INSERT INTO audit_log", "COMMIT")
    return [text for text in statements if not text.startswith(records)]


class TestReturnCopies:
    def test_each_has_an_outcome_of_its_own(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        _, lent, loan = lend(library, book, branch)
        withdrawn = library.copy(book, branch, status="withdrawn")
        shelved = library.copy(book, branch)
        keys = [str(lent), str(withdrawn), "barcode:nothing", str(shelved)]

        response = librarian.post("/api/bulk-returns", json={"copies": keys})

        assert response.status_code == 207
        items = response.json()["items"]
        assert [item["copy"] for item in items] == keys
        assert [item["status"] for item in items] == [200, 409, 409, 200]
        assert items[0]["result"]["loan"]["id"] == str(loan)
        assert items[0]["problem"] is None
        refused = items[1]["problem"]
        assert (items[1]["result"], refused["code"]) == (None, "action_refused")
        assert refused["instance"] == "/api/bulk-returns"
        assert refused["request_id"] == response.headers["X-Request-Id"]
        assert refused["decision"]["blockers"][0]["code"] == "copy_withdrawn"
        assert items[3]["result"]["copy_status"] == "available"

    def test_two_who_wait_get_one_copy_each(
        self, librarian: httpx.Client, library: Library, book: UUID, branch: UUID
    ) -> None:
        copies = [lend(library, book, branch)[1] for _ in range(3)]
        holds = [str(library.hold(library.user(), book, branch)) for _ in range(2)]

        response = librarian.post("/api/bulk-returns", json={"copies": [*map(str, copies)]})

        results = [item["result"] for item in response.json()["items"]]
        assert [each["hold"] and each["hold"]["id"] for each in results] == [*holds, None]

    def test_a_caller_without_the_scope_is_refused(
        self, client: httpx.Client, member: httpx.Client
    ) -> None:
        body = {"copies": ["barcode:30001"]}
        assert client.post("/api/bulk-returns", json=body).status_code == 401
        assert member.post("/api/bulk-returns", json=body).status_code == 403

    def test_more_than_a_hundred_are_too_many(self, librarian: httpx.Client) -> None:
        body = {"copies": [f"barcode:{number}" for number in range(101)]}
        assert librarian.post("/api/bulk-returns", json=body).status_code == 400


def test_the_terms_of_the_loan_decide_not_those_of_today(
    librarian: httpx.Client, library: Library, book: UUID, branch: UUID
) -> None:
    library.policy(fee_per_day=Decimal("5.00"))
    terms = {**TERMS, "fee_per_day": "1.00", "fee_cap": "2.50", "grace_days": 0}
    due_at = datetime(2026, 2, 27, 17, tzinfo=UTC)
    _, copy, _ = lend(library, book, branch, due_at=due_at, terms=terms)

    assert give_back(librarian, copy)["fee"]["amount"] == "2.50"


def test_a_fee_that_was_made_in_the_same_moment_is_not_made_twice(
    librarian: httpx.Client,
    library: Library,
    book: UUID,
    branch: UUID,
    monkeypatch: pytest.MonkeyPatch,
    find: Callable[..., Any],
) -> None:
    user, copy, loan = lend(library, book, branch, due_at=datetime(2026, 2, 27, 17, tzinfo=UTC))
    charged = {"amount": Decimal("0.40"), "outstanding": Decimal("0.40")}
    none = {"loan_renewals": 0, "earlier": Decimal("0.00")}
    library.store(Fee(user_id=user, loan_id=loan, kind="overdue", **charged, **none))
    # As if it had been stored just after the look-up.
    monkeypatch.setattr(return_facts, "_charged", null)
    monkeypatch.setattr(return_facts, "_places", return_facts._places.__wrapped__)

    response = librarian.post("/api/returns", json={"copy": str(copy)})

    assert (response.status_code, response.json()["code"]) == (503, "database_busy")
    assert find(Loan, loan).status == "open"
