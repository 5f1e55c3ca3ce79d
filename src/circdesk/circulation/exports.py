"""What the desk holds on a person, for the person's export (GDPR, article 15)."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from circdesk.circulation.blocks import present_block
from circdesk.circulation.fees.fees import present_entry, present_fee
from circdesk.circulation.holds.presenting import present_hold
from circdesk.circulation.loans import present_loan
from circdesk.circulation.models import Block, Fee, Hold, LedgerEntry, Loan, Notice
from circdesk.circulation.notices.notices import present as present_notice
from circdesk.circulation.time import now
from circdesk.visits import Caller

JSON = dict[str, Any]
Owned = TypeVar("Owned", Loan, Hold, Fee, LedgerEntry, Block, Notice)


def export_desk(session: Session, caller: Caller, user_id: UUID, most: int) -> JSON:
    """Loans, holds, fees and their ledger, blocks and notices of a person, of each the newest.

    Args:
        session: A unit of work.
        caller: Who asks; of the ledger's entries others do not see who made them.
        user_id: The person.
        most: How many of each there are at most.
    """

    def own(model: type[Owned]) -> Sequence[Owned]:
        found = select(model).where(model.user_id == user_id)
        return session.scalars(found.order_by(model.id.desc()).limit(most)).all()

    moment = now(session)
    return {
        "loans": [present_loan(loan, moment) for loan in own(Loan)],
        "holds": [present_hold(hold, None) for hold in own(Hold)],
        "fees": [present_fee(session, fee) for fee in own(Fee)],
        "ledger_entries": [present_entry(session, caller, entry) for entry in own(LedgerEntry)],
        "blocks": [present_block(block, moment) for block in own(Block)],
        "notices": [present_notice(notice) for notice in own(Notice)],
    }
