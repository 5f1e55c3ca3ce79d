from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from circdesk import clock
from circdesk.accounts.models import User
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.circulation.periodic import forget
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.people import MEMBER_ID

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def store_loan(library: Library, returned_at: datetime | None) -> UUID:
    branch = library.branch()
    book = library.book()
    return library.store(
        Loan(
            user_id=MEMBER_ID,
            copy_id=library.copy(book, branch),
            book_id=book,
            branch_id=branch,
            user_category="standard",
            material_type="book",
            status="open" if returned_at is None else "returned",
            lent_at=NOW - 9 * HOUR,
            due_at=NOW + 9 * HOUR,
            returned_at=returned_at,
            terms={},
        )
    )


def store_hold(library: Library, ended_at: datetime | None) -> UUID:
    return library.store(
        Hold(
            user_id=MEMBER_ID,
            book_id=library.book(),
            status="waiting" if ended_at is None else "fulfilled",
            rank=1,
            placed_at=NOW - 9 * HOUR,
            shelf_days=7,
            ended_at=ended_at,
        )
    )


def store_event(library: Library, subject_id: UUID, undo_until: datetime) -> UUID:
    return library.store(
        Event(
            kind="loan.return",
            subject_type="loan",
            subject_id=subject_id,
            actor_type="system",
            user_id=MEMBER_ID,
            data={},
            occurred_at=NOW - HOUR,
            undo=[],
            undo_until=undo_until,
        )
    )


def store_notice(library: Library, subject_id: UUID) -> UUID:
    return library.store(
        Notice(
            user_id=MEMBER_ID,
            kind="overdue",
            subject_type="loan",
            subject_id=subject_id,
            since=NOW,
            data=dict.fromkeys(("title", "branch_name", "due_at", "expires_at", "amount")),
            created_at=NOW,
        )
    )


def store_fee(library: Library, loan_id: UUID, outstanding: str) -> UUID:
    owed = Decimal(outstanding)
    amount = Decimal("2.00")
    return library.store(
        Fee(user_id=MEMBER_ID, loan_id=loan_id, kind="overdue", amount=amount, outstanding=owed)
    )


def keep_history(sessions: Sessions) -> None:
    with unit_of_work(sessions, writing=True) as session:
        session.execute(update(User).where(User.id == MEMBER_ID).values(keeps_history=True))


def persons(sessions: Sessions, model: Any) -> list[UUID | None]:
    with unit_of_work(sessions, writing=False) as session:
        return [*session.scalars(select(model.user_id).order_by(model.id))]


class TestForgetting:
    def test_a_loan_is_nobodys_once_it_cannot_be_taken_back(
        self, library: Library, sessions: Sessions
    ) -> None:
        past = store_loan(library, NOW - HOUR)
        store_event(library, past, NOW - HOUR / 2)
        store_notice(library, past)
        store_fee(library, past, "0.00")

        assert forget(sessions) == {"forget_undo": 1, "forget_loans": 1}

        assert persons(sessions, Loan) == [None]
        assert persons(sessions, Event) == [None]
        assert persons(sessions, Notice) == []
        with unit_of_work(sessions, writing=False) as session:
            assert session.execute(select(Fee.user_id, Fee.loan_id)).all() == [(MEMBER_ID, None)]
            assert session.scalars(select(Event.undo)).all() == [None]
        assert forget(sessions) == {}

    @pytest.mark.parametrize("age", [None, timedelta(minutes=20)])
    def test_before_that_it_stays(
        self, library: Library, sessions: Sessions, age: timedelta | None
    ) -> None:
        store_loan(library, clock.now() - age if age else None)
        assert forget(sessions) == {}
        assert persons(sessions, Loan) == [MEMBER_ID]

    def test_it_stays_while_something_is_owed_for_it(
        self, library: Library, sessions: Sessions
    ) -> None:
        store_fee(library, store_loan(library, NOW - HOUR), "0.50")
        assert forget(sessions) == {}

    def test_who_keeps_a_history_keeps_it(self, library: Library, sessions: Sessions) -> None:
        keep_history(sessions)
        store_loan(library, NOW - HOUR)
        store_hold(library, NOW - HOUR)

        assert forget(sessions) == {}

        assert persons(sessions, Loan) == persons(sessions, Hold) == [MEMBER_ID]

    def test_holds_are_forgotten_alike(self, library: Library, sessions: Sessions) -> None:
        store_hold(library, NOW - HOUR)
        store_hold(library, None)

        assert forget(sessions) == {"forget_holds": 1}

        assert persons(sessions, Hold) == [None, MEMBER_ID]


class TestDeletingAUser:
    def test_open_loans_are_in_the_way(
        self, library: Library, librarian: httpx.Client, problem: Any
    ) -> None:
        store_loan(library, None)

        response = librarian.delete(f"/api/users/{MEMBER_ID}")

        assert response.status_code == 409
        message = "The user has an open loan."
        assert response.json() == problem(
            response,
            "user_has_loans",
            message,
            details=[
                {"in": "path", "pointer": "/user_id", "rule": "in_use", "message": message},
            ],
            suggestions=[
                {
                    "operation_id": "list_user_loans",
                    "parameters": {"user_id": str(MEMBER_ID), "status": "open"},
                    "reason": "These are in the way.",
                }
            ],
        )

    def test_fees_are_in_the_way(self, library: Library, librarian: httpx.Client) -> None:
        store_fee(library, store_loan(library, NOW), "0.50")

        response = librarian.delete(f"/api/users/{MEMBER_ID}")

        assert response.status_code == 409
        assert response.json()["code"] == "user_owes_fees"
        assert response.json()["message"] == "The user owes 0.50 EUR."

    def test_holds_end_and_everything_else_is_forgotten(
        self, library: Library, sessions: Sessions, librarian: httpx.Client
    ) -> None:
        keep_history(sessions)
        past = store_loan(library, NOW - HOUR)
        store_event(library, past, NOW + HOUR)
        store_notice(library, past)
        waiting = store_hold(library, None)

        assert librarian.delete(f"/api/users/{MEMBER_ID}").status_code == 204

        assert persons(sessions, Loan) == persons(sessions, Hold) == [None]
        assert set(persons(sessions, Event)) == {None}
        assert persons(sessions, Notice) == []
        with unit_of_work(sessions, writing=False) as session:
            assert session.get_one(Hold, waiting).status == "cancelled"


class TestExport:
    def test_it_has_what_the_desk_holds(
        self, library: Library, librarian: httpx.Client, member: httpx.Client
    ) -> None:
        loan = store_loan(library, None)
        hold = store_hold(library, None)
        notice = store_notice(library, loan)
        fee = store_fee(library, loan, "0.50")
        librarian.post(f"/api/users/{MEMBER_ID}/blocks", json={"reason": "Noise"})

        exported = member.get(f"/api/users/{MEMBER_ID}/export").json()

        ids = {
            name: [row["id"] for row in exported[name]]
            for name in ("loans", "holds", "fees", "notices")
        }
        assert ids == {
            "loans": [str(loan)],
            "holds": [str(hold)],
            "fees": [str(fee)],
            "notices": [str(notice)],
        }
        assert [block["reason"] for block in exported["blocks"]] == ["Noise"]
