"""The queue itself: whose turn it is, where a copy goes, ranks and forecasts, on both databases."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Branch, Copy
from circdesk.circulation.deeds import Deed
from circdesk.circulation.holds.destinations import Destination, find_destination, send
from circdesk.circulation.holds.forecasts import Forecast, forecast
from circdesk.circulation.holds.queue import next_hold, shelf_expiry
from circdesk.circulation.holds.ranks import last_rank, move
from circdesk.circulation.holds.titles import Place, Title, TitleCopy
from circdesk.circulation.models import Hold
from circdesk.circulation.policies.calendars import Calendar
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import EVERY_DAY, Library

NOW = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
TODAY = date(2026, 1, 5)
DAY = timedelta(days=1)

Turn = Callable[..., UUID | None]


@pytest.fixture
def branch(library: Library) -> UUID:
    return library.branch()


@pytest.fixture
def book(library: Library) -> UUID:
    return library.book()


@pytest.fixture
def copy(library: Library, book: UUID, branch: UUID) -> UUID:
    return library.copy(book, branch)


@pytest.fixture
def wait(library: Library, book: UUID, branch: UUID) -> Callable[..., UUID]:
    """`wait(copy_id=…)`: somebody's hold, the last in the queue."""

    def place(**values: Any) -> UUID:
        at = values.pop("pickup_branch_id", branch)
        return library.hold(library.user(), book, at, **values)

    return place


@pytest.fixture
def turn(sessions: Sessions, copy: UUID) -> Turn:
    """`turn()`: the id of the hold whose turn it is to have the copy."""

    def ask(today: date = TODAY, **options: Any) -> UUID | None:
        with unit_of_work(sessions, writing=True) as session:
            hold = next_hold(session, session.get_one(Copy, copy), today, **options)
            return None if hold is None else hold.id

    return ask


class TestNextHold:
    def test_it_is_the_first_in_the_queue(self, wait: Callable[..., UUID], turn: Turn) -> None:
        wait(rank=20)
        first = wait(rank=10)

        assert turn() == first

    def test_nobody_waits(self, turn: Turn) -> None:
        assert turn() is None

    def test_who_is_suspended_lets_others_pass_until_the_day(
        self, wait: Callable[..., UUID], turn: Turn
    ) -> None:
        first = wait(suspended_until=TODAY + DAY)
        second = wait()

        assert turn() == second
        assert turn(TODAY + DAY) == first

    @pytest.mark.parametrize("status", ["ready", "in_transit", "cancelled", "expired"])
    def test_who_does_not_wait_is_passed_over(
        self, wait: Callable[..., UUID], turn: Turn, status: str
    ) -> None:
        ended = NOW if status in ("cancelled", "expired") else None
        wait(status=status, ended_at=ended)
        second = wait()

        assert turn() == second

    def test_who_wants_another_copy_is_passed_over(
        self, library: Library, wait: Callable[..., UUID], turn: Turn, book: UUID, branch: UUID
    ) -> None:
        wait(copy_id=library.copy(book, branch))

        assert turn() is None

    def test_for_whom_it_is_set_aside_comes_first(
        self, wait: Callable[..., UUID], turn: Turn, copy: UUID
    ) -> None:
        wait()
        second = wait(status="in_transit", trapped_copy_id=copy)

        assert turn() == second

    def test_a_hold_that_is_about_to_end_is_passed_over(
        self, wait: Callable[..., UUID], turn: Turn, copy: UUID
    ) -> None:
        first = wait(status="ready", trapped_copy_id=copy)
        second = wait()

        assert turn(passing_over=first) == second

    def test_a_copy_that_is_not_for_loan_is_for_who_asked_for_it_by_name(
        self,
        wait: Callable[..., UUID],
        turn: Turn,
        copy: UUID,
        sessions: Sessions,
    ) -> None:
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(Copy, copy).loanable = False
        wait()

        assert turn() is None
        assert wait(copy_id=copy) == turn()


