"""Chores: what is due is done in batches, and what fails does not keep the rest from being done."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from circdesk.catalog.models import Copy
from circdesk.circulation.chores import Chore, run_chores
from circdesk.circulation.periodic import CHORES
from circdesk.db.errors import DatabaseBusy, DatabaseUnavailable
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library

Mark = Callable[[Session, datetime, Sequence[UUID]], int]


@pytest.fixture
def copies(library: Library) -> list[UUID]:
    """Ids of five copies, in order."""
    book, branch = library.book(), library.branch()
    return [library.copy(book, branch) for _ in range(5)]


def unmarked(session: Session, _now: datetime) -> Sequence[UUID]:
    return session.scalars(select(Copy.id).where(Copy.shelf_mark.is_(None)).order_by(Copy.id)).all()


def mark(session: Session, _now: datetime, ids: Sequence[UUID]) -> int:
    session.execute(update(Copy).where(Copy.id.in_(ids)).values(shelf_mark="done"))
    return len(ids)


def failing_on(poison: UUID, error: Exception) -> Mark:
    """A chore's deed that marks, and then fails where it meets this copy."""

    def mark_or_fail(session: Session, now: datetime, ids: Sequence[UUID]) -> int:
        mark(session, now, ids)
        if poison in ids:
            raise error
        return len(ids)

    return mark_or_fail


def left(sessions: Sessions) -> Sequence[UUID]:
    with unit_of_work(sessions, writing=False) as session:
        return unmarked(session, datetime.min.replace(tzinfo=UTC))


def test_everything_that_is_due_is_done_in_batches(sessions: Sessions, copies: list[UUID]) -> None:
    batches = []

    def mark_and_tell(session: Session, now: datetime, ids: Sequence[UUID]) -> int:
        batches.append(list(ids))
        return mark(session, now, ids)

    done = run_chores(sessions, [Chore("mark", unmarked, mark_and_tell, batch=2)])

    assert done == {"mark": 5}
    assert batches == [copies[:2], copies[2:4], copies[4:]]
    assert left(sessions) == []


def test_what_has_nothing_to_do_is_not_told(sessions: Sessions) -> None:
    assert run_chores(sessions, [Chore("mark", unmarked, mark)]) == {}


@pytest.mark.parametrize("batch", [1, 2, 50])
def test_one_that_fails_is_logged_and_rolled_back_and_the_rest_is_done(
    sessions: Sessions, copies: list[UUID], batch: int
) -> None:
    carry_out = failing_on(copies[2], ZeroDivisionError("poison"))

    with capture_logs() as logs:
        done = run_chores(sessions, [Chore("mark", unmarked, carry_out, batch=batch)])

    assert done == {"mark": 4}
    assert left(sessions) == [copies[2]]
    (entry,) = logs
    assert entry.pop("exc_info") is True
    assert entry == {
        "event": "chore_failed",
        "log_level": "error",
        "chore": "mark",
        "id": str(copies[2]),
    }


def test_one_that_waits_too_long_for_a_lock_is_left_to_the_next_time(
    sessions: Sessions, copies: list[UUID]
) -> None:
    busy = failing_on(copies[0], DatabaseBusy("busy"))

    run_chores(sessions, [Chore("mark", unmarked, busy)])
    assert left(sessions) == [copies[0]]
    run_chores(sessions, [Chore("mark", unmarked, mark)])
    assert left(sessions) == []


def test_a_chore_that_cannot_even_look_does_not_stop_the_others(
    sessions: Sessions, copies: list[UUID]
) -> None:
    def fail(_session: Session, _now: datetime) -> Sequence[UUID]:
        raise ZeroDivisionError

    with capture_logs() as logs:
        done = run_chores(sessions, [Chore("fail", fail, mark), Chore("mark", unmarked, mark)])

    assert done == {"mark": len(copies)}
    assert [(entry["event"], entry["chore"]) for entry in logs] == [("chore_failed", "fail")]


def test_a_database_that_is_away_is_away_for_all(sessions: Sessions, copies: list[UUID]) -> None:
    away = failing_on(copies[0], DatabaseUnavailable("away"))

    with pytest.raises(DatabaseUnavailable):
        run_chores(sessions, [Chore("away", unmarked, away), Chore("mark", unmarked, mark)])

    assert left(sessions) == copies


def test_who_stops_it_leaves_whole_batches_behind(sessions: Sessions, copies: list[UUID]) -> None:
    chores = [Chore("mark", unmarked, mark, batch=2), Chore("more", unmarked, mark)]

    done = run_chores(sessions, chores, lambda: len(left(sessions)) < 5)

    assert done == {"mark": 2}
    assert left(sessions) == copies[2:]


def test_the_chores_of_the_desk_have_names_of_their_own(sessions: Sessions) -> None:
    names = [chore.name for chore in CHORES]
    assert len({*names}) == len(names)
    assert run_chores(sessions, CHORES) == {}
