"""Actions: by its name, the function that decides about each, which its live call runs too."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy.orm import Session

from circdesk.circulation.check_outs import decide_check_out
from circdesk.circulation.decisions import Consent, Decision, plan_key
from circdesk.circulation.holds.ending import decide_cancel_hold
from circdesk.circulation.holds.placing import decide_place_hold
from circdesk.circulation.renewals import decide_renewal
from circdesk.circulation.returns import decide_return
from circdesk.visits import Caller

JSON = dict[str, Any]
# What decides takes the question as the contract has it, and changes and locks nothing.
Decide = Callable[[Session, Caller, JSON], Decision]

_DECIDES: Mapping[str, Decide] = MappingProxyType(
    {
        "check_out": decide_check_out,
        "return": decide_return,
        "renew": decide_renewal,
        "place_hold": decide_place_hold,
        "cancel_hold": decide_cancel_hold,
    }
)


def decide(session: Session, caller: Caller, question: JSON) -> JSON:
    """What would become of the action of a question, asked with its `confirm` and `override`.

    Raises what the live call would raise before it comes to a decision.
    """
    decision = _DECIDES[question["action"]](session, caller, question)
    return decision.settle(Consent.of(question), caller).present(plan_key(session))
