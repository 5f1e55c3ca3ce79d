"""What can go wrong with copies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from uuid import UUID

from circdesk.catalog.books import IsbnAmbiguous
from circdesk.catalog.checks import IsbnInvalid, suggestion
from circdesk.contract.problems import Problem, fault

# Lending, reserving and sending begin and end these; set by hand, one would lie about a person.
DESK_STATUSES = {
    "on_loan": "on loan",
    "on_hold_shelf": "on the hold shelf",
    "in_transit": "in transit",
}
HAND_STATUSES = ("available", "on_order", "in_repair", "missing", "lost", "withdrawn")
# A copy in one of these may still be lent to somebody who says that it came back, or never will.
ENDED_BY_RETURN = ("missing", "lost")
KEPT_BY_LOAN = ("missing", "lost", "withdrawn")


class BarcodeTaken(Problem):
    """Another copy has this barcode."""

    code: ClassVar[str] = "barcode_taken"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Another copy has this barcode."
    advice: ClassVar[str] = "Use another barcode, or change the copy in `suggestions` instead."


class CopyStatusManaged(Problem):
    """The status of the copy is the desk's business."""

    code: ClassVar[str] = "copy_status_managed"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Only the desk changes this status."
    advice: ClassVar[str] = (
        "Copies come to be on loan, on the hold shelf or in transit, and leave these states, by "
        "circulation alone. Set any other status by hand; `details` lists them."
    )


class CopyInUse(Problem):
    """Somebody has the copy, or waits for it."""

    code: ClassVar[str] = "copy_in_use"
    status: ClassVar[int] = 409
    title: ClassVar[str] = "Somebody has this copy or waits for it."
    advice: ClassVar[str] = "Delete the copy once the desk has it back."


class ReferenceUnknown(Problem):
    """The body names a book or a branch that is not there."""

    code: ClassVar[str] = "reference_unknown"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The body names something that does not exist."
    advice: ClassVar[str] = (
        "Look up the right key in a list, or create what is missing first; `details` says where "
        "in the body the unknown key is."
    )


def unknown_reference(noun: str, key: str | UUID) -> ReferenceUnknown:
    """The problem of a body that names a book or a branch that is not there."""
    message = f"No {noun} has the key {key}."
    return ReferenceUnknown(message, details=[fault("body", f"/{noun}_id", "reference", message)])


@contextmanager
def book_key_in(place: str, pointer: str) -> Iterator[None]:
    """Let the problems of a book's key, which is no path here, point to where it was given."""
    try:
        yield
    except (IsbnInvalid, IsbnAmbiguous) as problem:
        details = [{**detail, "in": place, "pointer": pointer} for detail in problem.details]
        raise type(problem)(
            problem.message, details=details, suggestions=problem.suggestions
        ) from None


def barcode_taken(barcode: str) -> BarcodeTaken:
    """The problem of a barcode that another copy has."""
    message = f"Another copy has the barcode {barcode}."
    key = f"barcode:{barcode}"
    return BarcodeTaken(
        message,
        details=[fault("body", "/barcode", "unique", message)],
        suggestions=[suggestion("get_copy", {"copy_id": key}, reason="It has this barcode.")],
    )


def raise_if_managed(before: str | None, after: str) -> None:
    """Raise CopyStatusManaged for a change into or out of a status of the desk's.

    `before` is None for a copy that is new.
    """
    if before == after:
        return
    if before in DESK_STATUSES:
        # Until the desk ends it, this is the one status that the copy can keep.
        raise _managed(
            f"The copy is {DESK_STATUSES[before]}; only the desk can end that.", [before]
        )
    if after in DESK_STATUSES:
        message = f"Only the desk can make a copy {DESK_STATUSES[after]}."
        raise _managed(message, [*HAND_STATUSES])


def still_lent(copy_id: UUID) -> CopyStatusManaged:
    """The problem of a copy that was given up while it was lent, and is to be there by hand."""
    message = "The copy is still lent to somebody; only its return ends that."
    details = [fault("body", "/status", "managed", message, [*KEPT_BY_LOAN])]
    reason = "It ends the loan, and says where the copy belongs."
    call = suggestion("return_copy", {}, body={"copy": str(copy_id)}, reason=reason)
    return CopyStatusManaged(message, details=details, suggestions=[call])


def waited_for(copy_id: UUID) -> CopyInUse:
    """The problem of a copy that somebody waits for, and for no other of its title."""
    message = "Somebody has a hold on this very copy."
    return CopyInUse(
        message,
        details=[fault("path", "/copy_id", "held", message)],
        suggestions=[
            suggestion("list_holds", {"copy": str(copy_id), "active": True}, reason="These wait.")
        ],
    )


def raise_if_away(status: str) -> None:
    """Raise CopyInUse for a copy that somebody has or waits for."""
    if status in DESK_STATUSES:
        message = f"The copy is {DESK_STATUSES[status]}."
        raise CopyInUse(message, details=[fault("path", "/copy_id", "in_use", message)])


def _managed(message: str, allowed: list[str]) -> CopyStatusManaged:
    return CopyStatusManaged(
        message, details=[fault("body", "/status", "managed", message, allowed)]
    )
