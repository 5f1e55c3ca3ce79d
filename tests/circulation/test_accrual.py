"""Accrual: overdue fees grow while loans are out, on both databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from circdesk import clock
from circdesk.circulation.chores import run_chores
from circdesk.circulation.fees.accrual import ACCRUAL, accrue, find_accruing
from circdesk.circulation.models import Fee, LedgerEntry, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from circdesk.events.models import Event
from tests.circulation.conftest import Library
from tests.conftest import CountQueries

# Closing time in Berlin, before and after the clocks go forward on the 29th.
DUE = datetime(2026, 3, 27, 17, tzinfo=UTC)
TERMS = {"fee_per_day": "0.20", "fee_cap": "1.00", "grace_days": 0, "lost_fee": "25.00"}
DAY = timedelta(days=1)

Lend = Callable[..., UUID]


@pytest.fixture
def lend(library: Library) -> Lend:
    """Makes a loan that is due on 27 March 2026; answers its id."""

    def make(**changes: Any) -> UUID:
        branch_id = changes.pop("branch_id", None) or library.branch()
        book_id = library.book()
        values = {
            "user_id": library.user(),
            "copy_id": library.copy(book_id, branch_id, status="on_loan"),
            "book_id": book_id,
            "branch_id": branch_id,
            "user_category": "standard",
            "material_type": "book",
            "status": "open",
            "lent_at": DUE - 28 * DAY,
            "due_at": DUE,
            "terms": TERMS,
        }
        return library.store(Loan(**{**values, **changes}))

    return make


@pytest.fixture
def run(sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], int]:
    """Runs the chore at a time; answers how many fees have changed."""

    def run_at(moment: datetime) -> int:
        monkeypatch.setattr(clock, "now", lambda: moment)
        return run_chores(sessions, (ACCRUAL,)).get("accrual", 0)

    return run_at


def charged(sessions: Sessions) -> dict[UUID | None, tuple[str, str]]:
    """Amount and outstanding of each fee, by its loan."""
    with unit_of_work(sessions, writing=False) as session:
        fees = session.scalars(select(Fee)).all()
    return {fee.loan_id: (str(fee.amount), str(fee.outstanding)) for fee in fees}


class TestAccrual:
    def test_a_fee_grows_by_the_day_up_to_its_cap(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        loan_id = lend()

        grown = [
            (run(DUE + day * DAY), charged(sessions).get(loan_id, ("none",))[0]) for day in range(8)
        ]

        assert grown == [
            (0, "none"),
            (1, "0.20"),
            (1, "0.40"),
            (1, "0.60"),
            (1, "0.80"),
            (1, "1.00"),
            (0, "1.00"),
            (0, "1.00"),
        ]

    def test_what_was_missed_is_made_up_for_at_once(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        loan_id = lend()

        assert run(DUE + 3 * DAY) == 1

        assert charged(sessions) == {loan_id: ("0.60", "0.60")}

    def test_it_can_be_repeated_and_begins_again_at_midnight_where_the_branch_is(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        loan_id = lend()
        # In Berlin it is summer time since the 29th, and midnight at ten in the evening by UTC.
        midnight = datetime(2026, 3, 30, 22, tzinfo=UTC)

        changes = [run(moment) for moment in (DUE + 3 * DAY, DUE + 3 * DAY, midnight - DAY / 1440)]

        assert changes == [1, 0, 0]
        assert run(midnight) == 1
        assert charged(sessions) == {loan_id: ("0.80", "0.80")}

    def test_a_loan_that_is_looked_at_once_a_day_is_left_alone_until_then(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        loan_id = lend()
        with unit_of_work(sessions, writing=False) as session:
            before = session.get_one(Loan, loan_id).updated_at
        run(DUE + DAY)

        with unit_of_work(sessions, writing=False) as session:
            assert find_accruing(session, DUE + DAY) == []
            loan = session.get_one(Loan, loan_id)
        assert loan.accrues_at == datetime(2026, 3, 28, 23, tzinfo=UTC)
        assert loan.updated_at == before

    @pytest.mark.parametrize(
        "changes",
        [
            pytest.param({"status": "claimed_returned"}, id="claimed returned"),
            pytest.param({"status": "lost"}, id="lost"),
            pytest.param({"status": "returned", "returned_at": DUE}, id="returned"),
            pytest.param({"due_at": DUE + 9 * DAY}, id="not due"),
            pytest.param({"terms": TERMS | {"fee_per_day": "0.00"}}, id="free"),
            pytest.param({"terms": TERMS | {"grace_days": 2}}, id="in its grace"),
        ],
    )
    def test_other_loans_cost_nothing(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int], changes: Any
    ) -> None:
        lend(**changes)

        assert run(DUE + 2 * DAY) == 0
        assert charged(sessions) == {}

    def test_what_was_paid_or_waived_is_not_charged_again(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        loan_id = lend()
        run(DUE + DAY)
        with unit_of_work(sessions, writing=True) as session:
            session.execute(update(Fee).values(outstanding=Decimal("0.00")))

        run(DUE + 2 * DAY)

        assert charged(sessions) == {loan_id: ("0.40", "0.20")}

    def test_each_growth_is_an_event_of_the_services_own_that_nobody_takes_back(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        loan_id = lend()
        run(DUE + DAY)

        with unit_of_work(sessions, writing=False) as session:
            event = session.scalars(select(Event)).one()
            entry = session.scalars(select(LedgerEntry)).one()
            fee = session.scalars(select(Fee)).one()
            user_id = session.get_one(Loan, loan_id).user_id
        assert (event.kind, event.actor_type, event.actor_id) == ("fee.accrue", "system", None)
        assert (event.subject_type, event.subject_id) == ("fee", fee.id)
        assert (event.undo, event.undo_until, event.occurred_at) == (None, None, DUE + DAY)
        assert (event.user_id, fee.user_id, entry.user_id) == (user_id, user_id, user_id)
        assert (entry.event_id, entry.actor_id, entry.occurred_at) == (event.id, None, DUE + DAY)
        assert (fee.kind, fee.created_at) == ("overdue", DUE + DAY)

    def test_one_poisoned_loan_never_stops_the_rest(
        self, sessions: Sessions, lend: Lend, run: Callable[[datetime], int]
    ) -> None:
        first, poisoned, last = lend(), lend(terms={}), lend()

        assert run(DUE + DAY) == 2

        assert charged(sessions) == {first: ("0.20", "0.20"), last: ("0.20", "0.20")}
        with unit_of_work(sessions, writing=False) as session:
            assert find_accruing(session, DUE + DAY) == [poisoned]

    def test_a_loan_that_came_back_meanwhile_is_left_alone(
        self, sessions: Sessions, lend: Lend
    ) -> None:
        loan_id = lend()
        with unit_of_work(sessions, writing=True) as session:
            back = {"returned_at": DUE + DAY, "status": "returned"}
            session.execute(update(Loan).values(back))

        with unit_of_work(sessions, writing=True) as session:
            assert accrue(session, DUE + DAY, [loan_id]) == 0
        assert charged(sessions) == {}

    def test_two_workers_at_once_charge_a_day_once(self, sessions: Sessions, lend: Lend) -> None:
        loan_ids = [lend() for _ in range(5)]
        for day in range(1, 5):
            moment = DUE + day * DAY
            barrier = Barrier(2)

            def work(moment: datetime = moment, barrier: Barrier = barrier) -> int:
                barrier.wait()
                with unit_of_work(sessions, writing=True) as session:
                    return accrue(session, moment, loan_ids)

            with ThreadPoolExecutor(2) as pool:
                assert sum(each.result() for each in [pool.submit(work), pool.submit(work)]) == 5
        assert charged(sessions) == dict.fromkeys(loan_ids, ("0.80", "0.80"))

    def test_many_loans_cost_few_statements(
        self, sessions: Sessions, library: Library, lend: Lend, count_queries: CountQueries
    ) -> None:
        branch_id = library.branch()
        loan_ids = [lend(branch_id=branch_id) for _ in range(10)]

        with count_queries() as statements, unit_of_work(sessions, writing=True) as session:
            assert accrue(session, DUE + DAY, loan_ids) == 10

        assert len(statements) <= 8
