"""HTTP face of holds."""

from typing import Unpack
from uuid import UUID

from circdesk.circulation.holds import changing, ending, hold_lists, placing
from circdesk.circulation.holds.hold_lists import (
    JSON,
    BookHoldQuery,
    HoldQuery,
    OwnHoldQuery,
    UserHoldQuery,
)
from circdesk.db.pagination import Page
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller, current_user_id


def list_holds(**query: Unpack[HoldQuery]) -> Page:
    """List holds."""
    return hold_lists.list_holds(current_session(), query)


def place_hold(*, body: JSON) -> tuple[JSON, int, dict[str, str]]:
    """Place a hold."""
    placed = placing.place_hold(current_session(), current_caller(), body)
    return placed, 201, {"Location": f"/api/holds/{placed['hold']['id']}"}


def get_hold(*, hold_id: UUID) -> JSON:
    """Read a hold."""
    return hold_lists.read_hold(current_session(), current_caller(), hold_id)


def update_hold(*, hold_id: UUID, body: JSON) -> JSON:
    """Change a hold."""
    return changing.update_hold(current_session(), current_caller(), hold_id, body)


def cancel_hold(*, hold_id: UUID, body: JSON | None) -> JSON:
    """Cancel a hold."""
    return ending.cancel_hold(current_session(), current_caller(), hold_id, body)


def list_user_holds(**query: Unpack[UserHoldQuery]) -> Page:
    """List the holds of a user."""
    return hold_lists.list_user_holds(current_session(), current_caller(), query)


def list_my_holds(**query: Unpack[OwnHoldQuery]) -> Page:
    """List one's own holds."""
    return hold_lists.list_own_holds(current_session(), current_user_id(), query)


def list_book_holds(**query: Unpack[BookHoldQuery]) -> Page:
    """List the queue of a book."""
    return hold_lists.list_queue(current_session(), query)
