"""Why a copy cannot be returned, and what is worth knowing when it is."""

from collections.abc import Iterator

from circdesk.circulation.borrowers import present_moment
from circdesk.circulation.reasons import Reason
from circdesk.circulation.return_facts import ReturnFacts

# Nobody brings back a copy in these states, unless its loan is still to be ended.
_NOT_RETURNED = {"in_repair": "copy_damaged", "withdrawn": "copy_withdrawn"}
# States of a copy that nobody knew the whereabouts of.
_GIVEN_UP = frozenset(("lost", "missing"))


def blockers(facts: ReturnFacts) -> Iterator[Reason]:
    """What stands in the way: a copy that first has to come back into stock."""
    if facts.lent is None and facts.copy.status in _NOT_RETURNED:
        yield Reason(_NOT_RETURNED[facts.copy.status])


def warnings(facts: ReturnFacts) -> Iterator[Reason]:
    """What is worth knowing."""
    if facts.lent is None:
        yield Reason("no_open_loan")
    elif facts.lent.overdue:
        yield Reason("loan_overdue", {"due_at": present_moment(facts.lent.loan.due_at)})
    if facts.copy.status in _GIVEN_UP:
        yield Reason("copy_found", {"status": facts.copy.status})
