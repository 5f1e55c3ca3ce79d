"""Holds as callers see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from circdesk.circulation.holds.forecasts import Forecast, forecast
from circdesk.circulation.holds.titles import load_titles
from circdesk.circulation.models import Hold

JSON = dict[str, Any]


def present_hold(hold: Hold, expected: Forecast | None) -> JSON:
    """A hold as the contract shows it.

    Args:
        hold: The hold.
        expected: Its forecast; None once it has ended.
    """
    return {
        "id": hold.id,
        "user_id": hold.user_id,
        "book_id": hold.book_id,
        "copy_id": hold.copy_id,
        "pickup_branch_id": hold.pickup_branch_id,
        "status": hold.status,
        "position": None if expected is None else expected.position,
        "expected_on": None if expected is None else expected.expected_on,
        "suspended_until": hold.suspended_until,
        "trapped_copy_id": hold.trapped_copy_id,
        "placed_at": hold.placed_at,
        "ready_at": hold.ready_at,
        "shelf_expires_at": hold.shelf_expires_at,
        "ended_at": hold.ended_at,
        "created_at": hold.created_at,
        "updated_at": hold.updated_at,
    }


def present_holds(session: Session, holds: Sequence[Hold], now: datetime) -> list[JSON]:
    """Holds with their forecasts: two statements for all of them, none where all have ended."""
    active = {hold.book_id for hold in holds if hold.ended_at is None and hold.book_id is not None}
    titles = load_titles(session, active)
    forecasts = {
        hold_id: expected
        for title in titles.values()
        for hold_id, expected in forecast(title, now).items()
    }
    return [present_hold(hold, forecasts.get(hold.id)) for hold in holds]
