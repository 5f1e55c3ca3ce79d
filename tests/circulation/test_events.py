"""Events: what is told, in which order, and to whom, on both databases."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Engine, delete, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.models import Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.log import EventQuery, list_events
from circdesk.events.models import Event
from circdesk.events.recording import describe_event, forget_whose, record_events
from circdesk.visits import Caller, Visit, visiting
from tests.people import LIBRARIAN_ID, MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]
Settle = Callable[[], None]

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SUBJECT = UUID("019b8d2b-8c00-7012-8000-000000000001")
UNKNOWN = UUID("019b8d2b-8c00-7011-8000-0000000000ff")
EVERYTHING: EventQuery = {
    "page": 1,
    "per_page": 100,
    "cursor": None,
    "sort": "stored",
    "kind": None,
    "subject": None,
    "since": None,
    "after": None,
}


def tell(session: Session, kind: str = "loan.renew", **more: Any) -> UUID:
    values: JSON = {"now": NOW, "data": {}, "user_id": MEMBER_ID} | more
    event = describe_event(kind, "loan", values.pop("subject_id", SUBJECT), **values)
    record_events(session, [event])
    event_id: UUID = event.values["id"]
    return event_id


def told(sessions: Sessions, **filters: Any) -> list[UUID]:
    with unit_of_work(sessions, writing=False) as session:
        query: Any = EVERYTHING | filters
        return [item["id"] for item in list_events(session, query).items]


@pytest.fixture
def add(sessions: Sessions, settle: Settle) -> Callable[..., UUID]:
    """Stores an event, and waits until readers see it."""

    def add(kind: str = "loan.renew", **more: Any) -> UUID:
        with unit_of_work(sessions, writing=True) as session:
            event_id = tell(session, kind, **more)
        settle()
        return event_id

    return add


@pytest.fixture
def settle(sessions: Sessions) -> Settle:
    """Waits until all that is stored is seen: other tests' databases are of the same server."""

    def wait() -> None:
        deadline = time.monotonic() + 30
        with unit_of_work(sessions, writing=False) as session:
            stored = set(session.scalars(select(Event.id)))
        while stored - set(told(sessions)):
            assert time.monotonic() < deadline, "they are not seen in time"
            time.sleep(0.02)

    return wait


class TestOrder:
    def test_events_stand_in_the_order_in_which_they_were_stored(
        self, sessions: Sessions, add: Callable[..., UUID]
    ) -> None:
        # Two processes make ids by clocks of their own.
        ids = [add(event_id=UUID(int=number)) for number in (3, 1, 2)]

        assert told(sessions) == ids
        assert told(sessions, sort="-stored") == ids[::-1]

    def test_those_of_one_transaction_stand_in_the_order_of_their_ids(
        self, sessions: Sessions, settle: Settle
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            ids = [tell(session) for _ in range(3)]
        settle()

        assert told(sessions) == ids

    def test_a_later_transaction_that_ends_first_is_not_seen_before_the_earlier_one(
        self, sessions: Sessions, settle: Settle, engine: Engine
    ) -> None:
        if engine.dialect.name == "sqlite":
            pytest.skip("writers queue there")
        with unit_of_work(sessions, writing=True) as earlier:
            first = tell(earlier)
            with unit_of_work(sessions, writing=True) as later:
                second = tell(later)
            # It is stored, and would be the last of what this reader has seen.
            assert told(sessions) == []
        settle()
        assert told(sessions) == [first, second]
        assert told(sessions, after=first) == [second]

    def test_what_is_rolled_back_holds_nobody_up(
        self, sessions: Sessions, settle: Settle, engine: Engine
    ) -> None:
        if engine.dialect.name == "sqlite":
            pytest.skip("writers queue there")
        with unit_of_work(sessions, writing=True) as earlier:
            tell(earlier)
            with unit_of_work(sessions, writing=True) as later:
                second = tell(later)
            earlier.rollback()
        settle()
        assert told(sessions) == [second]


class TestAppendOnly:
    @pytest.fixture
    def event_id(self, sessions: Sessions) -> UUID:
        """The id of an event that can be taken back."""
        loan = Loan(
            user_id=MEMBER_ID,
            user_category="standard",
            material_type="book",
            status="open",
            lent_at=NOW,
            due_at=NOW,
            terms={},
        )
        with unit_of_work(sessions, writing=True) as session:
            deed = Deed("loan.check_out", now=NOW, user_id=MEMBER_ID)
            deed.add(session, loan)
            session.flush()
            record_deeds(session, [(deed, loan)])
        return deed.id

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "loan.return"},
            {"data": {"copies": 2}},
            {"transaction_id": 1_000_000},
            {"transaction_id": 0},
            {"subject_id": UNKNOWN},
            {"actor_id": UNKNOWN},
            {"actor_type": "user"},
            {"user_id": UNKNOWN},
            {"undo": [{"table": "loans", "id": str(UNKNOWN), "before": None}]},
            {"undo_until": NOW + timedelta(days=365)},
            {"undo_until": None},
            {"undoes_id": UNKNOWN},
            {"occurred_at": NOW - timedelta(days=1)},
        ],
    )
    def test_the_database_refuses_to_change_one(
        self, session: Session, event_id: UUID, change: JSON
    ) -> None:
        with pytest.raises(IntegrityError, match="append-only"):
            session.execute(update(Event).where(Event.id == event_id).values(change))

    def test_and_to_delete_one(self, session: Session, event_id: UUID) -> None:
        with pytest.raises(IntegrityError, match="append-only"):
            session.execute(delete(Event).where(Event.id == event_id))

    def test_whose_it_was_can_be_forgotten_and_how_it_is_undone(
        self, session: Session, event_id: UUID
    ) -> None:
        forgotten = {"user_id": None, "undo": None}
        session.execute(update(Event).where(Event.id == event_id).values(forgotten))

        event = session.get_one(Event, event_id)
        assert (event.user_id, event.undo) == (None, None)

    @pytest.mark.parametrize("actor_id", [MEMBER_ID, LIBRARIAN_ID])
    def test_who_acted_is_forgotten_with_whose_it_was_and_only_then(
        self, session: Session, actor_id: UUID
    ) -> None:
        caller = Caller(frozenset(), "api_key", UUID(int=1), user_id=actor_id)
        with visiting(Visit(caller, "a request")):
            event_id = tell(session, user_id=MEMBER_ID)

        session.execute(forget_whose(Event.id == event_id))

        event = session.get_one(Event, event_id)
        kept = None if actor_id == MEMBER_ID else LIBRARIAN_ID
        assert (event.actor_type, event.actor_id, event.user_id) == ("user", kept, None)

    def test_sqlite_lets_no_row_take_the_place_of_another(
        self, session: Session, engine: Engine, event_id: UUID
    ) -> None:
        if engine.dialect.name == "postgresql":
            pytest.skip("PostgreSQL has no such statement")
        copied = "INSERT OR REPLACE INTO events SELECT * FROM events WHERE id = :id"
        with pytest.raises(IntegrityError, match="append-only"):
            session.execute(text(copied), {"id": event_id.hex})


