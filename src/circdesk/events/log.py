"""Events as staff read them, in the order in which they were stored."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Row, Text, cast, func, select, true, tuple_
from sqlalchemy.orm import Session, aliased

from circdesk.contract.problems import fault
from circdesk.contract.requests import InvalidRequest, NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.events.models import Event

JSON = dict[str, Any]

_SORTS = {"stored": (Event.transaction_id,)}
_Undoing = aliased(Event)
_SHOWN = select(Event, _Undoing.id.label("undone_by_id")).outerjoin(
    _Undoing, _Undoing.undoes_id == Event.id
)


class EventQuery(PageQuery):
    """What events can be filtered by."""

    kind: str | None
    subject: UUID | None
    since: datetime | None
    after: UUID | None


def list_events(session: Session, query: EventQuery) -> Page:
    """One page of the events that match, in the order in which they were stored.

    Transactions do not end in the order in which they begin. On PostgreSQL an event shows once
    every transaction that was begun before its own has ended, so that none shows later among
    those that a reader has seen.

    Raises InvalidRequest where `after` names no event, and what `paginate` raises.
    """
    found = _SHOWN.where(_is_settled(session))
    if query["kind"] is not None:
        found = found.where(Event.kind == query["kind"])
    if query["subject"] is not None:
        found = found.where(Event.subject_id == query["subject"])
    if query["since"] is not None:
        found = found.where(Event.occurred_at >= query["since"])
    if query["after"] is not None:
        found = found.where(_is_after(session, query["after"]))
    return paginate(
        session, found, sorts=_SORTS, query=query, present=_present_row, scope="list_events"
    )


def read_event(session: Session, event_id: UUID) -> JSON:
    """One event. Raises NotFound."""
    row = session.execute(_SHOWN.where(Event.id == event_id)).one_or_none()
    if row is None:
        raise unknown_event(event_id)
    return _present_row(row)


def unknown_event(event_id: UUID) -> NotFound:
    """The problem of an event that is not there, or not for the caller."""
    return NotFound(f"No event has the id {event_id}.")


def _is_settled(session: Session) -> ColumnElement[bool]:
    if session.get_bind().dialect.name != "postgresql":
        return true()
    oldest = func.pg_snapshot_xmin(func.pg_current_snapshot())
    # Its numbers have no other way to an integer than through text.
    return Event.transaction_id < cast(cast(oldest, Text), BigInteger)


def _is_after(session: Session, event_id: UUID) -> ColumnElement[bool]:
    place = session.scalar(select(Event.transaction_id).where(Event.id == event_id))
    if place is None:
        message = f"No event has the id {event_id}."
        details = [fault("query", "/after", "reference", message)]
        raise InvalidRequest("The request has 1 fault.", details=details)
    return tuple_(Event.transaction_id, Event.id) > tuple_(place, event_id)


def _present_row(row: Row[*tuple[Any, ...]]) -> JSON:
    event: Event = row[0]
    return {
        "id": event.id,
        "occurred_at": event.occurred_at,
        "kind": event.kind,
        "subject": {"type": event.subject_type, "id": event.subject_id},
        "actor": {"type": event.actor_type, "id": event.actor_id},
        "user_id": event.user_id,
        "data": event.data,
        "undo_until": event.undo_until,
        "undoes_id": event.undoes_id,
        "undone_by_id": row[1],
    }
