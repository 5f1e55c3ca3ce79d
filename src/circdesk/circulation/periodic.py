"""Periodic work: what time alone brings about at the desk."""

from collections.abc import Callable, Mapping

from circdesk.circulation.chores import Chore, run_chores
from circdesk.circulation.fees.accrual import ACCRUAL
from circdesk.circulation.forgetting import FORGETTING
from circdesk.circulation.holds.expiry import EXPIRY
from circdesk.circulation.notices.making import NOTICES
from circdesk.db.unit_of_work import Sessions

# A hold that expires frees its copy for the next one, and notices tell of everything before them.
CHORES: tuple[Chore, ...] = (EXPIRY, ACCRUAL, *NOTICES)


def run_due(sessions: Sessions, stopping: Callable[[], bool] = lambda: False) -> Mapping[str, int]:
    """Do whatever is due by the clock of circulation; how much each chore has changed.

    Raises:
        DatabaseUnavailable: The database is out of reach, for everything alike.
    """
    return run_chores(sessions, CHORES, stopping)


def forget(sessions: Sessions, stopping: Callable[[], bool] = lambda: False) -> Mapping[str, int]:
    """Forget what nobody wants to be kept, which is not urgent; counts and errors as `run_due`."""
    return run_chores(sessions, FORGETTING, stopping)