def shown(event_id: UUID, **more: Any) -> JSON:
    return {
        "id": str(event_id),
        "occurred_at": "2026-03-02T12:00:00Z",
        "kind": "loan.renew",
        "subject": {"type": "loan", "id": str(SUBJECT)},
        "actor": {"type": "system", "id": None},
        "user_id": str(MEMBER_ID),
        "data": {},
        "undo_until": None,
        "undoes_id": None,
        "undone_by_id": None,
        **more,
    }


class TestListEvents:
    def test_it_tells_what_happened_to_what_and_by_whom(
        self, librarian: httpx.Client, add: Callable[..., UUID]
    ) -> None:
        first = add()
        second = add("loan.reverse", undoes_id=first, data={"kind": "loan.renew"})

        response = librarian.get("/api/events")

        assert response.status_code == 200
        assert response.json() == {
            "items": [
                shown(first, undone_by_id=str(second)),
                shown(
                    second,
                    kind="loan.reverse",
                    undoes_id=str(first),
                    data={"kind": "loan.renew"},
                ),
            ],
            "page": 1,
            "per_page": 20,
            "total": 2,
            "total_relation": "exact",
            "next_cursor": None,
            "links": {"self": "/api/events", "first": "/api/events"},
        }
        assert response.headers["Link"]

    def test_filters_combine(self, librarian: httpx.Client, add: Callable[..., UUID]) -> None:
        other = UUID(int=7)
        before = add()
        add(subject_id=other)
        add("loan.return")
        add(now=NOW - timedelta(seconds=1))
        wanted = add()
        query = {
            "kind": "loan.renew",
            "subject": str(SUBJECT),
            "since": "2026-03-02T13:00:00+01:00",
        }

        items = librarian.get("/api/events", params=query).json()["items"]
        assert [item["id"] for item in items] == [str(before), str(wanted)]
        items = librarian.get("/api/events", params=query | {"after": str(before)}).json()["items"]
        assert [item["id"] for item in items] == [str(wanted)]

    def test_a_cursor_walks_all_and_what_comes_meanwhile(
        self, librarian: httpx.Client, add: Callable[..., UUID]
    ) -> None:
        ids = [add() for _ in range(4)]
        url, seen = "/api/events?per_page=3&cursor=start", []
        body = librarian.get(url).json()
        seen += [item["id"] for item in body["items"]]
        ids.append(add())
        body = librarian.get(body["links"]["next"]).json()
        seen += [item["id"] for item in body["items"]]

        assert seen == [str(event_id) for event_id in ids]
        assert body["next_cursor"] is None

    def test_it_takes_two_statements(
        self, librarian: httpx.Client, add: Callable[..., UUID], count_queries: Any
    ) -> None:
        for _ in range(25):
            add()
        with count_queries() as statements:
            librarian.get("/api/events").raise_for_status()

        assert len(statements) == 2

    def test_an_unknown_place_is_refused(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.get("/api/events", params={"after": str(UNKNOWN)})

        assert response.status_code == 400
        message = f"No event has the id {UNKNOWN}."
        detail = {"in": "query", "pointer": "/after", "rule": "reference", "message": message}
        assert response.json() == problem(
            response, "invalid_request", "The request has 1 fault.", details=[detail]
        )

    def test_it_takes_a_credential(self, client: httpx.Client) -> None:
        assert client.get("/api/events").status_code == 401

    def test_members_do_not_read_what_others_do(self, member: httpx.Client) -> None:
        response = member.get("/api/events")

        assert (response.status_code, response.json()["code"]) == (403, "scope_missing")


class TestGetEvent:
    def test_it_is_the_event(self, librarian: httpx.Client, add: Callable[..., UUID]) -> None:
        event_id = add()

        response = librarian.get(f"/api/events/{event_id}")

        assert response.status_code == 200
        assert response.json() == shown(event_id)

    def test_an_unknown_one_is_not_found(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.get(f"/api/events/{UNKNOWN}")

        assert response.status_code == 404
        message = f"No event has the id {UNKNOWN}."
        assert response.json() == problem(response, "not_found", message)

    def test_it_takes_a_credential(self, client: httpx.Client) -> None:
        assert client.get(f"/api/events/{UNKNOWN}").status_code == 401

    def test_members_do_not_read_it(self, member: httpx.Client) -> None:
        assert member.get(f"/api/events/{UNKNOWN}").status_code == 403
