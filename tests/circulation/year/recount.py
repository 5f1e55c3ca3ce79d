"""What the database says of a year, beside what the clerk has in the books.

Fees are reckoned from the ledger's entries alone.
"""

from collections import Counter, defaultdict
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from circdesk.catalog.models import Copy
from circdesk.circulation.models import Fee, Hold, LedgerEntry, Loan
from circdesk.events.models import Event
from tests.circulation.year.books import Account, Books, Held, Lent
from tests.circulation.year.rules import NOTHING

Recount = dict[str, Any]


def stored(session: Session) -> Recount:
    """What is stored: every loan, hold and copy, every fee, and how many events of each kind."""
    loans = select(
        *(Loan.id, Loan.status, Loan.renewals, Loan.due_at),
        *(Loan.returned_at, Loan.copy_id, Loan.user_id),
    )
    holds = select(Hold.id, Hold.status, Hold.trapped_copy_id, Hold.user_id, Hold.shelf_expires_at)
    events = select(Event.kind, func.count()).group_by(Event.kind)
    return {
        "loans": {str(row[0]): _plain(row[1:]) for row in session.execute(loans)},
        "holds": {
            str(row[0]): _plain(row[1:] if row.status == "ready" else row[1:4])
            for row in session.execute(holds)
        },
        "copies": {str(row[0]): row[1] for row in session.execute(select(Copy.id, Copy.status))},
        "fees": _stored_fees(session),
        "events": {kind: number for kind, number in session.execute(events)},  # noqa: C416 - typed.
    }


def expected(books: Books, today: date) -> Recount:
    """The same by the books of the clerk."""
    accruals = sum(len(lent.growth(books.branch, today)) for lent in books.loans.values())
    return {
        "loans": {lent.id: _loan(books, lent, today) for lent in books.loans.values()},
        "holds": {held.id: _hold(held, today) for held in books.holds.values()},
        "copies": {item.id: item.status for item in books.items},
        "fees": _expected_fees(books, today),
        "events": {**books.events, "fee.accrue": accruals},
    }


def _plain(values: Any) -> tuple[Any, ...]:
    return tuple(str(value) if hasattr(value, "hex") else value for value in values)


def _loan(books: Books, lent: Lent, today: date) -> tuple[Any, ...]:
    # Whoever keeps no history is forgotten once nothing is owed any more.
    known = (
        lent.member.keeps_history
        or lent.returned_at is None
        or books.outstanding(lent, today) > NOTHING
    )
    owner = lent.member.id if known else None
    return lent.status, lent.renewals, lent.due, lent.returned_at, lent.item.id, owner


def _hold(held: Held, today: date) -> tuple[Any, ...]:
    # What has ended this very moment may be taken back for some time.
    known = held.member.keeps_history or held.ended_on in (None, today)
    owner = held.member.id if known else None
    values = (held.status, held.item and held.item.id, owner)
    return (*values, held.shelf_end) if held.status == "ready" else values


# Of whom, for what, what was charged, paid, given back and let go.
_Fees = Counter[tuple[str, str, Decimal, Decimal, Decimal, Decimal]]


def _stored_fees(session: Session) -> _Fees:
    counted = func.coalesce(LedgerEntry.reverses, LedgerEntry.kind)
    entries = select(LedgerEntry.fee_id, LedgerEntry.user_id, Fee.kind, counted, LedgerEntry.amount)
    sums: dict[Any, defaultdict[str, Decimal]] = {}
    for fee_id, user_id, kind, counts_for, amount in session.execute(
        entries.join(Fee, Fee.id == LedgerEntry.fee_id)
    ):
        fee = sums.setdefault((fee_id, str(user_id), kind), defaultdict(lambda: NOTHING))
        fee[counts_for] += amount
    return Counter(
        (user, kind, fee["charge"], -fee["payment"], fee["refund"], -fee["waiver"])
        for (_, user, kind), fee in sums.items()
    )


def _expected_fees(books: Books, today: date) -> _Fees:
    fees: _Fees = Counter()
    for lent in books.loans.values():
        overdue = books.charged(lent, "overdue", today)
        if overdue:
            account = books.accounts[lent.id, "overdue"]
            fees[_fee(lent.member.id, "overdue", overdue, account)] += 1
        if lent.was_lost:
            lost = books.charged(lent, "lost", today)
            fees[_fee(lent.member.id, "lost", lost, books.accounts[lent.id, "lost"])] += 1
    for fee_id, (member, amount) in books.manual.items():
        fees[_fee(member.id, "manual", amount, books.accounts[fee_id, "manual"])] += 1
    return fees


def _fee(
    user: str, kind: str, charged: Decimal, account: Account
) -> tuple[str, str, Decimal, Decimal, Decimal, Decimal]:
    return user, kind, charged, account.paid, account.refunded, account.waived