class TestDestination:
    def go(self, session: Session, copy_id: UUID, branch_id: UUID | None) -> Destination:
        """Let the copy go where it belongs, and look whether that is what was said."""
        copy, branch = session.get_one(Copy, copy_id), session.get(Branch, branch_id)
        found = find_destination(session, copy, branch_id, TODAY)
        deed = Deed("copy.return", now=NOW)
        send(deed, copy, found, branch_id, Calendar.of(branch), NOW)
        session.flush()
        assert copy.status == found.status
        return found

    def test_without_a_hold_it_is_shelved(self, session: Session, copy: UUID, branch: UUID) -> None:
        assert self.go(session, copy, branch) == Destination("available", "shelve")

    def test_from_elsewhere_it_goes_home(
        self, library: Library, copy: UUID, branch: UUID, sessions: Sessions
    ) -> None:
        elsewhere = library.branch()
        with unit_of_work(sessions, writing=True) as session:
            assert self.go(session, copy, elsewhere) == Destination(
                "in_transit", "transfer", branch
            )

    def test_it_is_set_aside_where_it_is_picked_up(
        self,
        copy: UUID,
        branch: UUID,
        wait: Callable[..., UUID],
        sessions: Sessions,
    ) -> None:
        waiting = wait()
        with unit_of_work(sessions, writing=True) as session:
            hold = self.go(session, copy, branch).hold
            assert hold is not None
            assert (hold.id, hold.status, hold.trapped_copy_id) == (waiting, "ready", copy)
            assert hold.ready_at == NOW
            assert hold.shelf_expires_at == datetime(2026, 1, 12, 17, tzinfo=UTC)

    def test_to_be_looked_at_again_gains_nobody_a_day(
        self, copy: UUID, branch: UUID, wait: Callable[..., UUID], sessions: Sessions
    ) -> None:
        ready = {"status": "ready", "trapped_copy_id": copy, "ready_at": NOW - DAY}
        wait(shelf_expires_at=NOW + DAY, **ready)
        with unit_of_work(sessions, writing=True) as session:
            session.get_one(Copy, copy).status = "on_hold_shelf"
            hold = self.go(session, copy, branch).hold
            assert hold is not None
            assert (hold.ready_at, hold.shelf_expires_at) == (NOW - DAY, NOW + DAY)

    def test_it_is_sent_to_where_it_is_picked_up_and_arrives(
        self,
        library: Library,
        copy: UUID,
        branch: UUID,
        wait: Callable[..., UUID],
        sessions: Sessions,
    ) -> None:
        elsewhere = library.branch()
        wait(pickup_branch_id=elsewhere)
        with unit_of_work(sessions, writing=True) as session:
            found = self.go(session, copy, branch)
            assert (found.status, found.branch_id) == ("in_transit", elsewhere)
            assert found.hold is not None
            assert (found.hold.status, found.hold.ready_at) == ("in_transit", None)
        with unit_of_work(sessions, writing=True) as session:
            arrived = self.go(session, copy, elsewhere)
            assert arrived.hold is not None
            assert (arrived.status, arrived.hold.status) == ("on_hold_shelf", "ready")

    def test_a_hold_whose_branch_has_closed_down_is_picked_up_where_the_copy_is(
        self, copy: UUID, branch: UUID, wait: Callable[..., UUID], sessions: Sessions
    ) -> None:
        wait(pickup_branch_id=None)
        with unit_of_work(sessions, writing=True) as session:
            found = self.go(session, copy, branch)
            assert found.hold is not None
            assert (found.status, found.hold.pickup_branch_id) == ("on_hold_shelf", branch)


class TestShelfExpiry:
    def test_it_is_when_the_branch_closes(self) -> None:
        calendar = Calendar("Europe/Berlin", EVERY_DAY, [])

        assert shelf_expiry(7, calendar, NOW) == datetime(2026, 1, 12, 17, tzinfo=UTC)

    def test_a_closed_day_gives_until_the_next_open_one(self) -> None:
        closed = ["2026-01-12", "2026-01-13"]
        calendar = Calendar("Europe/Berlin", EVERY_DAY, closed)

        assert shelf_expiry(7, calendar, NOW) == datetime(2026, 1, 14, 17, tzinfo=UTC)

    def test_the_clocks_may_change_on_the_way(self) -> None:
        calendar = Calendar("Europe/Berlin", EVERY_DAY, [])
        before = datetime(2026, 3, 27, 12, tzinfo=UTC)

        assert shelf_expiry(7, calendar, before) == datetime(2026, 4, 3, 16, tzinfo=UTC)


class TestRanks:
    def test_the_last_comes_after_all_and_after_whoever_left(self) -> None:
        moment = 1_767_605_400_000_000

        assert last_rank([], NOW) == moment
        assert last_rank([moment - 5], NOW) == moment
        assert last_rank([1, moment + 5], NOW) == moment + 6

    @pytest.mark.parametrize("ranks", [(1, 2, 3, 4), (-9, -8, -7, -6), (10, 20, 30, 10**15)])
    @pytest.mark.parametrize("place", [1, 2, 3, 4])
    @pytest.mark.parametrize("position", [1, 2, 3, 4, 99])
    def test_a_hold_moves_and_the_others_keep_their_order(
        self,
        wait: Callable[..., UUID],
        sessions: Sessions,
        ranks: tuple[int, ...],
        place: int,
        position: int,
    ) -> None:
        ids = [wait(rank=rank) for rank in ranks]
        moved = ids[place - 1]
        with unit_of_work(sessions, writing=True) as session:
            hold = session.get_one(Hold, moved)
            move(session, Deed("hold.update", now=NOW), hold, position)
        expected = [hold_id for hold_id in ids if hold_id != moved]
        expected.insert(min(position, 4) - 1, moved)
        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(Hold.id).order_by(Hold.rank)).all() == expected


