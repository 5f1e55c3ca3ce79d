"""The states of a copy: which may follow which, and who may see to that. There is no other way."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

from circdesk.contract.problems import Problem, fault

# The desk does it by lending, taking back, holding and sending; staff do it by hand, by writing
# the status of a copy.
Who = Literal["desk", "hand"]

_DESK: frozenset[Who] = frozenset(("desk",))
_HAND: frozenset[Who] = frozenset(("hand",))
_BOTH = _DESK | _HAND

TRANSITIONS: Mapping[str, Mapping[str, frozenset[Who]]] = MappingProxyType(
    {
        "available": {
            "on_loan": _DESK,
            "on_hold_shelf": _DESK,
            "in_transit": _DESK,
            "on_order": _HAND,
            "in_repair": _HAND,
            "missing": _HAND,
            "lost": _HAND,
            "withdrawn": _HAND,
        },
        "on_loan": {
            "available": _DESK,
            "on_hold_shelf": _DESK,
            "in_transit": _DESK,
            # The borrower says that it came back, or that it never will.
            "missing": _DESK,
            "lost": _DESK,
        },
        "on_hold_shelf": {"available": _DESK, "on_loan": _DESK, "in_transit": _DESK},
        "in_transit": {"available": _DESK, "on_hold_shelf": _DESK},
        "on_order": {
            "available": _BOTH,
            "on_hold_shelf": _DESK,
            "in_transit": _DESK,
            "in_repair": _HAND,
            "missing": _HAND,
            "lost": _HAND,
            "withdrawn": _HAND,
        },
        "in_repair": {
            # Staff may lift that it is damaged.
            "on_loan": _DESK,
            "available": _BOTH,
            "on_hold_shelf": _DESK,
            "in_transit": _DESK,
            "on_order": _HAND,
            "missing": _HAND,
            "lost": _HAND,
            "withdrawn": _HAND,
        },
        # What was given up and turns up again may be wanted somewhere at once.
        "missing": {
            "available": _BOTH,
            # Its borrower has found it.
            "on_loan": _DESK,
            "on_hold_shelf": _DESK,
            "in_transit": _DESK,
            "on_order": _HAND,
            "in_repair": _HAND,
            "lost": _BOTH,
            "withdrawn": _HAND,
        },
        "lost": {
            "available": _BOTH,
            "on_loan": _DESK,
            "on_hold_shelf": _DESK,
            "in_transit": _DESK,
            "on_order": _HAND,
            "in_repair": _HAND,
            "missing": _BOTH,
            "withdrawn": _HAND,
        },
        # It comes back into stock before anything else becomes of it.
        "withdrawn": {"available": _HAND},
    }
)


class CopyStateRefused(Problem):
    """A copy in this state cannot come into that one."""

    code: ClassVar[str] = "copy_state_refused"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "A copy in this state cannot come into that one."
    advice: ClassVar[str] = (
        "`details` lists the states that can follow. Bring the copy into one of them first."
    )


def is_allowed(before: str, after: str, who: Who) -> bool:
    """Whether a copy may go from one status to the other; staying as it is always is."""
    return before == after or who in TRANSITIONS[before].get(after, ())


def raise_if_refused(before: str, after: str, who: Who, *, pointer: str = "") -> None:
    """Let a copy go from one status to the other.

    Args:
        before: The status that it has.
        after: The status that it is to have.
        who: The desk, or staff by hand.
        pointer: Where the body named the status, if it did.

    Raises:
        CopyStateRefused: The table has no such transition, or not for these.
    """
    if is_allowed(before, after, who):
        return
    allowed = [status for status, by in TRANSITIONS[before].items() if who in by]
    message = f"A copy that is {_words(before)} cannot come to be {_words(after)}."
    raise CopyStateRefused(
        message, details=[fault("body", pointer, "transition", message, allowed)]
    )


def _words(status: str) -> str:
    return status.replace("_", " ").replace("on hold", "on the hold")
