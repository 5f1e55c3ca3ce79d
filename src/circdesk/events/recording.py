"""How an event is written, and how whose it was is forgotten."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, Table, Update, case, null, update
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk.db.plain_rows import Write, write_rows
from circdesk.events.models import Event
from circdesk.visits import find_actor

JSON = dict[str, Any]

_TABLE = cast("Table", Event.__table__)


def describe_event(
    kind: str,
    subject_type: str,
    subject_id: UUID | None,
    *,
    now: datetime,
    data: JSON,
    event_id: UUID | None = None,
    user_id: UUID | None = None,
    undo: list[JSON] | None = None,
    undo_until: datetime | None = None,
    undoes_id: UUID | None = None,
) -> Write:
    """An event by the one who acts now.

    Args:
        kind: What happened, as `noun.verb`.
        subject_type: copy, loan, hold, fee, block or clock.
        subject_id: What it happened to; None for the clock.
        now: The present moment by the clock of circulation.
        data: More about it: JSON of ids, codes and numbers, and never who somebody is.
        event_id: Its id, where the rows that it changes have it already.
        user_id: Whose loan, hold or fee it is.
        undo: How the rows were that it changed, where it can be taken back.
        undo_until: Until when it can be.
        undoes_id: The event that it took back.
    """
    actor_type, actor_id = find_actor()
    columns = {
        "id": event_id or uuid7(),
        "kind": kind,
        "subject_type": subject_type,
        "subject_id": subject_id,
        "actor_type": actor_type,
        "actor_id": actor_id,
        "user_id": user_id,
        "data": data,
        "occurred_at": now,
        "undo": undo,
        "undo_until": undo_until,
        "undoes_id": undoes_id,
    }
    return Write(_TABLE, columns)


def record_events(session: Session, events: Sequence[Write]) -> None:
    """Write events in the transaction of what they tell."""
    write_rows(session, events)


def forget_whose(*which: ColumnElement[bool]) -> Update:
    """The statement that drops from these events whose they were, and how they are undone."""
    was_own = Event.actor_id == Event.user_id
    actor_id = case((was_own, null()), else_=Event.actor_id)
    return update(Event).where(*which).values(user_id=None, undo=None, actor_id=actor_id)
