"""HTTP face of decisions."""

from typing import Any

from circdesk.circulation import actions
from circdesk.db.unit_of_work import current_session
from circdesk.visits import current_caller

JSON = dict[str, Any]


def decide_action(*, body: JSON) -> JSON:
    """Ask what would become of an action."""
    return actions.decide(current_session(), current_caller(), body)
