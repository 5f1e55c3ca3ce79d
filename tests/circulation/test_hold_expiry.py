"""The hold shelf is cleared by the worker, on both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from circdesk.catalog.models import Copy
from circdesk.circulation.chores import run_chores
from circdesk.circulation.holds.expiry import EXPIRY, expire
from circdesk.circulation.models import Hold
from circdesk.circulation.periodic import CHORES
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library

# A Monday evening in Berlin.
NOW = datetime(2026, 1, 12, 17, tzinfo=UTC)
READY = {"status": "ready", "ready_at": NOW - timedelta(days=7), "shelf_expires_at": NOW}

Find = Callable[..., Any]


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circdesk.clock.now", lambda: NOW)


@pytest.fixture
def branch(library: Library) -> UUID:
    return library.branch()


@pytest.fixture
def find(sessions: Sessions) -> Find:
    """`find(Hold, id)`: the row as it is stored."""

    def read(model: Any, identity: UUID) -> Any:
        with unit_of_work(sessions, writing=False) as session:
            return session.get_one(model, identity)

    return read


def set_aside(library: Library, branch: UUID, **values: Any) -> tuple[UUID, UUID]:
    """A hold whose copy is on the shelf until now, and the copy."""
    book = library.book()
    copy = library.copy(book, branch, status="on_hold_shelf")
    values = {**READY, "trapped_copy_id": copy, **values}
    return library.hold(library.user(), book, branch, **values), copy


def run(sessions: Sessions) -> int:
    return run_chores(sessions, [EXPIRY]).get("holds_expired", 0)


def test_a_copy_that_nobody_came_for_goes_back_to_its_shelf(
    library: Library, branch: UUID, sessions: Sessions, find: Find
) -> None:
    hold_id, copy = set_aside(library, branch)

    assert run(sessions) == 1

    hold = find(Hold, hold_id)
    assert (hold.status, hold.ended_at, hold.trapped_copy_id) == ("expired", NOW, None)
    assert find(Copy, copy).status == "available"
    event = find(Event, hold.event_id)
    assert (event.kind, event.actor_type, event.user_id) == ("hold.expire", "system", hold.user_id)
    assert event.data == {"copy_id": str(copy), "copy_status": ["on_hold_shelf", "available"]}
    assert (event.undo, event.undo_until) == (None, None)


def test_the_next_in_the_queue_has_it_then(
    library: Library, branch: UUID, sessions: Sessions, find: Find
) -> None:
    hold_id, copy = set_aside(library, branch)
    following = library.hold(library.user(), find(Hold, hold_id).book_id, branch)

    assert run(sessions) == 1

    hold = find(Hold, following)
    assert (hold.status, hold.trapped_copy_id, hold.ready_at) == ("ready", copy, NOW)
    assert hold.shelf_expires_at == NOW + timedelta(days=7)
    assert find(Copy, copy).status == "on_hold_shelf"


def test_it_happens_once(library: Library, branch: UUID, sessions: Sessions) -> None:
    hold_id, _ = set_aside(library, branch)

    assert [run(sessions), run(sessions)] == [1, 0]
    with unit_of_work(sessions, writing=True) as session:
        assert expire(session, NOW, [hold_id]) == 0


def test_what_is_not_due_stays(
    library: Library, branch: UUID, sessions: Sessions, find: Find
) -> None:
    later, _ = set_aside(library, branch, shelf_expires_at=NOW + timedelta(seconds=1))
    sent, _ = set_aside(library, branch, status="in_transit")

    assert run(sessions) == 0
    assert (find(Hold, later).status, find(Hold, sent).status) == ("ready", "in_transit")


def test_many_are_dealt_with_in_one_run(
    library: Library, branch: UUID, sessions: Sessions, find: Find
) -> None:
    due = [set_aside(library, branch)[0] for _ in range(60)]

    assert run(sessions) == 60
    assert {find(Hold, hold_id).status for hold_id in due} == {"expired"}


def test_one_that_fails_does_not_stop_the_rest(
    library: Library,
    branch: UUID,
    sessions: Sessions,
    find: Find,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [set_aside(library, branch)[0] for _ in range(3)]
    real = EXPIRY.carry_out

    def carry_out(session: Any, now: datetime, hold_ids: Any) -> int:
        if ids[1] in hold_ids:
            raise RuntimeError("this one is poisoned")
        return real(session, now, hold_ids)

    poisoned = type(EXPIRY)(EXPIRY.name, EXPIRY.find, carry_out, EXPIRY.batch)

    assert run_chores(sessions, [poisoned]) == {"holds_expired": 2}
    assert [find(Hold, hold_id).status for hold_id in ids] == ["expired", "ready", "expired"]


def test_it_is_among_the_periodic_work() -> None:
    assert EXPIRY in CHORES
