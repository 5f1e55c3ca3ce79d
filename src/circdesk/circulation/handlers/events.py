"""HTTP face of the events, and of the way back."""

from typing import Unpack
from uuid import UUID

from circdesk.circulation import undoing
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.events import log
from circdesk.events.log import JSON, EventQuery


def list_events(**query: Unpack[EventQuery]) -> Page:
    """List events."""
    return log.list_events(current_session(), query)


def get_event(*, event_id: UUID) -> JSON:
    """Read an event."""
    return log.read_event(current_session(), event_id)


def reverse_event(*, event_id: UUID) -> tuple[JSON, int, dict[str, str]]:
    """Take an action back."""
    reversal = undoing.reverse_event(current_session(), event_id)
    return reversal, 201, {"Location": f"/api/events/{reversal['event']['id']}"}
