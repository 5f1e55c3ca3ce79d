"""Decisions over HTTP: what would become of a check-out, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import func, select

from circdesk.audit.models import AuditEntry
from circdesk.circulation.models import Block, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import LIBRARIAN_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]

PATH = "/api/decisions"
# A Monday morning in Berlin.
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
NOBODY = "019b8d2b-8c00-7009-8000-0000000000ff"


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)


@pytest.fixture
def policy(library: Library) -> UUID:
    return library.policy(max_loans=1)


@pytest.fixture
def question(library: Library, policy: UUID) -> JSON:
    """May a new user borrow the only copy of a book?"""
    copy = library.copy(library.book(), library.branch())
    return {"action": "check_out", "user": str(library.user()), "copy": str(copy)}


def live(question: JSON) -> JSON:
    """The body of the live call."""
    return {name: value for name, value in question.items() if name != "action"}


class TestDecideAction:
    def test_the_answer_is_the_decision(
        self, librarian: httpx.Client, question: JSON, policy: UUID
    ) -> None:
        response = librarian.post(PATH, json=question)

        assert response.status_code == 200
        decision = response.json()
        assert decision == {
            "action": "check_out",
            "allowed": True,
            "blockers": [],
            "confirmations": [],
            "warnings": [],
            "rule": {
                "policy_id": str(policy),
                "name": "Everything else",
                "user_category": None,
                "material_type": None,
                "branch_id": None,
            },
            "result": {
                "due_at": "2026-02-02T17:00:00Z",
                "copy_status": "on_loan",
                "renewals_left": 2,
            },
            "next_allowed_at": None,
            "plan_token": decision["plan_token"],
        }

    def test_it_changes_nothing(
        self, librarian: httpx.Client, question: JSON, sessions: Sessions
    ) -> None:
        first = librarian.post(PATH, json=question).json()

        with unit_of_work(sessions, writing=False) as session:
            for model in (Loan, Event, AuditEntry):
                assert session.scalar(select(func.count()).select_from(model)) == 0
        assert librarian.post(PATH, json=question).json() == first

    def test_a_refusal_carries_the_same_object(
        self, librarian: httpx.Client, question: JSON, library: Library
    ) -> None:
        ends = NOW + timedelta(days=1)
        library.store(Block(user_id=UUID(question["user"]), reason="Wet.", expires_at=ends))
        other = library.copy(library.book(), library.branch())
        library.loan(UUID(question["user"]), other, due_at=NOW - timedelta(days=1))

        decision = librarian.post(PATH, json=question).json()

        assert [reason["code"] for reason in decision["blockers"]] == [
            "user_blocked",
            "loan_limit",
        ]
        assert librarian.post("/api/loans", json=live(question)).json()["decision"] == decision

    def test_what_would_be_confirmed_and_lifted_counts(
        self, librarian: httpx.Client, question: JSON, library: Library
    ) -> None:
        other = library.copy(library.book(), library.branch())
        library.loan(UUID(question["user"]), other)
        override = {"codes": ["loan_limit"], "comment": "For a lesson."}

        plain = librarian.post(PATH, json=question).json()
        lifted = librarian.post(PATH, json=question | {"override": override}).json()

        assert (plain["allowed"], lifted["allowed"]) == (False, True)
        assert plain["plan_token"] == lifted["plan_token"]

    def test_time_alone_changes_nothing_as_long_as_something_else_is_in_the_way(
        self, librarian: httpx.Client, question: JSON, library: Library
    ) -> None:
        user_id, ends = UUID(question["user"]), NOW + timedelta(days=1)
        library.store(Block(user_id=user_id, reason="Wet.", expires_at=ends))

        blocked = librarian.post(PATH, json=question).json()
        library.loan(user_id, library.copy(library.book(), library.branch()))
        limited = librarian.post(PATH, json=question).json()
        override = {"codes": ["loan_limit", "user_blocked"], "comment": "For a lesson."}
        lifted = librarian.post(PATH, json=question | {"override": override}).json()

        assert blocked["next_allowed_at"] == "2026-01-06T09:30:00Z"
        assert limited["next_allowed_at"] is None
        assert (lifted["allowed"], lifted["next_allowed_at"]) == (True, None)

    def test_what_is_unknown_is_a_blocker(self, librarian: httpx.Client, question: JSON) -> None:
        unknown = question | {"user": "card:none", "copy": "barcode:none"}

        decision = librarian.post(PATH, json=unknown).json()

        codes = [reason["code"] for reason in decision["blockers"]]
        assert codes == ["user_unknown", "copy_unknown"]
        assert (decision["rule"], decision["result"]) == (None, None)

    def test_a_member_asks_about_nobody_else(
        self, member: httpx.Client, question: JSON, library: Library
    ) -> None:
        library.policy(material_type="book", self_service=True)

        own = member.post(PATH, json=question | {"user": "card:20001"}).json()
        other = member.post(PATH, json=question).json()
        nobody = member.post(PATH, json=question | {"user": NOBODY}).json()

        assert own["allowed"]
        assert [reason["code"] for reason in other["blockers"]] == ["user_unknown"]
        assert other == nobody

    def test_whose_turn_it_is_stays_secret(
        self, member: httpx.Client, question: JSON, library: Library
    ) -> None:
        library.policy(material_type="book", self_service=True)
        library.loan(UUID(question["user"]), UUID(question["copy"]))

        text = member.post(PATH, json=question | {"user": "card:20001"}).text

        assert "copy_on_loan" in text
        assert question["user"] not in text

    def test_it_takes_two_statements(
        self, librarian: httpx.Client, question: JSON, count_queries: CountQueries
    ) -> None:
        with count_queries() as statements:
            librarian.post(PATH, json=question)

        assert len(statements) == 2, statements

    def test_an_action_that_there_is_not(self, librarian: httpx.Client, question: JSON) -> None:
        response = librarian.post(PATH, json=question | {"action": "burn"})

        assert response.status_code == 400
        [detail] = response.json()["details"]
        assert (detail["pointer"], detail["rule"]) == ("/action", "enum")
        assert detail["allowed"] == ["check_out", "return", "renew", "place_hold", "cancel_hold"]

    @pytest.mark.parametrize(
        ("question", "pointers"),
        [
            ({"action": "check_out", "user": "card:1"}, ["/copy"]),
            ({"action": "renew", "copy": "barcode:1"}, ["/loan", "/copy"]),
            ({"action": "cancel_hold"}, ["/hold"]),
        ],
    )
    def test_an_action_without_its_subject(
        self, librarian: httpx.Client, question: JSON, pointers: list[str]
    ) -> None:
        response = librarian.post(PATH, json=question)

        assert response.status_code == 400
        assert [fault["pointer"] for fault in response.json()["details"]] == pointers

    def test_no_credentials(self, client: httpx.Client, question: JSON, problem: Expected) -> None:
        response = client.post(PATH, json=question)

        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_a_missing_scope(self, client: httpx.Client, question: JSON, library: Library) -> None:
        headers = library.key(LIBRARIAN_ID, scopes=["circulation:read"])

        response = client.post(PATH, json=question, headers=headers)

        assert response.status_code == 403
        assert response.json()["code"] == "scope_missing"
