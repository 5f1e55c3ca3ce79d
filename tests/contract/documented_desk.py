"""What the contract's examples tell of the desk, of which the demo has nothing."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.circulation.models import Block, Fee, Hold, LedgerEntry, Loan, Notice

MEMBER, LIBRARIAN = demo_id(Kind.USER, 1), demo_id(Kind.USER, 2)
BOOK, CENTRAL = demo_id(Kind.BOOK, 1), demo_id(Kind.BRANCH, 1)
STAMPS = {"created_at": MOMENT, "updated_at": MOMENT}
AMOUNT = Decimal("2.50")


def store_documented_desk(
    session: Session, *, member: UUID = MEMBER, librarian: UUID = LIBRARIAN
) -> None:
    """Store a loan, a hold, a fee with its entry, a block and a notice of the demo's member.

    Args:
        member: Whose they are, where the demo's people are not there.
        librarian: Likewise, who made the entry and the block.
    """
    session.add_all(
        (documented_loan(member), documented_hold(member), _fee(member), _notice(member))
    )
    session.flush()
    session.add_all((_entry(member, librarian), _block(member, librarian)))


def documented_loan(member: UUID, number: int = 1) -> Loan:
    """A loan of the demo's first copy, long overdue by now."""
    return Loan(
        id=demo_id(Kind.LOAN, number),
        user_id=member,
        copy_id=demo_id(Kind.COPY, 1),
        book_id=BOOK,
        branch_id=CENTRAL,
        user_category="standard",
        material_type="book",
        status="open",
        lent_at=MOMENT,
        due_at=datetime(2026, 2, 3, 18, tzinfo=UTC),
        renewals=0,
        policy_id=demo_id(Kind.LOAN_POLICY, 1),
        terms={"fee_per_day": "0.20", "fee_cap": "10.00", "grace_days": 0, "lost_fee": "25.00"},
        **STAMPS,
    )


def documented_hold(member: UUID, number: int = 1) -> Hold:
    """What the member waits for: a copy is on its way."""
    return Hold(
        id=demo_id(Kind.HOLD, number),
        user_id=member,
        book_id=BOOK,
        pickup_branch_id=CENTRAL,
        status="in_transit",
        rank=1,
        placed_at=MOMENT,
        trapped_copy_id=demo_id(Kind.COPY, 2),
        shelf_days=7,
        **STAMPS,
    )


def _fee(member: UUID) -> Fee:
    return Fee(
        id=demo_id(Kind.FEE, 1),
        user_id=member,
        kind="manual",
        reason="A page was torn.",
        amount=AMOUNT,
        outstanding=AMOUNT,
        **STAMPS,
    )


def _entry(member: UUID, librarian: UUID) -> LedgerEntry:
    return LedgerEntry(
        id=demo_id(Kind.LEDGER_ENTRY, 1),
        user_id=member,
        fee_id=demo_id(Kind.FEE, 1),
        kind="charge",
        amount=AMOUNT,
        actor_id=librarian,
        event_id=demo_id(Kind.EVENT, 1),
        occurred_at=MOMENT,
    )


def _block(member: UUID, librarian: UUID) -> Block:
    return Block(
        id=demo_id(Kind.BLOCK, 1),
        user_id=member,
        reason="Two atlases came back wet.",
        expires_at=MOMENT + timedelta(days=1),
        created_by=librarian,
        **STAMPS,
    )


def _notice(member: UUID) -> Notice:
    return Notice(
        id=demo_id(Kind.NOTICE, 1),
        user_id=member,
        kind="hold_ready",
        subject_type="hold",
        subject_id=demo_id(Kind.HOLD, 1),
        since=MOMENT,
        data={
            "title": "The Left Hand of Darkness",
            "branch_name": "Central Library",
            "time_zone": "Europe/Berlin",
            "due_at": None,
            "expires_at": "2026-01-12T18:00:00Z",
            "amount": None,
        },
        created_at=MOMENT,
    )
