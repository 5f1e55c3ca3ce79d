"""Taking back: everything is as it was before, or it is a 409, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import select, update

from circdesk.audit.models import AuditEntry
from circdesk.auth.models import ApiKey
from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.circulation.undo_world import NOW, World
from tests.people import LIBRARIAN_ID, MEMBER_ID, api_key

JSON = dict[str, Any]
Expected = Callable[..., JSON]
# Prepares something, and answers the deed that is to be taken back.
Scenario = Callable[[World], Callable[[], JSON]]

UNKNOWN = "019b8d2b-8c00-7011-8000-0000000000ff"


@pytest.fixture
def world(
    librarian: httpx.Client,
    library: Library,
    sessions: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> World:
    return World.of(librarian, library, sessions, monkeypatch, recall_days=7)


def a_check_out(world: World) -> Callable[[], JSON]:
    return world.lend


def a_check_out_to_who_had_it_held(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    world.hold()
    world.take_back()
    return world.lend


def a_check_out_of_what_was_held_for_another(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    world.hold(world.library.user())
    world.take_back()
    override = {"codes": ["held_for_another"], "comment": "Needed for a lesson."}
    return lambda: world.lend(override=override)


def a_renewal(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    world.passes(days=5)
    return lambda: world.send(f"loans/{loan['id']}/renewals")


def a_renewal_of_what_is_overdue(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    world.passes(days=35)
    return lambda: world.send(f"loans/{loan['id']}/renewals")


def a_return(world: World) -> Callable[[], JSON]:
    world.lend()
    world.passes(days=5)
    return world.take_back


def a_return_of_what_is_overdue(world: World) -> Callable[[], JSON]:
    world.lend()
    world.passes(days=40)
    return world.take_back


def a_return_for_the_next_in_the_queue(world: World) -> Callable[[], JSON]:
    world.lend()
    world.hold(world.other_user)
    return world.take_back


def a_return_for_somebody_at_another_branch(world: World) -> Callable[[], JSON]:
    world.lend()
    world.hold(world.other_user, pickup_branch=world.other_branch)
    return world.take_back


def a_return_at_another_branch(world: World) -> Callable[[], JSON]:
    world.lend()
    return lambda: world.take_back(branch=world.other_branch)


def the_arrival_of_a_copy(world: World) -> Callable[[], JSON]:
    world.lend()
    world.hold(world.other_user, pickup_branch=world.other_branch)
    world.take_back()
    return lambda: world.take_back(branch=world.other_branch)


def a_hold(world: World) -> Callable[[], JSON]:
    return lambda: world.hold(confirm=["copy_available"])


def a_hold_that_recalls_a_loan(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    return world.hold


def a_cancellation(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    hold = world.hold()["hold"]
    world.hold(world.library.user())
    return lambda: world.cancel(hold["id"])


def a_cancellation_that_passes_the_copy_on(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    hold = world.hold()["hold"]
    world.hold(world.library.user(), pickup_branch=world.other_branch)
    world.take_back()
    return lambda: world.cancel(hold["id"])


def a_change_of_a_hold(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    hold = world.hold()["hold"]
    changes = {"suspended_until": "2026-04-01", "pickup_branch": world.other_branch}
    return lambda: world.send(f"holds/{hold['id']}", method="PATCH", **changes)


def another_place_in_the_queue(world: World) -> Callable[[], JSON]:
    world.lend(world.other_user)
    hold = world.hold()["hold"]
    for _ in range(3):
        world.passes(minutes=1)
        world.hold(world.library.user())
    return lambda: world.send(f"holds/{hold['id']}", method="PATCH", position=3)


def another_due_date(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    due_at = NOW + timedelta(days=90)
    return lambda: world.send(f"loans/{loan['id']}", method="PATCH", due_at=due_at)


def a_due_date_in_the_past_after_a_renewal(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    world.passes(days=35)
    world.send(f"loans/{loan['id']}/renewals")
    due_at = world.now - timedelta(days=4)
    return lambda: world.send(f"loans/{loan['id']}", method="PATCH", due_at=due_at)


def a_loss(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    world.passes(days=40)
    return lambda: world.send(f"loans/{loan['id']}/losses")


def a_claim(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    return lambda: world.send(f"loans/{loan['id']}/claims")


def a_recovery_of_what_was_paid_in_part(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    world.passes(days=40)
    world.send(f"loans/{loan['id']}/losses")
    world.send(f"fees/{fee_of_loss(world)}/payments", amount="5.00")
    return lambda: world.send(f"loans/{loan['id']}/recoveries")


def a_return_of_what_was_lost(world: World) -> Callable[[], JSON]:
    loan = world.lend()["loan"]
    world.send(f"loans/{loan['id']}/losses")
    world.send(f"fees/{fee_of_loss(world)}/payments", amount="25.00")
    return world.take_back


def fee_of_loss(world: World) -> UUID:
    with unit_of_work(world.sessions, writing=False) as session:
        return session.scalars(select(Fee.id).where(Fee.kind == "lost")).one()


def a_fee(world: World) -> Callable[[], JSON]:
    return lambda: world.send("fees", user=world.user, amount="3.00", reason="A torn page.")


def a_payment(world: World) -> Callable[[], JSON]:
    fee = a_fee(world)()["fee"]
    return lambda: world.send(f"fees/{fee['id']}/payments", amount="1.25")


def a_waiver(world: World) -> Callable[[], JSON]:
    fee = a_fee(world)()["fee"]
    return lambda: world.send(f"fees/{fee['id']}/waivers", amount="1.25", comment="Old.")


def a_refund(world: World) -> Callable[[], JSON]:
    fee = a_fee(world)()["fee"]
    world.send(f"fees/{fee['id']}/payments", amount="3.00")
    return lambda: world.send(f"fees/{fee['id']}/refunds", amount="1.25", comment="Mended.")


SCENARIOS: list[Scenario] = [
    a_check_out,
    a_check_out_to_who_had_it_held,
    a_check_out_of_what_was_held_for_another,
    a_renewal,
    a_renewal_of_what_is_overdue,
    a_return,
    a_return_of_what_is_overdue,
    a_return_for_the_next_in_the_queue,
    a_return_for_somebody_at_another_branch,
    a_return_at_another_branch,
    the_arrival_of_a_copy,
    a_hold,
    a_hold_that_recalls_a_loan,
    a_cancellation,
    a_cancellation_that_passes_the_copy_on,
    a_change_of_a_hold,
    another_place_in_the_queue,
    another_due_date,
    a_due_date_in_the_past_after_a_renewal,
    a_loss,
    a_claim,
    a_recovery_of_what_was_paid_in_part,
    a_return_of_what_was_lost,
    a_fee,
    a_payment,
    a_waiver,
    a_refund,
]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_everything_is_as_before_and_can_be_done_and_taken_back_again(
    world: World, scenario: Scenario
) -> None:
    act = scenario(world)
    before = world.state()
    for _ in range(2):
        answer = act()
        assert world.state() != before

        response = world.undo(answer)

        assert response.status_code == 201, response.text
        assert world.state() == before


def refused(problem: Expected, response: httpx.Response, rule: str, message: str) -> None:
    """Assert that this is the refusal of a reversal, for this reason."""
    assert response.status_code == 409
    detail = {"in": "path", "pointer": "/event_id", "rule": rule, "message": message}
    assert response.json() == problem(response, "reversal_impossible", message, details=[detail])


SINCE = "Something that was done since depends on it."
CHANGED = "Something that it changed has changed again since."


class TestReverseEvent:
    def test_it_answers_the_event_that_took_it_back(self, world: World) -> None:
        answer = world.lend()
        world.passes(minutes=5)

        response = world.undo(answer)

        assert response.status_code == 201
        body = response.json()
        event_id = body["event"]["id"]
        assert response.headers["Location"] == f"/api/events/{event_id}"
        assert body == {
            "event": {
                "id": event_id,
                "occurred_at": "2026-03-02T12:05:00Z",
                "kind": "loan.reverse",
                "subject": {"type": "loan", "id": answer["loan"]["id"]},
                "actor": {"type": "user", "id": str(LIBRARIAN_ID)},
                "user_id": str(world.user),
                "data": {
                    "kind": "loan.check_out",
                    "copy_id": str(world.copy),
                    "copy_status": ["on_loan", "available"],
                },
                "undo_until": None,
                "undoes_id": answer["compensation"]["parameters"]["event_id"],
                "undone_by_id": None,
            },
            "warnings": [],
            "compensation": None,
        }

    def test_it_is_an_entry_of_the_audit_log(self, world: World) -> None:
        answer = world.lend()
        world.undo(answer)

        with unit_of_work(world.sessions, writing=False) as session:
            query = select(AuditEntry).where(AuditEntry.action == "event.reverse")
            entry = session.scalars(query).one()
        event_id = answer["compensation"]["parameters"]["event_id"]
        assert (entry.target_type, str(entry.target_id)) == ("event", event_id)
        assert (entry.actor_id, entry.details) == (LIBRARIAN_ID, {"kind": "loan.check_out"})

    def test_it_comes_back_step_by_step(self, world: World) -> None:
        beginning = world.state()
        lent = world.lend()
        world.passes(minutes=5)
        claimed = world.send(f"loans/{lent['loan']['id']}/claims")
        lost = world.send(f"loans/{lent['loan']['id']}/losses")
        for answer in (lost, claimed, lent):
            assert world.undo(answer).status_code == 201
        assert world.state() == beginning

    def test_what_was_told_of_what_never_was_goes_with_it(self, world: World) -> None:
        answer = world.lend()
        notice = Notice(
            user_id=world.user,
            kind="due_soon",
            since=NOW,
            subject_type="loan",
            subject_id=UUID(answer["loan"]["id"]),
            data={},
            created_at=NOW,
        )
        world.library.store(notice)

        world.undo(answer)

        with unit_of_work(world.sessions, writing=False) as session:
            assert session.scalars(select(Notice)).all() == []

    def test_so_does_that_a_copy_is_ready(self, world: World) -> None:
        world.lend()
        hold = world.hold(world.other_user)["hold"]
        answer = world.take_back()
        values: JSON = {"kind": "hold_ready", "subject_type": "hold", "data": {}, "since": NOW}
        subject = {"user_id": world.other_user, "subject_id": UUID(hold["id"])}
        world.library.store(Notice(**values, **subject, created_at=NOW))

        world.undo(answer)

        with unit_of_work(world.sessions, writing=False) as session:
            assert session.scalars(select(Notice)).all() == []

    def test_members_take_back_what_they_did_themselves(
        self, world: World, member: httpx.Client
    ) -> None:
        world.lend()
        body = {"user": str(MEMBER_ID), "book": str(world.book), "pickup_branch": str(world.branch)}
        placed = member.post("/api/holds", json=body)
        assert placed.status_code == 201, placed.text
        event_id = placed.json()["compensation"]["parameters"]["event_id"]

        response = member.post(f"/api/events/{event_id}/reversals")

        assert response.status_code == 201
        assert response.json()["event"]["user_id"] == str(MEMBER_ID)
        assert member.get(f"/api/holds/{placed.json()['hold']['id']}").status_code == 404

    def test_it_takes_a_credential(self, client: httpx.Client) -> None:
        assert client.post(f"/api/events/{UNKNOWN}/reversals").status_code == 401

    def test_what_others_did_is_not_there_for_members(
        self, world: World, member: httpx.Client, problem: Expected
    ) -> None:
        answer = world.lend(MEMBER_ID)
        event_id = answer["compensation"]["parameters"]["event_id"]

        response = member.post(f"/api/events/{event_id}/reversals")

        assert response.status_code == 404
        message = f"No event has the id {event_id}."
        assert response.json() == problem(response, "not_found", message)

    def test_an_unknown_event_is_not_found(
        self, librarian: httpx.Client, problem: Expected
    ) -> None:
        response = librarian.post(f"/api/events/{UNKNOWN}/reversals")

        assert response.status_code == 404
        message = f"No event has the id {UNKNOWN}."
        assert response.json() == problem(response, "not_found", message)

    def test_money_takes_the_scope_for_money(self, world: World) -> None:
        answer = a_fee(world)()
        with unit_of_work(world.sessions, writing=True) as session:
            key = world.library.key(LIBRARIAN_ID, "librarian")
            scopes = ["circulation:read", "circulation:write"]
            one = ApiKey.user_id == LIBRARIAN_ID, ApiKey.prefix == key["X-API-Key"][:12]
            session.execute(update(ApiKey).where(*one).values(scopes=scopes))
        world.client.headers.update(key)

        response = world.undo(answer)

        assert (response.status_code, response.json()["code"]) == (403, "scope_missing")

    def test_it_is_taken_back_once(self, world: World, problem: Expected) -> None:
        answer = world.lend()
        reversal = world.undo(answer).json()["event"]

        refused(problem, world.undo(answer), "reversed", "It was taken back already.")
        response = world.client.post(f"/api/events/{reversal['id']}/reversals")
        refused(problem, response, "final", "It cannot be taken back.")

    def test_it_is_taken_back_in_time(self, world: World, problem: Expected) -> None:
        answer = world.lend()
        world.passes(minutes=30, seconds=1)

        refused(problem, world.undo(answer), "deadline", "It is too late to take it back.")

    def test_what_was_changed_by_hand_stays(self, world: World, problem: Expected) -> None:
        world.lend()
        answer = world.take_back()
        change = {"status": "in_repair"}
        world.client.patch(f"/api/copies/{world.copy}", json=change).raise_for_status()

        refused(problem, world.undo(answer), "changed", CHANGED)

    def test_so_does_what_somebody_else_has_now(self, world: World, problem: Expected) -> None:
        world.lend()
        answer = world.take_back()
        world.lend(world.other_user)

        refused(problem, world.undo(answer), "changed", CHANGED)

    def test_so_does_what_was_paid(self, world: World, problem: Expected) -> None:
        world.lend()
        world.passes(days=40)
        answer = world.take_back()
        with unit_of_work(world.sessions, writing=False) as session:
            fee_id = session.scalars(select(Fee.id)).one()
        world.send(f"fees/{fee_id}/payments", amount="0.20")

        refused(problem, world.undo(answer), "changed", CHANGED)

    def test_so_does_what_is_there_no_more(self, world: World, problem: Expected) -> None:
        world.lend()
        answer = world.take_back()
        world.client.delete(f"/api/copies/{world.copy}").raise_for_status()

        refused(problem, world.undo(answer), "changed", CHANGED)

    def test_a_loan_with_a_fee_stays(self, world: World, problem: Expected) -> None:
        answer = world.lend()
        loan_id = UUID(answer["loan"]["id"])
        sums = {"amount": Decimal("0.20"), "outstanding": Decimal("0.20")}
        fee = Fee(user_id=world.user, loan_id=loan_id, kind="overdue", **sums)
        world.library.store(fee)

        refused(problem, world.undo(answer), "changed", SINCE)

    def test_nobody_has_what_they_wait_for(self, world: World, problem: Expected) -> None:
        world.lend()
        answer = world.take_back()
        world.passes(minutes=1)
        world.hold(confirm=["copy_available"])

        refused(problem, world.undo(answer), "changed", SINCE)

    def test_who_was_served_instead_keeps_the_copy(self, world: World, problem: Expected) -> None:
        world.lend(world.other_user)
        hold = world.hold()["hold"]
        world.hold(world.library.user())
        answer = world.cancel(hold["id"])
        world.passes(minutes=1)
        world.take_back()

        refused(problem, world.undo(answer), "changed", SINCE)

    def test_who_has_borrowed_it_instead_keeps_it(self, world: World, problem: Expected) -> None:
        copy = world.library.copy(world.book, world.branch)
        world.lend(world.other_user)
        hold = world.hold(confirm=["copy_available"])["hold"]
        answer = world.cancel(hold["id"])
        world.passes(minutes=1)
        world.lend(world.library.user(), copy)

        refused(problem, world.undo(answer), "changed", SINCE)

    def test_a_place_that_somebody_else_has_now_is_not_given_back(
        self, world: World, problem: Expected
    ) -> None:
        world.lend(world.other_user)
        hold = world.hold()["hold"]
        answer = world.cancel(hold["id"])
        other = UUID(world.hold(world.library.user())["hold"]["id"])
        with unit_of_work(world.sessions, writing=True) as session:
            rank = session.get_one(Hold, UUID(hold["id"])).rank
            session.execute(update(Hold).where(Hold.id == other).values(rank=rank))

        message = "What it changed has no place any more."
        refused(problem, world.undo(answer), "changed", message)

    def test_a_queue_that_was_put_in_order_anew_keeps_that_order(
        self, world: World, problem: Expected
    ) -> None:
        world.lend(world.other_user)
        # All at the same moment, so that there is no room between them.
        users = [world.library.user() for _ in range(4)]
        placed = [world.hold(user) for user in users]
        ids = [answer["hold"]["id"] for answer in placed]

        moved = world.send(f"holds/{ids[0]}", method="PATCH", position=3)

        def queue() -> list[str]:
            items = world.client.get(f"/api/books/{world.book}/holds").json()["items"]
            return [item["id"] for item in items]

        assert queue() == [ids[1], ids[2], ids[0], ids[3]]
        for answer in placed:
            refused(problem, world.undo(answer), "changed", CHANGED)
        assert world.undo(moved).status_code == 201
        assert queue() == ids

    def test_who_is_deleted_since_gets_nothing_back(self, world: World, problem: Expected) -> None:
        world.lend()
        answer = world.take_back()
        admin = {"X-API-Key": api_key("admin")}
        response = world.client.delete(f"/api/users/{world.user}", headers=admin)
        assert response.is_success, response.text

        # How it was is forgotten with the person.
        refused(problem, world.undo(answer), "deadline", "It is too late to take it back.")


class TestLimits:
    @pytest.fixture
    def world(
        self,
        librarian: httpx.Client,
        library: Library,
        sessions: Sessions,
        monkeypatch: pytest.MonkeyPatch,
    ) -> World:
        return World.of(librarian, library, sessions, monkeypatch, max_loans=1, max_holds=1)

    def test_who_has_borrowed_as_much_as_is_allowed_since_gets_no_loan_back(
        self, world: World, problem: Expected
    ) -> None:
        world.lend()
        answer = world.take_back()
        world.passes(minutes=1)
        copy = world.library.copy(world.library.book(), world.branch)
        lent = world.lend(copy=copy)

        message = "The user has taken as much as is allowed since."
        before = world.state()
        refused(problem, world.undo(answer), "changed", message)
        assert world.state() == before
        world.undo(lent)
        assert world.undo(answer).status_code == 201

    def test_nor_a_hold_back(self, world: World, problem: Expected) -> None:
        world.lend(world.other_user)
        hold = world.hold()["hold"]
        answer = world.cancel(hold["id"])
        world.passes(minutes=1)
        book = world.library.book()
        world.library.copy(book, world.branch)
        placed = world.hold(book=book, confirm=["copy_available"])

        message = "The user has taken as much as is allowed since."
        refused(problem, world.undo(answer), "changed", message)
        world.undo(placed)
        assert world.undo(answer).status_code == 201

    def test_what_staff_had_allowed_beyond_the_limit_comes_back(self, world: World) -> None:
        world.lend()
        copy = world.library.copy(world.library.book(), world.branch)
        override = {"codes": ["loan_limit"], "comment": "Needed for a lesson."}
        world.lend(copy=copy, override=override)
        world.passes(minutes=1)

        assert world.undo(world.take_back()).status_code == 201


class TestRaces:
    def test_of_two_at_once_one_takes_it_back(self, world: World) -> None:
        for _ in range(5):
            answer = world.lend()
            with ThreadPoolExecutor(4) as pool:
                responses = list(pool.map(world.undo, [answer] * 4))

            assert sorted(each.status_code for each in responses) == [201, 409, 409, 409]
            with unit_of_work(world.sessions, writing=False) as session:
                assert session.scalars(select(Loan)).all() == []
                assert session.get_one(Copy, world.copy).status == "available"

    def test_a_return_and_taking_the_loan_back_at_once_end_in_either(self, world: World) -> None:
        for _ in range(5):
            answer = world.lend()
            body = {"copy": str(world.copy)}
            with ThreadPoolExecutor(2) as pool:
                undoing = pool.submit(world.undo, answer)
                returning = pool.submit(world.client.post, "/api/returns", json=body)

            # A return of what is not on loan any more finds it on its shelf.
            assert returning.result().status_code == 200
            assert undoing.result().status_code in (201, 409)
            with unit_of_work(world.sessions, writing=False) as session:
                loans = session.scalars(select(Loan)).all()
                taken_back = undoing.result().status_code == 201
                events = session.scalars(select(Event).where(Event.undoes_id.is_not(None)))
                assert (len(events.all()) > 0) or not taken_back
                assert all(loan.returned_at is not None for loan in loans)
                assert session.get_one(Copy, world.copy).status == "available"
