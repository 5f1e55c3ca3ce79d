"""Placing holds over HTTP, on both databases: the hold, what stands in the way, and recalls."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.audit.models import AuditEntry
from circdesk.catalog.models import BookISBN
from circdesk.circulation.holds import placing
from circdesk.circulation.models import Block, Fee, Hold, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

PATH = "/api/holds"
# A Monday morning in Berlin.
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
DUE = datetime(2026, 2, 2, 17, tzinfo=UTC)
NOBODY = "019b8d2b-8c00-7009-8000-0000000000ff"


@dataclass(frozen=True)
class Desk:
    """A library with one rule and one branch, and a book whose only copy somebody else has."""

    library: Library
    branch: UUID
    policy: UUID
    book: UUID
    copy: UUID
    loan: UUID
    user: UUID

    @property
    def body(self) -> JSON:
        return {
            "user": str(self.user),
            "book": str(self.book),
            "pickup_branch": str(self.branch),
        }

    @property
    def copy_body(self) -> JSON:
        body = self.body | {"copy": str(self.copy)}
        del body["book"]
        return body

    def wait(self, **values: Any) -> UUID:
        """Somebody else's hold on the title."""
        return self.library.hold(self.library.user(), self.book, self.branch, **values)


def make_desk(library: Library, **policy: Any) -> Desk:
    branch, rule, book = library.branch(), library.policy(**policy), library.book()
    copy = library.copy(book, branch, status="on_loan")
    loan = library.loan(library.user(), copy, policy_id=rule)
    return Desk(library, branch, rule, book, copy, loan, library.user())


@pytest.fixture
def desk(library: Library) -> Desk:
    return make_desk(library)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)


@pytest.fixture
def find(sessions: Sessions) -> Callable[..., Any]:
    """`find(Loan, id)`: the row as it is stored."""

    def read(model: Any, identity: UUID | str) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, UUID(str(identity)))

    return read


def place(client: httpx.Client, body: JSON, **more: Any) -> JSON:
    response = client.post(PATH, json=body | more)
    assert response.status_code == 201, response.text
    answer: JSON = response.json()
    return answer


def refuse(client: httpx.Client, body: JSON, **more: Any) -> JSON:
    """The decision of a call that is refused, which the engine has said before."""
    response = client.post(PATH, json=body | more)
    assert response.status_code == 409, response.text
    decision: JSON = response.json()["decision"]
    assert decision == decide(client, body, **more)
    return decision


def decide(client: httpx.Client, body: JSON, **more: Any) -> JSON:
    response = client.post("/api/decisions", json={"action": "place_hold", **body, **more})
    assert response.status_code == 200, response.text
    decision: JSON = response.json()
    return decision


def blockers(decision: JSON) -> dict[str, JSON]:
    """The values of the blockers, by their codes."""
    assert not decision["allowed"]
    return {blocker["code"]: blocker["values"] for blocker in decision["blockers"]}


