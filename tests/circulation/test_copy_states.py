"""The states of a copy: the table, the desk, and staff by hand, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.catalog.copy_problems import DESK_STATUSES, HAND_STATUSES
from circdesk.catalog.copy_states import (
    TRANSITIONS,
    CopyStateRefused,
    Who,
    is_allowed,
    raise_if_refused,
)
from circdesk.catalog.models import Copy
from circdesk.circulation.deeds import Deed
from circdesk.circulation.models import Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.contracts import bundle
from tests.people import LIBRARIAN_ID

Expected = Callable[..., dict[str, Any]]

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


class TestTable:
    def test_it_has_every_state_of_the_contract(self) -> None:
        schema = bundle().document["components"]["schemas"]["CopyStatus"]
        after = {status for following in TRANSITIONS.values() for status in following}

        assert TRANSITIONS.keys() == after == {*schema["enum"]}

    def test_no_state_is_the_end(self) -> None:
        assert all(TRANSITIONS.values())

    def test_nobody_puts_a_copy_on_loan_or_takes_it_off_by_hand(self) -> None:
        by_hand = {
            (before, after)
            for before, following in TRANSITIONS.items()
            for after, who in following.items()
            if "hand" in who
        }

        assert not {status for pair in by_hand for status in pair} & DESK_STATUSES.keys()

    @pytest.mark.parametrize("status", TRANSITIONS)
    @pytest.mark.parametrize("who", ["desk", "hand"])
    def test_what_stays_as_it_is_always_may(self, status: str, who: Who) -> None:
        assert is_allowed(status, status, who)

    @pytest.mark.parametrize(
        ("before", "after", "who"),
        [
            ("available", "missing", "desk"),
            ("on_loan", "withdrawn", "desk"),
            ("on_hold_shelf", "lost", "desk"),
            ("in_transit", "on_loan", "desk"),
            ("withdrawn", "in_transit", "desk"),
            ("withdrawn", "on_loan", "desk"),
            ("withdrawn", "lost", "hand"),
            ("on_loan", "available", "hand"),
        ],
    )
    def test_everything_else_is_refused(self, before: str, after: str, who: Who) -> None:
        with pytest.raises(CopyStateRefused):
            raise_if_refused(before, after, who)

    def test_a_refusal_tells_what_could_follow(self) -> None:
        with pytest.raises(CopyStateRefused) as refused:
            raise_if_refused("withdrawn", "in_repair", "hand", pointer="/status")

        message = "A copy that is withdrawn cannot come to be in repair."
        assert refused.value.message == message
        assert refused.value.details == [
            {
                "in": "body",
                "pointer": "/status",
                "rule": "transition",
                "message": message,
                "allowed": ["available"],
            }
        ]


class TestDesk:
    def test_a_deed_changes_a_copy_only_as_the_table_has_it(
        self, session: Session, library: Library
    ) -> None:
        branch, book = library.branch(), library.book()
        copy = session.get_one(Copy, library.copy(book, branch, status="withdrawn"))

        with pytest.raises(CopyStateRefused):
            Deed("loan.check_out", now=NOW).changes_copy(copy, "on_loan")

        assert copy.status == "withdrawn"


@pytest.fixture
def copy_id(library: Library) -> UUID:
    """A copy that is in repair."""
    return library.copy(library.book(), library.branch(), barcode="30001", status="in_repair")


def events_of(sessions: Sessions, copy_id: UUID) -> list[Event]:
    with unit_of_work(sessions, writing=False) as session:
        found = select(Event).where(Event.subject_id == copy_id)
        return list(session.scalars(found.order_by(Event.transaction_id, Event.id)))


class TestByHand:
    def test_a_change_is_an_event_of_the_same_transaction(
        self, librarian: httpx.Client, sessions: Sessions, copy_id: UUID
    ) -> None:
        change = {"status": "available"}
        response = librarian.patch("/api/copies/barcode:30001", json=change)

        assert response.status_code == 200
        (event,) = events_of(sessions, copy_id)
        told = (event.kind, event.subject_type, event.actor_type, event.actor_id, event.user_id)
        assert told == ("copy.status_change", "copy", "user", LIBRARIAN_ID, None)
        assert event.data == {"copy_id": str(copy_id), "copy_status": ["in_repair", "available"]}
        assert (event.undo, event.undo_until) == (None, None)
        with unit_of_work(sessions, writing=False) as session:
            assert session.get_one(Copy, copy_id).event_id == event.id

    def test_what_leaves_the_status_alone_is_none(
        self, librarian: httpx.Client, sessions: Sessions, copy_id: UUID
    ) -> None:
        change = {"status": "in_repair", "shelf_mark": "X"}
        librarian.patch("/api/copies/barcode:30001", json=change).raise_for_status()

        assert events_of(sessions, copy_id) == []

    def test_what_is_withdrawn_comes_back_into_stock_first(
        self, librarian: httpx.Client, copy_id: UUID, problem: Expected
    ) -> None:
        url = f"/api/copies/{copy_id}"
        librarian.patch(url, json={"status": "withdrawn"}).raise_for_status()

        response = librarian.patch(url, json={"status": "in_repair"})

        assert response.status_code == 409
        message = "A copy that is withdrawn cannot come to be in repair."
        detail = {"in": "body", "pointer": "/status", "rule": "transition", "message": message}
        assert response.json() == problem(
            response, "copy_state_refused", message, details=[detail | {"allowed": ["available"]}]
        )
        librarian.patch(url, json={"status": "available"}).raise_for_status()

    @pytest.mark.parametrize("status", ["missing", "lost"])
    def test_what_is_lent_still_is_not_there_by_hand(
        self, librarian: httpx.Client, library: Library, problem: Expected, status: str
    ) -> None:
        copy_id = lend(library, status)
        url = f"/api/copies/{copy_id}"

        response = librarian.patch(url, json={"status": "available"})

        assert response.status_code == 409
        message = "The copy is still lent to somebody; only its return ends that."
        allowed = ["missing", "lost", "withdrawn"]
        detail = {"in": "body", "pointer": "/status", "rule": "managed", "message": message}
        suggestion = {
            "operation_id": "return_copy",
            "parameters": {},
            "body": {"copy": str(copy_id)},
            "reason": "It ends the loan, and says where the copy belongs.",
        }
        assert response.json() == problem(
            response,
            "copy_status_managed",
            message,
            details=[detail | {"allowed": allowed}],
            suggestions=[suggestion],
        )

    @pytest.mark.parametrize("status", HAND_STATUSES)
    def test_what_came_back_may_become_anything(
        self, librarian: httpx.Client, library: Library, status: str
    ) -> None:
        copy_id = lend(library, "lost", returned_at=NOW)

        response = librarian.patch(f"/api/copies/{copy_id}", json={"status": status})

        assert response.status_code == 200


def lend(library: Library, status: str, **more: Any) -> UUID:
    """A copy that was given up while it was lent."""
    branch, book = library.branch(), library.book()
    copy_id = library.copy(book, branch, status=status)
    loan = Loan(
        user_id=library.user(),
        copy_id=copy_id,
        book_id=book,
        branch_id=branch,
        user_category="standard",
        material_type="book",
        status="lost",
        lent_at=NOW - timedelta(days=90),
        due_at=NOW - timedelta(days=62),
        terms={},
        **more,
    )
    library.store(loan)
    return copy_id
