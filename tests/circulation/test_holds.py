"""Holds that are there over HTTP, on both databases: reading, changing, cancelling, listing."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from circdesk.audit.models import AuditEntry
from circdesk.catalog.models import BookISBN, Copy
from circdesk.circulation.models import Hold
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.conftest import CountQueries
from tests.people import MEMBER_ID

JSON = dict[str, Any]
Expected = Callable[..., JSON]
Find = Callable[..., Any]

PATH = "/api/holds"
# A Monday morning in Berlin.
NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
DAY = timedelta(days=1)
UNKNOWN = "019b8d2b-8c00-7013-8000-0000000000ff"
SHELF = {"ready_at": NOW - DAY, "shelf_expires_at": NOW + 6 * DAY}


@dataclass(frozen=True)
class Desk:
    """A library with one rule and one branch, a book with a copy, and a user who waits for it."""

    library: Library
    branch: UUID
    book: UUID
    copy: UUID
    user: UUID
    hold: UUID

    def wait(self, **values: Any) -> UUID:
        """Somebody else's hold on the title, the last in its queue."""
        at = values.pop("pickup_branch_id", self.branch)
        return self.library.hold(self.library.user(), self.book, at, **values)


@pytest.fixture
def desk(library: Library) -> Desk:
    branch, book, user = library.branch(), library.book(), library.user()
    library.policy()
    copy = library.copy(book, branch, status="on_hold_shelf")
    return Desk(library, branch, book, copy, user, library.hold(user, book, branch))


@pytest.fixture
def ready(desk: Desk) -> UUID:
    """A hold of somebody's whose copy is on the shelf."""
    return desk.wait(status="ready", trapped_copy_id=desk.copy, rank=-5, **SHELF)


@pytest.fixture
def sent(desk: Desk, change: Callable[..., None]) -> UUID:
    """A hold of somebody's whose copy is on its way to another branch."""
    change(Copy, desk.copy, status="in_transit")
    at = desk.library.branch()
    return desk.wait(status="in_transit", trapped_copy_id=desk.copy, rank=-5, pickup_branch_id=at)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)


@pytest.fixture
def find(sessions: Sessions) -> Find:
    """`find(Hold, id)`: the row as it is stored."""

    def read(model: Any, identity: UUID | str) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, UUID(str(identity)))

    return read


@pytest.fixture
def change(sessions: Sessions) -> Callable[..., None]:
    """`change(Copy, id, status="lost")`: change a row behind the desk's back."""

    def change(model: Any, identity: UUID, **values: Any) -> None:
        with unit_of_work(sessions, writing=True) as session:
            row = session.get_one(model, identity)
            for name, value in values.items():
                setattr(row, name, value)

    return change


def read(client: httpx.Client, path: str, **query: Any) -> JSON:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def listed(client: httpx.Client, path: str, **query: Any) -> list[str]:
    """The ids of the holds of a list."""
    return [hold["id"] for hold in read(client, path, **query)["items"]]


def patch(client: httpx.Client, hold_id: UUID, **changes: Any) -> JSON:
    response = client.patch(f"{PATH}/{hold_id}", json=changes)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def cancel(client: httpx.Client, hold_id: UUID) -> JSON:
    response = client.post(f"{PATH}/{hold_id}/cancellations")
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def decide(client: httpx.Client, hold_id: UUID | str) -> JSON:
    question = {"action": "cancel_hold", "hold": str(hold_id)}
    response = client.post("/api/decisions", json=question)
    assert response.status_code == 200, response.text
    answer: JSON = response.json()
    return answer


def undo(client: httpx.Client, answer: JSON) -> None:
    event_id = answer["compensation"]["parameters"]["event_id"]
    assert client.post(f"/api/events/{event_id}/reversals").is_success