def place(copy_id: UUID | None = None, **values: Any) -> Place:
    values = {"status": "waiting", "suspended_until": None, "time_zone": "Europe/Berlin"} | values
    return Place(uuid4(), uuid4(), uuid4(), copy_id, uuid4(), "book", rank=1, **values)


def lent(due_at: datetime | None, **values: Any) -> TitleCopy:
    """A copy that is on loan, for 28 days in all, or one that is there."""
    free = {"status": "available", "loan_id": None, "loan_status": None, "lent_at": None}
    loan = {"status": "on_loan", "loan_id": uuid4(), "loan_status": "open"}
    if due_at is not None:
        loan["lent_at"] = due_at - 28 * DAY
    given: dict[str, Any] = (free if due_at is None else loan) | {
        "due_at": due_at,
        "copy_id": uuid4(),
    }
    given |= {"branch_id": uuid4(), "loanable": True, "borrower_id": None, "recalled_at": None}
    return TitleCopy(**{**given, "recall_days": None, "lender": None, **values})


def expected(queue: list[Place], *copies: TitleCopy) -> list[str | None]:
    found = forecast(Title(queue, copies), NOW)
    assert [found[place.hold_id].position for place in queue] == [*range(1, len(queue) + 1)]
    days = [found[place.hold_id].expected_on for place in queue]
    return [None if day is None else day.isoformat() for day in days]


class TestForecast:
    def test_a_copy_that_is_there_is_there_today(self) -> None:
        assert expected([place(), place()], lent(None)) == ["2026-01-05", None]

    def test_each_gets_the_copy_that_comes_back_first(self) -> None:
        copies = [lent(NOW + 20 * DAY), lent(NOW + 3 * DAY)]

        assert expected([place(), place()], *copies) == ["2026-01-08", "2026-01-25"]

    def test_then_it_is_lent_as_long_again(self) -> None:
        queue = [place(), place(), place()]

        assert expected(queue, lent(NOW + 3 * DAY)) == ["2026-01-08", "2026-02-05", "2026-03-05"]

    def test_a_loan_of_hours_is_lent_as_many_hours_again(self) -> None:
        short = lent(NOW + timedelta(hours=3), lent_at=NOW - timedelta(hours=9))

        assert expected([place(), place(), place()], short) == [
            "2026-01-05",
            "2026-01-06",
            "2026-01-06",
        ]

    def test_nobody_can_tell_what_will_be_in_a_lifetime(self) -> None:
        ten_years = lent(NOW + 3650 * DAY, lent_at=NOW)
        days = expected([place() for _ in range(900)], ten_years)

        assert days[0] == "2036-01-03"
        assert days[-1] is None

    @pytest.mark.parametrize(
        "values",
        [
            {"loan_status": "lost"},
            {"loan_status": "claimed_returned"},
            {"loanable": False},
        ],
    )
    def test_nobody_knows_when_such_a_copy_comes(self, values: dict[str, Any]) -> None:
        assert expected([place()], lent(NOW + 3 * DAY, **values)) == [None]

    def test_nor_when_one_comes_that_is_overdue(self) -> None:
        assert expected([place()], lent(NOW - DAY)) == [None]

    @pytest.mark.parametrize("status", ["in_repair", "on_order", "in_transit", "missing"])
    def test_nor_when_one_comes_that_is_away(self, status: str) -> None:
        assert expected([place()], lent(None, status=status)) == [None]

    def test_who_has_the_copy_already_expects_none_and_takes_none(self) -> None:
        queue = [place(status="ready"), place(status="in_transit"), place()]

        assert expected(queue, lent(NOW + 3 * DAY)) == [None, None, "2026-01-08"]

    def test_who_wants_one_copy_waits_for_that(self) -> None:
        late = lent(NOW + 20 * DAY)

        queue = [place(late.copy_id), place()]
        assert expected(queue, lent(NOW + 3 * DAY), late) == ["2026-01-25", "2026-01-08"]

    def test_who_is_suspended_lets_others_pass(self) -> None:
        queue = [place(suspended_until=date(2026, 1, 20)), place()]

        assert expected(queue, lent(NOW + 3 * DAY)) == ["2026-01-20", "2026-01-08"]

    def test_a_suspension_that_is_over_is_none(self) -> None:
        assert expected([place(suspended_until=TODAY)], lent(NOW + 3 * DAY)) == ["2026-01-08"]

    def test_the_day_is_that_of_the_pickup_branch(self) -> None:
        late = datetime(2026, 1, 8, 23, 30, tzinfo=UTC)
        there = place(time_zone="America/New_York")

        assert expected([place()], lent(late)) == ["2026-01-09"]
        assert expected([there], lent(late)) == ["2026-01-08"]
        assert forecast(Title([there], []), NOW)[there.hold_id] == Forecast(1, None)
