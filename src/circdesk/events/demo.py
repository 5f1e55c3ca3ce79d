"""The demo's events, which the examples in the contract show."""

from sqlalchemy.orm import Session

from circdesk.catalog.demo.identities import MOMENT, Kind, demo_id
from circdesk.events.models import Event

# What a copy has been through: it was mended.
_STATUSES = (["available", "in_repair"], ["in_repair", "available"])


def seed_events(session: Session) -> None:
    """Store the events that every demo has, unless they are there."""
    if session.get(Event, demo_id(Kind.EVENT, 1)) is not None:
        return
    copy_id = demo_id(Kind.COPY, 1)
    session.add_all(
        Event(
            id=demo_id(Kind.EVENT, number),
            kind="copy.status_change",
            subject_type="copy",
            subject_id=copy_id,
            actor_type="user",
            actor_id=demo_id(Kind.USER, 2),
            data={"copy_id": str(copy_id), "copy_status": change},
            occurred_at=MOMENT,
        )
        for number, change in enumerate(_STATUSES, start=1)
    )
