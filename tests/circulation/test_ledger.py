"""The ledger: what a fee comes to is always the sum of its entries, on both databases."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from circdesk.circulation.deeds import Deed, record_deeds
from circdesk.circulation.fees.entries import Released, enter, find_totals, lock_fees
from circdesk.circulation.fees.ledger import (
    charge,
    release_lost_fee,
    reverse_entries,
    settle_overdue,
)
from circdesk.circulation.models import Fee, LedgerEntry, Loan
from circdesk.db.unit_of_work import Sessions, unit_of_work
from tests.circulation.conftest import Library

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOTHING = Decimal("0.00")


def euros(amount: str) -> Decimal:
    return Decimal(amount)


def deed(kind: str = "fee.create") -> Deed:
    return Deed(kind, now=NOW)


def entries(session: Session, fee: Fee) -> list[tuple[str, str | None, Decimal]]:
    """The entries of a fee; what the fee says of itself must be their sums."""
    found = session.scalars(
        select(LedgerEntry).where(LedgerEntry.fee_id == fee.id).order_by(LedgerEntry.id)
    ).all()
    charged = [entry for entry in found if "charge" in (entry.kind, entry.reverses)]
    assert fee.outstanding == sum((entry.amount for entry in found), NOTHING)
    assert fee.amount == sum((entry.amount for entry in charged), NOTHING)
    return [(entry.kind, entry.reverses, entry.amount) for entry in found]


@pytest.fixture
def loan_id(library: Library) -> UUID:
    """An open loan that was due a week ago."""
    branch = library.branch()
    book = library.book()
    values: dict[str, Any] = {"user_category": "standard", "material_type": "book"}
    return library.store(
        Loan(
            user_id=library.user(),
            copy_id=library.copy(book, branch, status="on_loan"),
            book_id=book,
            branch_id=branch,
            status="open",
            lent_at=NOW - timedelta(days=35),
            due_at=NOW - timedelta(days=7),
            terms={"fee_per_day": "0.20", "fee_cap": "1.00", "grace_days": 0, "lost_fee": "25.00"},
            **values,
        )
    )


@pytest.fixture
def loan(session: Session, loan_id: UUID) -> Loan:
    return session.get_one(Loan, loan_id)


def user_of(loan: Loan) -> UUID:
    assert loan.user_id is not None
    return loan.user_id


def lose(session: Session, loan: Loan, done: Deed | None = None) -> Fee:
    fee = charge(
        session,
        done or deed(),
        user_id=user_of(loan),
        kind="lost",
        amount=euros("25.00"),
        loan_id=loan.id,
    )
    session.flush()
    return fee


class TestCharge:
    def test_a_fee_begins_with_its_charge(self, session: Session, loan: Loan) -> None:
        fee = charge(
            session,
            deed(),
            user_id=user_of(loan),
            kind="manual",
            amount=euros("2.50"),
            reason="A page was torn.",
        )
        session.flush()

        assert (fee.amount, fee.outstanding) == (euros("2.50"), euros("2.50"))
        assert (fee.created_at, fee.updated_at, fee.reason) == (NOW, NOW, "A page was torn.")
        assert entries(session, fee) == [("charge", None, euros("2.50"))]

    def test_a_loan_that_is_lost_again_is_charged_on_the_same_fee(
        self, session: Session, loan: Loan
    ) -> None:
        fee = lose(session, loan)
        release_lost_fee(session, deed(), loan)

        assert lose(session, loan) is fee

        assert fee.outstanding == euros("25.00")
        assert entries(session, fee) == [
            ("charge", None, euros("25.00")),
            ("reversal", "charge", euros("-25.00")),
            ("charge", None, euros("25.00")),
        ]


class TestSettleOverdue:
    def test_only_the_difference_is_charged(self, session: Session, loan: Loan) -> None:
        fee = settle_overdue(session, deed(), loan, euros("0.60"))
        settle_overdue(session, deed(), loan, euros("1.00"))
        last = deed()
        settle_overdue(session, last, loan, euros("1.00"))

        assert fee is not None
        assert fee.event_id != last.id
        session.flush()
        assert entries(session, fee) == [
            ("charge", None, euros("0.60")),
            ("charge", None, euros("0.40")),
        ]

    def test_where_nothing_is_due_there_is_no_fee(self, session: Session, loan: Loan) -> None:
        assert settle_overdue(session, deed(), loan, NOTHING) is None

    def test_after_a_renewal_the_fee_comes_on_top(self, session: Session, loan: Loan) -> None:
        fee = settle_overdue(session, deed(), loan, euros("0.60"))
        loan.renewals = 1
        settle_overdue(session, deed(), loan, NOTHING)
        assert fee is not None
        assert fee.amount == euros("0.60")

        settle_overdue(session, deed(), loan, euros("0.20"))
        settle_overdue(session, deed(), loan, euros("0.80"))

        session.flush()
        assert fee.amount == euros("1.40")
        assert [amount for _, _, amount in entries(session, fee)] == [
            euros("0.60"),
            euros("0.20"),
            euros("0.60"),
        ]

    def test_what_was_too_much_is_taken_back(self, session: Session, loan: Loan) -> None:
        fee = settle_overdue(session, deed(), loan, euros("1.00"))
        settle_overdue(session, deed(), loan, euros("0.40"))

        assert fee is not None
        session.flush()
        assert entries(session, fee) == [
            ("charge", None, euros("1.00")),
            ("reversal", "charge", euros("-0.60")),
        ]

    def test_what_was_waived_is_taken_back_and_what_was_paid_stays_charged(
        self, session: Session, loan: Loan
    ) -> None:
        fee = settle_overdue(session, deed(), loan, euros("1.00"))
        assert fee is not None
        enter(session, deed(), fee, "payment", euros("-0.70"))
        enter(session, deed(), fee, "waiver", euros("-0.20"))

        settle_overdue(session, deed(), loan, NOTHING)

        session.flush()
        assert (fee.amount, fee.outstanding) == (euros("0.70"), NOTHING)
        assert entries(session, fee)[3:] == [
            ("reversal", "waiver", euros("0.20")),
            ("reversal", "charge", euros("-0.30")),
        ]

    def test_a_loan_that_is_nobodys_owes_nothing(self, session: Session, loan: Loan) -> None:
        loan.user_id = None
        with pytest.raises(ValueError, match="nobody"):
            settle_overdue(session, deed(), loan, euros("1.00"))


class TestReleaseLostFee:
    def test_what_is_owed_is_reversed_and_what_was_paid_is_refunded(
        self, session: Session, loan: Loan
    ) -> None:
        fee = lose(session, loan)
        enter(session, deed(), fee, "payment", euros("-10.00"))
        enter(session, deed(), fee, "waiver", euros("-5.00"))

        released = release_lost_fee(session, deed(), loan)

        session.flush()
        assert released == Released(amount=euros("25.00"), refunded=euros("10.00"))
        assert (fee.amount, fee.outstanding) == (NOTHING, NOTHING)
        assert entries(session, fee)[3:] == [
            ("refund", None, euros("10.00")),
            ("reversal", "waiver", euros("5.00")),
            ("reversal", "charge", euros("-25.00")),
        ]
        assert set(find_totals(session, fee.id).values()) == {NOTHING, euros("-10"), euros("10")}

    def test_where_nothing_was_charged_nothing_is_released(
        self, session: Session, loan: Loan
    ) -> None:
        assert release_lost_fee(session, deed(), loan) == Released(NOTHING, NOTHING)


class TestReverseEntries:
    def test_a_charge_is_taken_back_and_its_fee_stays(self, session: Session, loan: Loan) -> None:
        done = deed()
        fee = lose(session, loan, done)

        undone = deed("loan.undo")
        assert reverse_entries(session, undone, done.id) == [fee]

        session.flush()
        assert (fee.amount, fee.outstanding, fee.event_id) == (NOTHING, NOTHING, undone.id)
        assert entries(session, fee)[1:] == [("reversal", "charge", euros("-25.00"))]

    def test_a_payment_is_owed_again(self, session: Session, loan: Loan) -> None:
        fee, paid = lose(session, loan), deed("fee.pay")
        enter(session, paid, fee, "payment", euros("-10.00"))

        reverse_entries(session, deed("fee.undo"), paid.id)

        session.flush()
        assert (fee.amount, fee.outstanding) == (euros("25.00"), euros("25.00"))
        assert entries(session, fee)[2:] == [("reversal", "payment", euros("10.00"))]

    def test_a_release_is_taken_back_whole(self, session: Session, loan: Loan) -> None:
        fee, found = lose(session, loan), deed("loan.recover")
        enter(session, deed(), fee, "payment", euros("-10.00"))
        release_lost_fee(session, found, loan)

        reverse_entries(session, deed("loan.undo"), found.id)

        session.flush()
        assert (fee.amount, fee.outstanding) == (euros("25.00"), euros("15.00"))
        assert entries(session, fee)[4:] == [
            ("reversal", "refund", euros("-10.00")),
            ("reversal", "charge", euros("25.00")),
        ]

    def test_an_event_without_entries_changes_nothing(self, session: Session, loan: Loan) -> None:
        assert reverse_entries(session, deed(), loan.id) == []


class TestAppendOnly:
    @pytest.fixture
    def entry_id(self, sessions: Sessions, loan_id: UUID) -> UUID:
        with unit_of_work(sessions, writing=True) as session:
            done = deed()
            fee = lose(session, session.get_one(Loan, loan_id), done)
            record_deeds(session, [(done, fee)])
            return session.scalars(select(LedgerEntry.id)).one()

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE ledger_entries SET amount = 0",
            "UPDATE ledger_entries SET comment = 'never mind'",
            "UPDATE ledger_entries SET user_id = user_id",
            "DELETE FROM ledger_entries",
            "INSERT OR REPLACE INTO ledger_entries SELECT * FROM ledger_entries",
        ],
    )
    @pytest.mark.usefixtures("entry_id")
    def test_the_database_refuses_to_change_or_delete_an_entry(
        self, sessions: Sessions, change: str
    ) -> None:
        if "REPLACE" in change and sessions.writing().get_bind().dialect.name != "sqlite":
            pytest.skip("PostgreSQL has no such statement")
        with (
            pytest.raises(DBAPIError, match="append-only"),
            unit_of_work(sessions, writing=True) as session,
        ):
            session.execute(text(change))

        with unit_of_work(sessions, writing=False) as session:
            assert session.scalars(select(LedgerEntry.amount)).all() == [euros("25.00")]

    def test_the_database_refuses_a_fee_of_which_more_is_outstanding_than_was_charged(
        self, sessions: Sessions, entry_id: UUID
    ) -> None:
        for outstanding in (-1, 2501):
            with (
                pytest.raises(DBAPIError, match="ck_fees_outstanding"),
                unit_of_work(sessions, writing=True) as session,
            ):
                session.execute(text(f"UPDATE fees SET outstanding = {outstanding}"))
        assert entry_id.version == 7


class TestAnySequence:
    """Whatever is done in whatever order, the sums hold after each step; seeded, so repeatable."""

    @pytest.mark.parametrize("seed", range(6))
    def test_a_fee_is_the_sum_of_its_entries(self, session: Session, loan: Loan, seed: int) -> None:
        choose = random.Random(seed)
        done: list[Deed] = []
        for _ in range(60):
            step = deed("fee.step")
            fee = self.take_step(session, loan, step, choose, done)
            session.flush()
            if fee is None:
                continue
            entries(session, fee)
            totals = find_totals(session, fee.id)
            paid = totals.get("payment", NOTHING) + totals.get("refund", NOTHING)
            assert NOTHING <= fee.outstanding <= fee.amount
            assert NOTHING <= -paid <= fee.amount
            assert totals.get("waiver", NOTHING) <= NOTHING
        owed = select(func.sum(Fee.outstanding)).where(Fee.user_id == user_of(loan))
        moved = select(func.sum(LedgerEntry.amount)).where(LedgerEntry.user_id == user_of(loan))
        assert session.scalar(owed) == session.scalar(moved)

    def take_step(
        self, session: Session, loan: Loan, step: Deed, choose: random.Random, done: list[Deed]
    ) -> Fee | None:
        """Do something to a fee of the loan, or take back what was done to it last."""
        action = choose.choice(["settle", "renew", "lose", "find", "pay", "waive", "undo", "pay"])
        if action == "undo":
            last = done.pop() if done else step
            return next(iter(reverse_entries(session, step, last.id)), None)
        done.append(step)
        if action in {"pay", "waive"}:
            kind = choose.choice(["overdue", "lost"])
            fee = lock_fees(session, [loan.id], kind).get(loan.id)
            if fee is None or not fee.outstanding:
                return fee
            part = Decimal(choose.randint(1, int(fee.outstanding * 100))) / 100
            enter(session, step, fee, {"pay": "payment", "waive": "waiver"}[action], -part)
            return fee
        if action == "lose":
            return lose(session, loan, step)
        if action == "find":
            release_lost_fee(session, step, loan)
            return lock_fees(session, [loan.id], "lost").get(loan.id)
        if action == "renew":
            # What was undone before a renewal is not undone after it.
            done.clear()
            loan.renewals += 1
        return settle_overdue(session, step, loan, Decimal(choose.randint(0, 100)) / 100)