class TestGetHold:
    def test_staff_read_any(self, librarian: httpx.Client, desk: Desk, ready: UUID) -> None:
        assert read(librarian, f"{PATH}/{ready}") == {
            "id": str(ready),
            "user_id": read(librarian, f"{PATH}/{ready}")["user_id"],
            "book_id": str(desk.book),
            "copy_id": None,
            "pickup_branch_id": str(desk.branch),
            "status": "ready",
            "position": 1,
            "expected_on": None,
            "suspended_until": None,
            "trapped_copy_id": str(desk.copy),
            "placed_at": "2026-01-05T10:00:00Z",
            "ready_at": "2026-01-04T09:30:00Z",
            "shelf_expires_at": "2026-01-11T09:30:00Z",
            "ended_at": None,
            "created_at": "2026-01-05T09:30:00Z",
            "updated_at": "2026-01-05T09:30:00Z",
        }

    def test_one_that_has_ended_has_no_place(self, librarian: httpx.Client, desk: Desk) -> None:
        ended = desk.wait(status="expired", ended_at=NOW)

        hold = read(librarian, f"{PATH}/{ended}")
        assert (hold["position"], hold["ended_at"]) == (None, "2026-01-05T09:30:00Z")

    def test_a_member_reads_the_own_one(self, member: httpx.Client, desk: Desk) -> None:
        own = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        hold = read(member, f"{PATH}/{own}")
        assert (hold["user_id"], hold["position"]) == (str(MEMBER_ID), 2)

    def test_for_a_member_others_are_not_there(
        self, member: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        for hold_id in (desk.hold, UNKNOWN):
            response = member.get(f"{PATH}/{hold_id}")
            assert response.status_code == 404
            message = f"No hold has the id {hold_id}."
            assert response.json() == problem(response, "not_found", message)

    def test_without_credentials_it_is_a_401(
        self, client: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        response = client.get(f"{PATH}/{desk.hold}")

        assert response.status_code == 401
        assert response.json() == problem(response, "credentials_required", "Send a credential.")

    def test_without_a_scope_it_is_a_403(self, client: httpx.Client, desk: Desk) -> None:
        headers = desk.library.key(desk.user, scopes=["profile:read"])

        assert client.get(f"{PATH}/{desk.hold}", headers=headers).status_code == 403


class TestUpdateHold:
    def test_the_pickup_branch_changes_and_with_it_the_days_on_the_shelf(
        self, librarian: httpx.Client, desk: Desk, find: Find
    ) -> None:
        at = desk.library.branch(code="east")
        desk.library.policy(branch_id=at, hold_shelf_days=3)

        answer = patch(librarian, desk.hold, pickup_branch="code:east")

        hold = find(Hold, desk.hold)
        assert answer == {
            "hold": read(librarian, f"{PATH}/{desk.hold}"),
            "warnings": [],
            "compensation": {
                "operation_id": "reverse_event",
                "parameters": {"event_id": str(hold.event_id)},
                "deadline": "2026-01-05T10:00:00Z",
            },
        }
        assert answer["hold"]["pickup_branch_id"] == str(at)
        assert hold.shelf_days == 3
        undo(librarian, answer)
        assert find(Hold, desk.hold).pickup_branch_id == desk.branch
        assert find(Hold, desk.hold).shelf_days == 7

    def test_a_hold_is_suspended_and_resumed(
        self, librarian: httpx.Client, desk: Desk, find: Find
    ) -> None:
        hold = patch(librarian, desk.hold, suspended_until="2026-03-01")["hold"]
        assert hold["suspended_until"] == "2026-03-01"
        assert find(Hold, desk.hold).suspended_until == date(2026, 3, 1)

        assert patch(librarian, desk.hold, suspended_until=None)["hold"]["suspended_until"] is None

    def test_staff_move_a_hold_to_the_front(self, librarian: httpx.Client, desk: Desk) -> None:
        others = [desk.wait(), desk.wait()]

        answer = patch(librarian, others[1], position=1)

        assert answer["hold"]["position"] == 1
        queue = f"/api/books/{desk.book}/holds"
        assert listed(librarian, queue) == [str(others[1]), str(desk.hold), str(others[0])]
        undo(librarian, answer)
        assert listed(librarian, queue) == [str(desk.hold), str(others[0]), str(others[1])]

    def test_it_is_an_event_and_an_entry_of_the_audit_log(
        self,
        librarian: httpx.Client,
        desk: Desk,
        find: Find,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        desk.wait()
        patch(librarian, desk.hold, position=2, suspended_until="2026-03-01")

        event = find(Event, find(Hold, desk.hold).event_id)
        assert (event.kind, event.subject_id, event.data) == (
            "hold.update",
            desk.hold,
            {"position": 2},
        )
        [entry] = audit("hold.update")
        assert entry.details == {"fields": ["suspended_until", "position"]}

    def test_what_is_so_already_is_no_event(
        self, librarian: httpx.Client, desk: Desk, audit: Callable[[str], list[AuditEntry]]
    ) -> None:
        answer = patch(
            librarian,
            desk.hold,
            position=99,
            suspended_until=None,
            pickup_branch=str(desk.branch),
        )

        assert answer["compensation"] is None
        assert patch(librarian, desk.hold)["compensation"] is None
        assert audit("hold.update") == []

    def test_a_member_changes_the_own_one(self, member: httpx.Client, desk: Desk) -> None:
        own = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        assert patch(member, own, suspended_until="2026-03-01")["hold"]["position"] == 2

    def test_members_do_not_reorder(self, member: httpx.Client, desk: Desk) -> None:
        own = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        response = member.patch(f"{PATH}/{own}", json={"position": 1})

        assert response.status_code == 403
        assert response.json()["message"] == "The credential lacks the scope circulation:write."

    def test_for_a_member_others_are_not_there(
        self, member: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        response = member.patch(f"{PATH}/{desk.hold}", json={"suspended_until": None})

        message = f"No hold has the id {desk.hold}."
        assert response.json() == problem(response, "not_found", message)

    def test_what_is_set_aside_is_fixed_but_for_its_place(
        self, librarian: httpx.Client, ready: UUID, problem: Expected
    ) -> None:
        response = librarian.patch(f"{PATH}/{ready}", json={"suspended_until": "2026-03-01"})

        message = "A copy is set aside for the hold already."
        detail = {"in": "body", "pointer": "/suspended_until"}
        detail |= {"rule": "set_aside", "message": message}
        assert response.json() == problem(response, "hold_fixed", message, details=[detail])
        assert patch(librarian, ready, position=2)["hold"]["position"] == 2

    def test_what_has_ended_is_fixed(
        self, librarian: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        ended = desk.wait(status="cancelled", ended_at=NOW)

        response = librarian.patch(f"{PATH}/{ended}", json={"position": 1})

        message = "The hold is cancelled."
        detail = {"in": "path", "pointer": "/hold_id", "rule": "ended", "message": message}
        assert response.json() == problem(response, "hold_fixed", message, details=[detail])

    def test_a_branch_must_exist(
        self, librarian: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        response = librarian.patch(f"{PATH}/{desk.hold}", json={"pickup_branch": "code:none"})

        message = "No branch has the key code:none."
        detail = {"in": "body", "pointer": "/pickup_branch"}
        detail |= {"rule": "reference", "message": message}
        assert response.json() == problem(response, "reference_unknown", message, details=[detail])

    def test_a_branch_must_take_holds(
        self, librarian: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        at = desk.library.branch()
        desk.library.policy(branch_id=at, holds=False)

        response = librarian.patch(f"{PATH}/{desk.hold}", json={"pickup_branch": str(at)})

        message = "Holds cannot be picked up at this branch."
        detail = {"in": "body", "pointer": "/pickup_branch", "rule": "policy", "message": message}
        assert response.json() == problem(response, "pickup_not_allowed", message, details=[detail])


class TestCancelHold:
    def test_a_hold_that_waits_just_ends(
        self, librarian: httpx.Client, desk: Desk, find: Find
    ) -> None:
        decision = decide(librarian, desk.hold)

        answer = cancel(librarian, desk.hold)

        hold = find(Hold, desk.hold)
        assert decision["allowed"]
        assert answer == {
            "hold": read(librarian, f"{PATH}/{desk.hold}"),
            "result": decision["result"],
            "warnings": [],
            "compensation": {
                "operation_id": "reverse_event",
                "parameters": {"event_id": str(hold.event_id)},
                "deadline": "2026-01-05T10:00:00Z",
            },
        }
        assert answer["result"] == {"hold_id": str(desk.hold)}
        assert (hold.status, hold.ended_at) == ("cancelled", NOW)

    def test_it_is_an_event_and_an_entry_of_the_audit_log(
        self,
        librarian: httpx.Client,
        desk: Desk,
        find: Find,
        audit: Callable[[str], list[AuditEntry]],
    ) -> None:
        cancel(librarian, desk.hold)

        event = find(Event, find(Hold, desk.hold).event_id)
        assert (event.kind, event.subject_id, event.user_id) == (
            "hold.cancel",
            desk.hold,
            desk.user,
        )
        assert [entry.target_id for entry in audit("hold.cancel")] == [desk.hold]

    def test_the_copy_on_the_shelf_goes_to_the_next(
        self, librarian: httpx.Client, desk: Desk, ready: UUID, find: Find
    ) -> None:
        decision = decide(librarian, ready)

        answer = cancel(librarian, ready)

        following, copy = find(Hold, desk.hold), find(Copy, desk.copy)
        assert (
            answer["result"]
            == decision["result"]
            == {
                "hold_id": str(ready),
                "copy_status": "on_hold_shelf",
                "next_step": "hold_shelf",
                "branch_id": None,
            }
        )
        assert answer["hold"]["trapped_copy_id"] is None
        assert (following.status, following.trapped_copy_id) == ("ready", desk.copy)
        assert following.shelf_expires_at == datetime(2026, 1, 12, 17, tzinfo=UTC)
        assert copy.status == "on_hold_shelf"
        assert following.event_id == copy.event_id == find(Hold, ready).event_id

    def test_taking_it_back_gives_the_copy_back(
        self, librarian: httpx.Client, desk: Desk, ready: UUID, find: Find
    ) -> None:
        undo(librarian, cancel(librarian, ready))

        assert (find(Hold, ready).status, find(Hold, ready).trapped_copy_id) == ("ready", desk.copy)
        following = find(Hold, desk.hold)
        assert (following.status, following.trapped_copy_id) == ("waiting", None)
        assert listed(librarian, f"/api/books/{desk.book}/holds") == [str(ready), str(desk.hold)]

    def test_the_copy_is_sent_to_where_the_next_picks_it_up(
        self,
        librarian: httpx.Client,
        desk: Desk,
        ready: UUID,
        find: Find,
        change: Callable[..., None],
    ) -> None:
        at = desk.library.branch()
        change(Hold, desk.hold, pickup_branch_id=at)

        result = cancel(librarian, ready)["result"]

        assert (result["next_step"], result["branch_id"]) == ("transfer", str(at))
        assert find(Hold, desk.hold).status == "in_transit"
        assert find(Copy, desk.copy).status == "in_transit"

    def test_the_copy_goes_back_to_its_shelf_where_nobody_waits(
        self, librarian: httpx.Client, desk: Desk, ready: UUID, find: Find
    ) -> None:
        cancel(librarian, desk.hold)

        result = cancel(librarian, ready)["result"]

        assert (result["next_step"], result["copy_status"]) == ("shelve", "available")
        assert find(Copy, desk.copy).status == "available"

    def test_the_copy_goes_home_where_nobody_waits(
        self, librarian: httpx.Client, desk: Desk, find: Find
    ) -> None:
        cancel(librarian, desk.hold)
        at = desk.library.branch()
        ready = desk.wait(status="ready", trapped_copy_id=desk.copy, pickup_branch_id=at, **SHELF)

        result = cancel(librarian, ready)["result"]

        assert (result["next_step"], result["branch_id"]) == ("transfer", str(desk.branch))
        assert find(Copy, desk.copy).status == "in_transit"

    def test_a_copy_on_its_way_is_on_its_way_to_the_next(
        self, librarian: httpx.Client, desk: Desk, sent: UUID, find: Find
    ) -> None:
        result = cancel(librarian, sent)["result"]

        assert (result["next_step"], result["branch_id"]) == ("transfer", str(desk.branch))
        following = find(Hold, desk.hold)
        assert (following.status, following.trapped_copy_id) == ("in_transit", desk.copy)
        assert find(Copy, desk.copy).status == "in_transit"

    def test_a_copy_on_its_way_turns_home_where_nobody_waits(
        self, librarian: httpx.Client, desk: Desk, sent: UUID, find: Find
    ) -> None:
        cancel(librarian, desk.hold)

        result = cancel(librarian, sent)["result"]

        assert (result["copy_status"], result["branch_id"]) == ("in_transit", str(desk.branch))
        assert find(Copy, desk.copy).status == "in_transit"

    def test_a_member_cancels_the_own_one(self, member: httpx.Client, desk: Desk) -> None:
        own = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        assert decide(member, own)["allowed"]
        assert cancel(member, own)["hold"]["status"] == "cancelled"

    def test_for_a_member_others_are_not_there(
        self, member: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        response = member.post(f"{PATH}/{desk.hold}/cancellations")

        message = f"No hold has the id {desk.hold}."
        assert response.json() == problem(response, "not_found", message)
        [blocker] = decide(member, desk.hold)["blockers"]
        assert blocker["code"] == "hold_unknown"

    def test_one_that_has_ended_cannot_be_cancelled(
        self, librarian: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        cancel(librarian, desk.hold)

        response = librarian.post(f"{PATH}/{desk.hold}/cancellations")

        message = "The hold has ended."
        decision = decide(librarian, desk.hold)
        detail = {"in": "body", "pointer": "", "rule": "hold_not_active", "message": message}
        assert response.json() == problem(
            response, "action_refused", message, details=[detail], decision=decision
        )
        assert decision["blockers"][0]["values"] == {"status": "cancelled"}

    def test_a_plan_that_has_changed_is_refused(
        self, librarian: httpx.Client, desk: Desk, ready: UUID
    ) -> None:
        token = decide(librarian, ready)["plan_token"]
        path = f"{PATH}/{ready}/cancellations"
        cancel(librarian, desk.hold)

        response = librarian.post(path, json={"plan_token": token})

        assert response.status_code == 412
        fresh = {"plan_token": response.json()["decision"]["plan_token"]}
        assert librarian.post(path, json=fresh).status_code == 200

    def test_without_credentials_it_is_a_401(self, client: httpx.Client, desk: Desk) -> None:
        assert client.post(f"{PATH}/{desk.hold}/cancellations").status_code == 401

    def test_without_a_scope_it_is_a_403(self, client: httpx.Client, desk: Desk) -> None:
        headers = desk.library.key(desk.user, scopes=["borrowing:read"])

        path = f"{PATH}/{desk.hold}/cancellations"
        assert client.post(path, headers=headers).status_code == 403


class TestListHolds:
    def test_the_first_one_placed_comes_first(self, librarian: httpx.Client, desk: Desk) -> None:
        early = desk.wait(placed_at=NOW - 9 * DAY)

        page = read(librarian, PATH)

        assert [hold["id"] for hold in page["items"]] == [str(early), str(desk.hold)]
        assert [hold["position"] for hold in page["items"]] == [2, 1]
        assert (page["total"], page["total_relation"]) == (2, "exact")
        assert listed(librarian, PATH, sort="-placed_at") == [str(desk.hold), str(early)]

    def test_it_is_walked_by_cursor(self, librarian: httpx.Client, desk: Desk) -> None:
        ids = [str(desk.wait(placed_at=NOW + number * DAY)) for number in range(1, 4)]
        first = read(librarian, PATH, cursor="start", per_page=2)

        assert [hold["id"] for hold in first["items"]] == [str(desk.hold), ids[0]]
        rest = listed(librarian, PATH, cursor=first["next_cursor"], per_page=2)
        assert rest == ids[1:]

    def test_every_filter_counts(
        self, librarian: httpx.Client, library: Library, desk: Desk, ready: UUID
    ) -> None:
        at = library.branch(code="north")
        user = library.user(card_number="77")
        book = library.book(isbns=[BookISBN(isbn="9780441478125", position=0)])
        copy = library.copy(book, at, barcode="3777")
        wanted = library.hold(user, book, at, copy_id=copy)
        ended = desk.wait(status="cancelled", ended_at=NOW)

        for query in (
            {"user": "card:77"},
            {"user": str(user)},
            {"book": "isbn:9780441478125"},
            {"book": str(book)},
            {"copy": "barcode:3777"},
            {"pickup_branch": "code:north"},
        ):
            assert listed(librarian, PATH, **query) == [str(wanted)], query
        assert listed(librarian, PATH, copy=str(desk.copy)) == [str(ready)]
        assert listed(librarian, PATH, status="ready") == [str(ready)]
        assert listed(librarian, PATH, active=False) == [str(ended)]
        assert len(listed(librarian, PATH, active=True)) == 3
        assert listed(librarian, PATH, user="card:none") == []

    def test_an_isbn_with_a_wrong_digit_is_a_422(self, librarian: httpx.Client) -> None:
        response = librarian.get(PATH, params={"book": "isbn:9780441478126"})

        assert response.status_code == 422
        assert response.json()["details"][0]["pointer"] == "/book"

    def test_members_do_not_see_it(self, member: httpx.Client, client: httpx.Client) -> None:
        assert member.get(PATH).status_code == 403
        assert client.get(PATH).status_code == 401

    def test_it_costs_as_much_for_many_as_for_one(
        self, librarian: httpx.Client, library: Library, desk: Desk, count_queries: CountQueries
    ) -> None:
        read(librarian, PATH)
        with count_queries() as few:
            read(librarian, PATH)
        for _ in range(5):
            book = library.book()
            library.loan(library.user(), library.copy(book, desk.branch, status="on_loan"))
            library.hold(library.user(), book, desk.branch)

        with count_queries() as many:
            assert read(librarian, PATH)["items"][-1]["expected_on"] == "2026-02-02"

        assert len(many) == len(few) == 3


class TestListUserHolds:
    def test_staff_see_anybodys_the_latest_first(
        self, librarian: httpx.Client, library: Library, desk: Desk
    ) -> None:
        late = library.hold(desk.user, library.book(), desk.branch, placed_at=NOW + DAY)

        path = f"/api/users/{desk.user}/holds"
        assert listed(librarian, path) == [str(late), str(desk.hold)]
        assert listed(librarian, path, sort="placed_at", active=True, status="waiting") == [
            str(desk.hold),
            str(late),
        ]

    def test_a_member_sees_the_own_ones(self, member: httpx.Client, desk: Desk) -> None:
        own = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        assert listed(member, f"/api/users/{MEMBER_ID}/holds") == [str(own)]

    def test_for_a_member_others_are_not_there(
        self, member: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        response = member.get(f"/api/users/{desk.user}/holds")

        message = f"No user has the key {desk.user}."
        assert response.json() == problem(response, "not_found", message)

    def test_without_credentials_it_is_a_401(self, client: httpx.Client, desk: Desk) -> None:
        assert client.get(f"/api/users/{desk.user}/holds").status_code == 401


class TestListMyHolds:
    def test_one_sees_the_own_ones(self, member: httpx.Client, desk: Desk) -> None:
        own = desk.library.hold(MEMBER_ID, desk.book, desk.branch)

        [hold] = read(member, "/api/me/holds")["items"]
        assert (hold["id"], hold["user_id"]) == (str(own), str(MEMBER_ID))
        assert read(member, "/api/me/holds", active=False)["items"] == []

    def test_without_credentials_it_is_a_401(self, client: httpx.Client) -> None:
        assert client.get("/api/me/holds").status_code == 401

    def test_without_a_scope_it_is_a_403(self, client: httpx.Client, desk: Desk) -> None:
        headers = desk.library.key(desk.user, scopes=["profile:read"])

        assert client.get("/api/me/holds", headers=headers).status_code == 403


class TestListBookHolds:
    def test_it_is_the_queue(self, librarian: httpx.Client, desk: Desk, ready: UUID) -> None:
        desk.wait(status="expired", ended_at=NOW)
        last = desk.wait(rank=10**15)

        page = read(librarian, f"/api/books/{desk.book}/holds")

        assert [(hold["id"], hold["position"]) for hold in page["items"]] == [
            (str(ready), 1),
            (str(desk.hold), 2),
            (str(last), 3),
        ]
        backwards = listed(librarian, f"/api/books/{desk.book}/holds", sort="-position")
        assert backwards == [str(last), str(desk.hold), str(ready)]

    def test_a_book_must_exist(self, librarian: httpx.Client, problem: Expected) -> None:
        response = librarian.get(f"/api/books/{UNKNOWN}/holds")

        message = f"No book has the id {UNKNOWN}."
        assert response.json() == problem(response, "not_found", message)

    def test_members_do_not_see_it(
        self, member: httpx.Client, client: httpx.Client, desk: Desk
    ) -> None:
        path = f"/api/books/{desk.book}/holds"
        assert member.get(path).status_code == 403
        assert client.get(path).status_code == 401


class TestCatalogue:
    def test_a_copy_that_somebody_waits_for_is_not_deleted(
        self, librarian: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        copy = desk.library.copy(desk.book, desk.branch)
        hold_id = desk.wait(copy_id=copy)

        response = librarian.delete(f"/api/copies/{copy}")

        message = "Somebody has a hold on this very copy."
        detail = {"in": "path", "pointer": "/copy_id", "rule": "held", "message": message}
        call = {"operation_id": "list_holds", "parameters": {"copy": str(copy), "active": True}}
        assert response.json() == problem(
            response,
            "copy_in_use",
            message,
            details=[detail],
            suggestions=[call | {"reason": "These wait."}],
        )
        cancel(librarian, hold_id)
        assert librarian.delete(f"/api/copies/{copy}").status_code == 204

    def test_a_book_that_somebody_waits_for_is_not_deleted(
        self, librarian: httpx.Client, desk: Desk, problem: Expected
    ) -> None:
        book = desk.library.book()
        hold_id = desk.library.hold(desk.user, book, desk.branch)

        response = librarian.delete(f"/api/books/{book}")

        message = "Somebody has a hold on the book."
        detail = {"in": "path", "pointer": "/book_id", "rule": "held", "message": message}
        call = {"operation_id": "list_book_holds", "parameters": {"book_id": str(book)}}
        assert response.json() == problem(
            response,
            "book_held",
            message,
            details=[detail],
            suggestions=[call | {"reason": "These wait for the book."}],
        )
        cancel(librarian, hold_id)
        assert librarian.delete(f"/api/books/{book}").status_code == 204
        assert read(librarian, f"{PATH}/{hold_id}")["book_id"] is None
