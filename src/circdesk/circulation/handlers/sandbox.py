"""HTTP face of the sandbox's clock."""

from circdesk.circulation import sandbox
from circdesk.circulation.sandbox import JSON
from circdesk.db.unit_of_work import current_session


def get_sandbox_clock() -> JSON:
    """Read the clock of the sandbox."""
    return sandbox.read_clock(current_session())


def move_sandbox_clock(*, body: JSON) -> JSON:
    """Move the clock of the sandbox."""
    return sandbox.move_clock(current_session(), body)
