"""Check-out over HTTP, on both databases."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from psycopg._queries import MAX_CACHED_STATEMENT_LENGTH
from sqlalchemy import select

from circdesk.accounts.models import User
from circdesk.audit.models import AuditEntry
from circdesk.catalog.models import Branch, Copy
from circdesk.circulation.check_outs import check_out_copy
from circdesk.circulation.models import Block, Loan, LoanPolicy
from circdesk.db.base import Base
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.check_out_desk import (
    LATER,
    NOBODY,
    NOW,
    PATH,
    Desk,
    blockers,
    codes,
    values,
)
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]
Read = Callable[[type[Base], UUID], Any]
Change = Callable[..., None]

OVERRIDE: JSON = {"codes": ["loan_limit", "copy_damaged"], "comment": "For a lesson."}


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, library: Library) -> Desk:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)
    return Desk.of(library)


class TestCheckOutCopy:
    def test_the_answer_is_the_loan_and_the_way_back(
        self, librarian: httpx.Client, desk: Desk, read: Read
    ) -> None:
        response = librarian.post(PATH, json=desk.body)

        assert response.status_code == 201
        answer = response.json()
        loan_id = answer["loan"]["id"]
        loan, copy = read(Loan, UUID(loan_id)), read(Copy, desk.copy)
        assert response.headers["Location"] == f"/api/loans/{loan_id}"
        assert answer == {
            "loan": {
                "id": loan_id,
                "user_id": str(desk.user),
                "copy_id": str(desk.copy),
                "book_id": str(desk.book),
                "branch_id": str(desk.branch),
                "material_type": "book",
                "status": "open",
                "lent_at": "2026-01-05T09:30:00Z",
                "due_at": "2026-02-02T17:00:00Z",
                "overdue": False,
                "returned_at": None,
                "renewals": 0,
                "renewed_at": None,
                "recalled_at": None,
                "policy_id": str(desk.policy),
                "created_at": "2026-01-05T09:30:00Z",
                "updated_at": "2026-01-05T09:30:00Z",
            },
            "warnings": [],
            "compensation": {
                "operation_id": "reverse_event",
                "parameters": {"event_id": str(loan.event_id)},
                "deadline": "2026-01-05T10:00:00Z",
            },
        }
        assert (copy.status, copy.event_id) == ("on_loan", loan.event_id)
        assert (loan.user_category, loan.terms) == (
            "standard",
            {"fee_per_day": "0.20", "fee_cap": "10.00", "grace_days": 0, "lost_fee": "25.00"},
        )

    def test_a_card_and_a_barcode_will_do(
        self, librarian: httpx.Client, desk: Desk, read: Read
    ) -> None:
        copy = read(Copy, desk.copy)

        response = librarian.post(
            PATH, json={"user": "card:20001", "copy": f"barcode:{copy.barcode}"}
        )

        loan = response.json()["loan"]
        assert (loan["user_id"], loan["copy_id"]) == (str(MEMBER_ID), str(desk.copy))

    def test_it_is_an_event_that_can_be_taken_back(
        self, librarian: httpx.Client, desk: Desk, read: Read
    ) -> None:
        answer = librarian.post(PATH, json=desk.body).json()

        event = read(Event, UUID(answer["compensation"]["parameters"]["event_id"]))
        assert (event.kind, event.subject_type) == ("loan.check_out", "loan")
        assert (event.subject_id, event.user_id) == (UUID(answer["loan"]["id"]), desk.user)
        assert (event.actor_type, event.actor_id) == ("user", LIBRARIAN_ID)
        assert event.data == {"copy_id": str(desk.copy), "copy_status": ["available", "on_loan"]}
        assert [(image["table"], image["before"]) for image in event.undo] == [
            ("loans", None),
            ("copies", {"status": "available", "event_id": None}),
        ]

    def test_it_is_an_entry_of_the_audit_log_that_tells_neither_person_nor_copy(
        self,
        librarian: httpx.Client,
        desk: Desk,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        answer = librarian.post(PATH, json=desk.body).json()

        [entry] = audit("loan.check_out")
        assert (entry.actor_id, entry.target_type) == (LIBRARIAN_ID, "loan")
        assert (str(entry.target_id), entry.details) == (answer["loan"]["id"], {})

    def test_no_credentials(self, client: httpx.Client, desk: Desk, problem: Expected) -> None:
        response = client.post(PATH, json=desk.body)

        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_a_missing_scope(self, client: httpx.Client, desk: Desk) -> None:
        headers = desk.library.key(LIBRARIAN_ID, scopes=["circulation:read"])

        response = client.post(PATH, json=desk.body, headers=headers)

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"

    def test_a_body_without_a_copy(self, librarian: httpx.Client, desk: Desk) -> None:
        response = librarian.post(PATH, json={"user": str(desk.user)})

        assert response.status_code == 400
        [detail] = response.json()["details"]
        assert (detail["pointer"], detail["rule"]) == ("/copy", "required")


class TestOverride:
    """What staff lift by name."""

    @pytest.fixture
    def hard(self, desk: Desk, change: Change) -> Desk:
        change(LoanPolicy, desk.policy, max_loans=0)
        change(Copy, desk.copy, status="in_repair")
        return desk

    def test_it_is_lifted_and_audited_with_the_comment(
        self,
        librarian: httpx.Client,
        hard: Desk,
        read: Read,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        lent = librarian.post(PATH, json=hard.body | {"override": OVERRIDE})

        assert lent.status_code == 201
        [entry] = audit("loan.check_out")
        assert entry.details == {
            "overridden": ["copy_damaged", "loan_limit"],
            "comment": "For a lesson.",
        }
        event = read(Event, UUID(lent.json()["compensation"]["parameters"]["event_id"]))
        assert event.data["overridden"] == ["copy_damaged", "loan_limit"]
        assert "For a lesson." not in str(event.data)

    def test_what_is_not_named_stays_in_the_way(self, librarian: httpx.Client, hard: Desk) -> None:
        override = {"codes": ["loan_limit"], "comment": "For a lesson."}

        refused = librarian.post(PATH, json=hard.body | {"override": override})

        assert codes(refused) == ["copy_damaged"]

    def test_what_nobody_can_lift_stays_in_the_way(
        self, librarian: httpx.Client, desk: Desk, change: Change
    ) -> None:
        change(Copy, desk.copy, status="lost")
        override = {"codes": ["copy_lost"], "comment": "It is here."}

        assert codes(librarian.post(PATH, json=desk.body | {"override": override})) == ["copy_lost"]

    def test_it_needs_the_scope(self, client: httpx.Client, hard: Desk) -> None:
        headers = hard.library.key(LIBRARIAN_ID, scopes=["circulation:write"])

        refused = client.post(PATH, json=hard.body | {"override": OVERRIDE}, headers=headers)

        assert codes(refused) == ["copy_damaged", "loan_limit"]


class TestPlanToken:
    """What the caller has seen."""

    def test_what_was_decided_can_be_done(self, librarian: httpx.Client, desk: Desk) -> None:
        decided = librarian.post("/api/decisions", json={"action": "check_out", **desk.body})
        token = decided.json()["plan_token"]

        lent = librarian.post(PATH, json=desk.body | {"plan_token": token})

        assert lent.status_code == 201
        assert lent.json()["loan"]["due_at"] == decided.json()["result"]["due_at"]

    def test_what_has_changed_is_told_instead_of_done(
        self,
        librarian: httpx.Client,
        desk: Desk,
        problem: Expected,
        change: Change,
        read: Read,
    ) -> None:
        question = {"action": "check_out", **desk.body}
        token = librarian.post("/api/decisions", json=question).json()["plan_token"]
        change(LoanPolicy, desk.policy, period_length=14, updated_at=LATER)

        response = librarian.post(PATH, json=desk.body | {"plan_token": token})

        message = "The decision would be another one now."
        assert response.status_code == 412
        assert response.json() == problem(
            response,
            "plan_outdated",
            message,
            details=[{"in": "body", "pointer": "/plan_token", "rule": "plan", "message": message}],
            decision=librarian.post("/api/decisions", json=question).json(),
        )
        assert response.json()["decision"]["result"]["due_at"] == "2026-01-19T17:00:00Z"
        assert read(Copy, desk.copy).status == "available"

    @pytest.mark.parametrize("what", ["hours", "hold", "category", "block", "lent and back"])
    def test_whatever_matters_outdates_it(
        self, librarian: httpx.Client, desk: Desk, change: Change, what: str
    ) -> None:
        question = {"action": "check_out", **desk.body}
        token = librarian.post("/api/decisions", json=question).json()["plan_token"]
        if what == "hours":
            change(Branch, desk.branch, closed_days=["2026-02-02"], updated_at=LATER)
        elif what == "hold":
            desk.library.hold(desk.user, desk.book, desk.branch)
        elif what == "category":
            change(User, desk.user, category="child")
        elif what == "block":
            desk.library.store(Block(user_id=desk.user, reason="Wet.", expires_at=None))
        else:
            change(Copy, desk.copy, event_id=UUID(int=1))

        response = librarian.post(PATH, json=desk.body | {"plan_token": token})

        assert response.status_code == 412


class TestSelfService:
    """What members do without staff."""

    def test_a_member_checks_out_where_the_rule_allows_it(
        self, member: httpx.Client, desk: Desk
    ) -> None:
        policy = desk.library.policy(material_type="book", self_service=True)

        lent = member.post(PATH, json=desk.body | {"user": "card:20001"})

        assert lent.status_code == 201
        loan = lent.json()["loan"]
        assert (loan["user_id"], loan["policy_id"]) == (str(MEMBER_ID), str(policy))
        # To take it back would be a return that nobody has seen.
        assert lent.json()["compensation"] is None

    def test_elsewhere_it_is_the_desks_business(self, member: httpx.Client, desk: Desk) -> None:
        refused = member.post(PATH, json=desk.body | {"user": str(MEMBER_ID)})

        assert codes(refused) == ["self_service_not_allowed"]
        assert blockers(refused)[0]["permission"] == "circulation:write"
        assert values(refused) == {"policy_id": str(desk.policy)}

    def test_somebody_else_is_as_unknown_as_nobody(self, member: httpx.Client, desk: Desk) -> None:
        desk.library.policy(material_type="book", self_service=True)

        other = member.post(PATH, json=desk.body)
        nobody = member.post(PATH, json=desk.body | {"user": NOBODY})

        for answer in (other, nobody):
            assert codes(answer) == ["user_unknown"]
        varying = {"request_id": None}
        assert other.json() | varying == nobody.json() | varying

    def test_members_do_not_learn_why_they_are_blocked(
        self, member: httpx.Client, desk: Desk
    ) -> None:
        desk.library.policy(material_type="book", self_service=True)
        desk.library.store(Block(user_id=MEMBER_ID, reason="Wet atlases.", expires_at=None))

        refused = member.post(PATH, json=desk.body | {"user": str(MEMBER_ID)})

        assert values(refused) == {"until": None}

    def test_a_member_lifts_nothing(self, member: httpx.Client, desk: Desk) -> None:
        override = {"codes": ["self_service_not_allowed"], "comment": "Please."}
        body = desk.body | {"user": str(MEMBER_ID), "override": override}

        assert codes(member.post(PATH, json=body)) == ["self_service_not_allowed"]


class TestStatements:
    """How many statements it takes, beside those of event and audit log."""

    def test_a_loan_that_ends_a_hold(
        self, librarian: httpx.Client, desk: Desk, count_queries: CountQueries
    ) -> None:
        desk.library.hold(desk.user, desk.book, desk.branch)

        with count_queries() as statements:
            response = librarian.post(PATH, json=desk.body)

        assert response.status_code == 201
        records = ("INSERT INTO events", "INSERT INTO audit_log")
        needed = [text for text in statements if not text.startswith(records)]
        assert len(needed) <= 5, needed

    def test_the_driver_remembers_how_to_read_them(
        self, librarian: httpx.Client, desk: Desk, count_queries: CountQueries
    ) -> None:
        with count_queries() as statements:
            librarian.post(PATH, json=desk.body)

        assert max(map(len, statements)) <= MAX_CACHED_STATEMENT_LENGTH

    def test_the_rows_are_read_again_once_they_are_locked(
        self, sessions: Sessions, desk: Desk
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.scalars(select(Copy)).all()
            session.connection().exec_driver_sql("UPDATE copies SET status = 'lost'")
            with pytest.raises(Exception, match="The copy is lost"):
                check_out_copy(session, None, desk.body)
