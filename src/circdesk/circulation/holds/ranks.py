"""Ranks: what orders the holds of a title, which are never the same for two of them.

They are the time, in microseconds: a hold that is moved takes a rank between two others, and these
keep theirs; and the place of a hold that has ended stays free for it to come back to. Whoever gives
a rank has locked the row of the book.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from circdesk.circulation.deeds import Deed
from circdesk.circulation.holds.queue import is_active
from circdesk.circulation.models import Hold

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# How far ranks are apart where that is up to us.
_GAP = 1_000_000


def last_rank(ranks: Sequence[int], now: datetime) -> int:
    """The rank of a hold behind all these: microseconds since 1970, or more."""
    moment = (now - _EPOCH) // timedelta(microseconds=1)
    return max([moment, *(rank + 1 for rank in ranks)])


def move(session: Session, deed: Deed, hold: Hold, position: int) -> None:
    """Move a hold to this place in its queue, from 1; what is beyond the end is the end."""
    others = _others(session, hold)
    if position <= len(others) and not _fits(others, position):
        _spread(session, deed, hold)
        others = _others(session, hold)
    deed.change(hold, rank=_rank_at(others, position, deed.now))


def _others(session: Session, hold: Hold) -> list[tuple[UUID, int]]:
    """The ids and ranks of the other holds in the queue, in its order."""
    found = select(Hold.id, Hold.rank).where(
        Hold.book_id == hold.book_id, is_active(), Hold.id != hold.id
    )
    return [(hold_id, rank) for hold_id, rank in session.execute(found.order_by(Hold.rank))]


def _fits(others: Sequence[tuple[UUID, int]], position: int) -> bool:
    """Whether there is a rank left between the two that the place is between."""
    return position == 1 or others[position - 1][1] - others[position - 2][1] > 1


def _spread(session: Session, deed: Deed, hold: Hold) -> None:
    """Give the queue new ranks in the same order, far apart and beyond all that there are.

    What was done before to any hold of the title cannot be taken back then, for its rank is a place
    in the old order.
    """
    of_title = Hold.book_id == hold.book_id
    session.execute(update(Hold).where(of_title).values(event_id=deed.id))
    queue = select(Hold.id, Hold.rank).where(of_title, is_active()).order_by(Hold.rank)
    rows = session.execute(queue).all()
    spread = [
        {"id": row.id, "rank": rows[-1].rank + _GAP * place}
        for place, row in enumerate(rows, start=1)
    ]
    session.execute(update(Hold), spread)
    session.refresh(hold, ["rank", "event_id"])


def _rank_at(others: Sequence[tuple[UUID, int]], position: int, now: datetime) -> int:
    if position > len(others):
        return last_rank([rank for _, rank in others], now)
    after = others[position - 1][1]
    return after - _GAP if position == 1 else (others[position - 2][1] + after) // 2