class TestPlaceHold:
    def test_the_answer_is_the_hold_and_the_way_back(
        self, librarian: httpx.Client, desk: Desk, find: Callable[..., Any]
    ) -> None:
        response = librarian.post(PATH, json=desk.body)

        assert response.status_code == 201
        answer = response.json()
        hold_id = answer["hold"]["id"]
        assert response.headers["Location"] == f"{PATH}/{hold_id}"
        assert answer == {
            "hold": {
                "id": hold_id,
                "user_id": str(desk.user),
                "book_id": str(desk.book),
                "copy_id": None,
                "pickup_branch_id": str(desk.branch),
                "status": "waiting",
                "position": 1,
                "expected_on": "2026-02-02",
                "suspended_until": None,
                "trapped_copy_id": None,
                "placed_at": "2026-01-05T09:30:00Z",
                "ready_at": None,
                "shelf_expires_at": None,
                "ended_at": None,
                "created_at": "2026-01-05T09:30:00Z",
                "updated_at": "2026-01-05T09:30:00Z",
            },
            "warnings": [],
            "compensation": {
                "operation_id": "reverse_event",
                "parameters": {"event_id": str(find(Hold, hold_id).event_id)},
                "deadline": "2026-01-05T10:00:00Z",
            },
        }
        assert librarian.get(f"{PATH}/{hold_id}").json() == answer["hold"]

    def test_it_is_an_event_and_an_entry_of_the_audit_log(
        self,
        librarian: httpx.Client,
        desk: Desk,
        find: Callable[..., Any],
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        hold_id = place(librarian, desk.body)["hold"]["id"]

        event = find(Event, find(Hold, hold_id).event_id)
        assert (event.kind, event.subject_type, str(event.subject_id)) == (
            "hold.place",
            "hold",
            hold_id,
        )
        assert (event.actor_id, event.user_id) == (LIBRARIAN_ID, desk.user)
        assert event.data == {"book_id": str(desk.book), "pickup_branch_id": str(desk.branch)}
        [entry] = audit("hold.place")
        assert (str(entry.target_id), entry.details) == (hold_id, {})

    def test_it_takes_natural_keys(self, librarian: httpx.Client, library: Library) -> None:
        branch = library.branch(code="central")
        library.policy()
        book = library.book(isbns=[BookISBN(isbn="9780441478125", position=0)])
        library.copy(book, branch, status="on_loan")
        library.user(card_number="77")
        body = {"user": "card:77", "book": "isbn:0-441-47812-3", "pickup_branch": "code:central"}

        assert place(librarian, body)["hold"]["book_id"] == str(book)

    def test_an_isbn_with_a_wrong_digit_is_refused(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        response = librarian.post(PATH, json=desk.body | {"book": "isbn:9780441478126"})

        assert response.status_code == 422
        assert response.json()["code"] == "isbn_invalid"
        assert response.json()["details"][0]["pointer"] == "/book"

    def test_an_isbn_of_several_books_is_refused(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        for _ in range(2):
            library.book(isbns=[BookISBN(isbn="9780441478125", position=0)])

        response = librarian.post(PATH, json=desk.body | {"book": "isbn:9780441478125"})

        assert response.status_code == 409
        assert response.json()["code"] == "isbn_ambiguous"

    def test_the_next_one_stands_behind(self, librarian: httpx.Client, desk: Desk) -> None:
        desk.wait()

        hold = place(librarian, desk.body)["hold"]

        assert (hold["position"], hold["expected_on"]) == (2, "2026-03-02")

    def test_a_member_places_holds_for_oneself(self, member: httpx.Client, desk: Desk) -> None:
        hold = place(member, desk.body | {"user": str(MEMBER_ID)})["hold"]

        assert hold["user_id"] == str(MEMBER_ID)

    def test_for_a_member_others_are_not_there(self, member: httpx.Client, desk: Desk) -> None:
        decision = refuse(member, desk.body)

        assert blockers(decision) == {"user_unknown": {}}
        nobody = refuse(member, desk.body, user=NOBODY)
        assert nobody["blockers"] == decision["blockers"]

    def test_a_hold_can_begin_later(self, librarian: httpx.Client, desk: Desk) -> None:
        hold = place(librarian, desk.body, suspended_until="2026-04-01")["hold"]

        assert (hold["suspended_until"], hold["expected_on"]) == ("2026-04-01", "2026-04-01")

    def test_both_a_book_and_a_copy_break_the_contract(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        response = librarian.post(PATH, json=desk.body | {"copy": str(desk.copy)})

        assert response.status_code == 400

    def test_without_credentials_it_is_a_401(
        self, client: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        response = client.post(PATH, json=desk.body)

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_without_the_scope_it_is_a_403(self, client: httpx.Client, desk: Desk) -> None:
        headers = desk.library.key(desk.user, scopes=["borrowing:read"])

        response = client.post(PATH, json=desk.body, headers=headers)

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"


class TestOnACopy:
    def test_the_hold_is_for_that_copy_alone(self, librarian: httpx.Client, desk: Desk) -> None:
        hold = place(librarian, desk.copy_body)["hold"]

        assert (hold["book_id"], hold["copy_id"]) == (str(desk.book), str(desk.copy))

    def test_the_rule_is_that_of_the_copys_material(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        games = library.policy(name="Games", material_type="game", holds=False)
        copy = library.copy(desk.book, desk.branch, material_type="game")

        decision = refuse(librarian, desk.copy_body, copy=str(copy), confirm=["copy_available"])

        assert blockers(decision) == {"holds_not_allowed": {"policy_id": str(games)}}
        assert decision["rule"]["name"] == "Games"

    @pytest.mark.parametrize("status", ["missing", "lost", "withdrawn"])
    def test_one_that_is_gone_cannot_be_had(
        self, librarian: httpx.Client, library: Library, desk: Desk, status: str
    ) -> None:
        copy = library.copy(desk.book, desk.branch, status=status)

        decision = refuse(librarian, desk.copy_body, copy=str(copy))

        assert blockers(decision) == {f"copy_{status}": {}}

    def test_one_that_is_not_for_loan_is_lifted_by_staff(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        copy = library.copy(desk.book, desk.branch, status="in_transit", loanable=False)

        assert blockers(refuse(librarian, desk.copy_body, copy=str(copy))) == {"not_for_loan": {}}
        override = {"codes": ["not_for_loan"], "comment": "For a reading at the desk."}
        assert place(librarian, desk.copy_body, copy=str(copy), override=override)

    def test_another_copy_of_a_title_on_loan_may_be_wanted(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        library.loan(desk.user, library.copy(desk.book, desk.branch, status="on_loan"))

        assert place(librarian, desk.copy_body)


class TestRefusals:
    def test_what_is_unknown_is_named(self, librarian: httpx.Client, desk: Desk) -> None:
        assert blockers(refuse(librarian, desk.body, user=NOBODY, book=NOBODY)) == {
            "user_unknown": {},
            "book_unknown": {},
        }
        assert blockers(refuse(librarian, desk.body, pickup_branch="code:nowhere")) == {
            "branch_unknown": {}
        }
        assert blockers(refuse(librarian, desk.copy_body, copy="barcode:nothing")) == {
            "copy_unknown": {}
        }
        assert blockers(refuse(librarian, desk.body, book="isbn:9780441478125")) == {
            "book_unknown": {}
        }

    def test_the_whole_problem_carries_the_decision(
        self, librarian: httpx.Client, library: Library, problem: Expected
    ) -> None:
        desk = make_desk(library, holds=False)

        response = librarian.post(PATH, json=desk.body)

        message = "The rule takes no holds."
        values = {"policy_id": str(desk.policy)}
        decision = response.json()["decision"]
        reason: JSON = {"code": "holds_not_allowed", "message": message}
        reason |= {"values": values, "permission": None}
        assert decision == {
            "action": "place_hold",
            "allowed": False,
            "blockers": [reason],
            "confirmations": [],
            "warnings": [],
            "rule": {
                "policy_id": str(desk.policy),
                "name": "Everything else",
                "user_category": None,
                "material_type": None,
                "branch_id": None,
            },
            "result": {"queue_position": 1, "expected_on": "2026-02-02"},
            "next_allowed_at": None,
            "plan_token": decision["plan_token"],
        }
        detail = {"in": "body", "pointer": "", "rule": "holds_not_allowed", "message": message}
        assert response.json() == problem(
            response, "action_refused", message, details=[detail], decision=decision
        )

    def test_nobody_has_two_holds_on_a_title(self, librarian: httpx.Client, desk: Desk) -> None:
        hold_id = place(librarian, desk.body)["hold"]["id"]

        assert blockers(refuse(librarian, desk.body)) == {"already_held": {"hold_id": hold_id}}
        assert blockers(refuse(librarian, desk.copy_body)) == {"already_held": {"hold_id": hold_id}}

    def test_a_hold_that_has_ended_is_in_nobodys_way(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        desk.library.hold(
            desk.user, desk.book, desk.branch, status="cancelled", ended_at=NOW, rank=10**15
        )

        assert place(librarian, desk.body)["hold"]["position"] == 1

    def test_two_that_come_through_at_once_are_told_the_same(
        self,
        librarian: httpx.Client,
        desk: Desk,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        place(librarian, desk.body)
        # As if the locks had let it through.
        monkeypatch.setattr(placing, "blockers", lambda *_: [])

        response = librarian.post(PATH, json=desk.body)

        assert response.status_code == 409
        assert response.json()["message"] == "The user already has a hold on this title."
        assert blockers(response.json()["decision"]) == {"already_held": {}}

    def test_nobody_waits_for_what_they_have(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        copy = library.copy(desk.book, desk.branch, status="on_loan")
        loan = library.loan(desk.user, copy)

        assert blockers(refuse(librarian, desk.body)) == {
            "already_borrowed": {"loan_id": str(loan)}
        }

    @pytest.mark.parametrize(
        "copy", [{"status": "withdrawn"}, {"status": "lost"}, {"loanable": False}]
    )
    def test_a_title_without_anything_to_lend_is_not_held(
        self, librarian: httpx.Client, library: Library, desk: Desk, copy: JSON
    ) -> None:
        book = library.book()
        library.copy(book, desk.branch, **copy)

        assert blockers(refuse(librarian, desk.body, book=str(book))) == {"nothing_to_lend": {}}

    def test_without_a_rule_nothing_is_held(
        self, librarian: httpx.Client, library: Library
    ) -> None:
        desk = make_desk(library, material_type="map")

        decision = refuse(librarian, desk.body)

        assert blockers(decision) == {"no_loan_policy": {}}
        assert (decision["rule"], decision["result"]) == (None, None)
        override = {"codes": ["no_loan_policy"], "comment": "All the same."}
        assert refuse(librarian, desk.body, override=override)

    def test_a_branch_where_nothing_is_picked_up_is_lifted_by_staff(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        policy = library.policy(branch_id=desk.branch, holds=False)

        decision = refuse(librarian, desk.body)

        assert blockers(decision) == {"pickup_not_allowed": {"policy_id": str(policy)}}
        override = {"codes": ["pickup_not_allowed"], "comment": "It is on the way."}
        assert place(librarian, desk.body, override=override)

    def test_the_limit_counts_what_the_rule_is_for(
        self, librarian: httpx.Client, library: Library
    ) -> None:
        desk = make_desk(library, material_type="book", max_holds=1)
        library.hold(desk.user, library.book(material_type="map"), desk.branch)
        assert decide(librarian, desk.body)["allowed"]
        library.hold(desk.user, library.book(), desk.branch)

        decision = refuse(librarian, desk.body)

        policy = {"policy_id": str(desk.policy)}
        assert blockers(decision) == {"hold_limit": {"current": 1, "allowed": 1, **policy}}

    def test_the_limit_of_a_branch_counts_what_is_picked_up_there(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        library.policy(branch_id=desk.branch, max_holds=1)
        library.hold(desk.user, library.book(), library.branch())
        assert decide(librarian, desk.body)["allowed"]
        library.hold(desk.user, library.book(), desk.branch)

        assert [*blockers(refuse(librarian, desk.body))] == ["hold_limit"]

    def test_what_staff_lift_is_written_down(
        self,
        librarian: httpx.Client,
        library: Library,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        desk = make_desk(library, max_holds=0)
        override = {"codes": ["hold_limit"], "comment": "It is the only one."}

        place(librarian, desk.body, override=override)

        [entry] = audit("hold.place")
        assert entry.details == {"overridden": ["hold_limit"], "comment": "It is the only one."}

    def test_members_lift_nothing(self, member: httpx.Client, library: Library) -> None:
        desk = make_desk(library, max_holds=0)
        override = {"codes": ["hold_limit"], "comment": "I want it."}

        decision = refuse(member, desk.body, user=str(MEMBER_ID), override=override)

        assert [*blockers(decision)] == ["hold_limit"]

    def test_the_person_stands_in_the_way(self, librarian: httpx.Client, library: Library) -> None:
        desk = make_desk(library, max_debt=Decimal("5.00"), max_overdue=0)
        user = library.user(expires_on=date(2026, 1, 4))
        library.store(Block(user_id=user, reason="Lost a card."))
        five = Decimal("5.00")
        library.store(Fee(user_id=user, kind="manual", amount=five, outstanding=five))
        other = library.copy(library.book(), desk.branch, status="on_loan")
        library.loan(user, other, due_at=NOW - timedelta(days=1))

        decision = refuse(librarian, desk.body, user=str(user))

        assert [*blockers(decision)] == [
            "user_blocked",
            "card_expired",
            "debt_limit",
            "overdue_limit",
        ]

    def test_when_a_block_alone_stands_in_the_way_its_end_is_told(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        ends = NOW + timedelta(days=3)
        library.store(Block(user_id=desk.user, reason="A while.", expires_at=ends))

        assert refuse(librarian, desk.body)["next_allowed_at"] == "2026-01-08T09:30:00Z"


class TestConfirmation:
    def test_a_copy_on_the_shelf_of_the_branch_is_to_be_confirmed(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        library.copy(desk.book, desk.branch)

        decision = refuse(librarian, desk.body)

        values = {"branch_id": str(desk.branch), "copies": 1}
        [reason] = decision["confirmations"]
        assert (reason["code"], reason["values"]) == ("copy_available", values)
        hold = place(librarian, desk.body, confirm=["copy_available"])["hold"]
        assert hold["expected_on"] == "2026-01-05"

    def test_a_copy_that_others_wait_for_is_not_there(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        library.copy(desk.book, desk.branch)
        desk.wait()

        assert place(librarian, desk.body)["hold"]["position"] == 2

    def test_a_copy_elsewhere_needs_no_word(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        library.copy(desk.book, library.branch())

        assert place(librarian, desk.body)["hold"]["expected_on"] == "2026-01-05"

    def test_who_wants_it_later_need_not_take_it_now(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        library.copy(desk.book, desk.branch)

        assert place(librarian, desk.body, suspended_until="2026-03-01")


class TestPlanToken:
    def test_a_plan_that_still_holds_is_carried_out(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        decision = decide(librarian, desk.body)

        assert decision["allowed"]
        assert decision["result"] == {"queue_position": 1, "expected_on": "2026-02-02"}
        assert place(librarian, desk.body, plan_token=decision["plan_token"])

    def test_a_queue_that_has_grown_is_another_plan(
        self, librarian: httpx.Client, desk: Desk
    ) -> None:
        token = decide(librarian, desk.body)["plan_token"]
        desk.wait()

        response = librarian.post(PATH, json=desk.body | {"plan_token": token})

        assert response.status_code == 412
        assert response.json()["code"] == "plan_outdated"
        assert response.json()["decision"] == decide(librarian, desk.body)

    def test_a_plan_is_for_what_was_asked(self, librarian: httpx.Client, desk: Desk) -> None:
        token = decide(librarian, desk.body)["plan_token"]

        later = desk.body | {"suspended_until": "2026-03-01", "plan_token": token}
        assert librarian.post(PATH, json=later).status_code == 412


class TestRecall:
    def test_the_loan_that_is_due_last_is_asked_back(
        self, librarian: httpx.Client, library: Library, find: Callable[..., Any]
    ) -> None:
        desk = make_desk(library, recall_days=7)
        copy = library.copy(desk.book, desk.branch, status="on_loan")
        late = library.loan(
            library.user(), copy, policy_id=desk.policy, due_at=DUE + timedelta(days=9)
        )

        answer = place(librarian, desk.body)

        assert answer["warnings"] == [
            {
                "code": "recalls_loan",
                "message": "A borrower will be asked to bring a copy back sooner.",
                "values": {"due_at": "2026-01-12T17:00:00Z"},
                "permission": None,
            }
        ]
        assert answer["hold"]["expected_on"] == "2026-01-12"
        recalled = find(Loan, late)
        assert (recalled.due_at, recalled.recalled_at) == (
            datetime(2026, 1, 12, 17, tzinfo=UTC),
            NOW,
        )
        event = find(Event, recalled.event_id)
        assert (event.kind, event.data["recalled_loan_id"]) == ("hold.place", str(late))
        assert find(Loan, desk.loan).recalled_at is None

    def test_the_next_one_recalls_the_next_loan(
        self, librarian: httpx.Client, library: Library, find: Callable[..., Any]
    ) -> None:
        desk = make_desk(library, recall_days=7)
        place(librarian, desk.body)
        copy = library.copy(desk.book, desk.branch, status="on_loan")
        second = library.loan(library.user(), copy, policy_id=desk.policy)

        place(librarian, desk.body | {"user": str(library.user())})
        third = place(librarian, desk.body | {"user": str(library.user())})

        assert find(Loan, second).recalled_at == NOW
        assert third["warnings"] == []

    def test_taking_the_hold_back_takes_the_recall_back(
        self, librarian: httpx.Client, library: Library, find: Callable[..., Any]
    ) -> None:
        desk = make_desk(library, recall_days=7)
        way_back = place(librarian, desk.body)["compensation"]["parameters"]["event_id"]

        assert librarian.post(f"/api/events/{way_back}/reversals").status_code in (200, 201)

        assert (find(Loan, desk.loan).due_at, find(Loan, desk.loan).recalled_at) == (DUE, None)
        assert librarian.get(PATH).json()["items"] == []

    @pytest.mark.parametrize(
        "loan",
        [
            {"due_at": NOW + timedelta(days=2)},
            {"due_at": NOW - timedelta(days=2)},
            {"status": "claimed_returned"},
            {"recalled_at": NOW - timedelta(days=2)},
            {"policy_id": None},
        ],
    )
    def test_a_loan_is_not_recalled_where_that_does_not_help(
        self, librarian: httpx.Client, library: Library, loan: JSON, find: Callable[..., Any]
    ) -> None:
        desk = make_desk(library, recall_days=7)
        book = library.book()
        copy = library.copy(book, desk.branch, status="on_loan")
        loan_id = library.loan(library.user(), copy, **{"policy_id": desk.policy, **loan})
        due_at = find(Loan, loan_id).due_at

        assert place(librarian, desk.body, book=str(book))["warnings"] == []
        assert find(Loan, loan_id).due_at == due_at

    def test_nothing_is_recalled_while_a_copy_is_there(
        self, librarian: httpx.Client, library: Library
    ) -> None:
        desk = make_desk(library, recall_days=7)
        library.copy(desk.book, library.branch())

        assert place(librarian, desk.body)["warnings"] == []

    def test_nothing_is_recalled_for_later(self, librarian: httpx.Client, library: Library) -> None:
        desk = make_desk(library, recall_days=7)

        assert place(librarian, desk.body, suspended_until="2026-05-01")["warnings"] == []

    def test_only_a_loan_of_the_wanted_copy_is_recalled(
        self, librarian: httpx.Client, library: Library, find: Callable[..., Any]
    ) -> None:
        desk = make_desk(library, recall_days=7)
        copy = library.copy(desk.book, desk.branch, status="on_loan")
        late = library.loan(
            library.user(), copy, policy_id=desk.policy, due_at=DUE + timedelta(days=9)
        )

        place(librarian, desk.copy_body)

        assert find(Loan, desk.loan).recalled_at == NOW
        assert find(Loan, late).recalled_at is None


class TestStatements:
    def test_a_decision_costs_five(
        self, librarian: httpx.Client, library: Library, count_queries: CountQueries
    ) -> None:
        desk = make_desk(library, recall_days=7)
        desk.wait()
        decide(librarian, desk.body)

        with count_queries() as statements:
            decide(librarian, desk.body)

        assert len(statements) <= 5, statements

    def test_a_hold_costs_eight_and_what_is_written(
        self, librarian: httpx.Client, library: Library, count_queries: CountQueries
    ) -> None:
        desk = make_desk(library, recall_days=7)
        place(librarian, desk.body | {"user": str(library.user())})
        library.loan(
            library.user(),
            library.copy(desk.book, desk.branch, status="on_loan"),
            policy_id=desk.policy,
        )

        with count_queries() as statements:
            place(librarian, desk.body)

        read = [statement for statement in statements if statement.startswith("SELECT")]
        written = [s for s in statements if s.startswith(("INSERT", "UPDATE"))]
        assert len(read) <= 7, read
        # The hold, the loan that is recalled, the event, the entry.
        assert len(written) == 4, written
