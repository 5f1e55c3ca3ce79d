"""Undoing: an action is taken back, as long as everything it touched is still as it left it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.audit.entries import record
from circdesk.auth.problems import scope_missing
from circdesk.catalog.models import Book, Copy
from circdesk.circulation.deeds import Deed, Row
from circdesk.circulation.facts import STAFF
from circdesk.circulation.fees.ledger import reverse_entries
from circdesk.circulation.models import Fee, Hold, Loan, Notice
from circdesk.circulation.money import Hundredths
from circdesk.circulation.time import now as desk_now
from circdesk.circulation.undo_obstacles import (
    Image,
    cannot_undo,
    raise_if_over_limits,
    raise_if_relied_upon,
    uncounted,
)
from circdesk.db.base import UtcDateTime
from circdesk.events.log import read_event, unknown_event
from circdesk.events.models import Event
from circdesk.events.recording import describe_event, record_events
from circdesk.visits import current_caller

JSON = dict[str, Any]

_MONEY = "fees:write"

# In the order in which everybody locks them.
_MODELS: Mapping[str, type[Row]] = {"copies": Copy, "loans": Loan, "holds": Hold, "fees": Fee}
# What the ledger alone changes of a fee, by entries.
_LEDGERS_OWN = frozenset(("amount", "outstanding"))
_FROM_JSON: Mapping[type, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    UUID: UUID,
}


def reverse_event(session: Session, event_id: UUID) -> JSON:
    """Take back what an event tells of; answers the event that did.

    Everything is as it was before: states, queue, balance. What was made is deleted, but for fees,
    which the ledger settles by counter-entries. So the action before can be taken back next.

    Raises:
        NotFound: There is no such event, or it is not for the caller.
        ScopeMissing: It is about money, which is not for the caller.
        ReversalImpossible: It is too late, or something later depends on it.
    """
    event = _find(session, event_id)
    now = desk_now(session)
    _raise_if_over(session, event, now)
    category = _lock_user(session, event)
    images = _lock_rows(session, event)
    _raise_if_changed(session, event, images)
    raise_if_relied_upon(session, event, images)
    deed = Deed(f"{event.subject_type}.reverse", now=now, user_id=event.user_id, undoable=False)
    rows = uncounted(images)
    try:
        _restore(session, deed, event, images)
        _write_down(session, deed, event)
    except IntegrityError as error:
        # A place in the queue is somebody else's, or a branch has closed down.
        raise cannot_undo("changed", "What it changed has no place any more.") from error
    raise_if_over_limits(session, event, rows, category)
    return {"event": read_event(session, deed.id), "warnings": [], "compensation": None}


def _find(session: Session, event_id: UUID) -> Event:
    """The event, if the caller may know of it: staff of all, others of what they did themselves."""
    event, caller = session.get(Event, event_id), current_caller()
    is_own = event is not None and event.actor_type == "user" and event.actor_id == caller.user_id
    if event is None or not (caller.may(STAFF) or is_own):
        raise unknown_event(event_id)
    if event.subject_type == "fee" and not caller.may(_MONEY):
        raise scope_missing([_MONEY])
    return event


def _raise_if_over(session: Session, event: Event, now: datetime) -> None:
    _raise_if_reversed(session, event)
    if event.undo_until is None:
        raise cannot_undo("final", "It cannot be taken back.")
    if event.undo is None or now > event.undo_until:
        raise cannot_undo("deadline", "It is too late to take it back.")


def _lock_user(session: Session, event: Event) -> str:
    """Keep the limits of whose loan or hold it is in place; answers the person's category."""
    found = select(User.category).where(User.id == event.user_id, User.status != "deleted")
    category = session.scalar(found.with_for_update(key_share=True))
    if event.user_id is not None and category is None:
        raise cannot_undo("changed", "The user is not there any more.")
    return category or ""


def _lock_rows(session: Session, event: Event) -> Sequence[Image]:
    """The rows that the event changed, in its order, locked; what is gone is missing."""
    undo = event.undo or ()
    ids: dict[str, list[UUID]] = defaultdict(list)
    for image in undo:
        ids[image["table"]].append(UUID(image["id"]))
    _lock_books(session, ids)
    rows: dict[UUID, Row] = {}
    for table, model in _MODELS.items():
        if ids[table]:
            rows |= _lock(session, model, ids[table])
    return [
        Image(rows[UUID(image["id"])], image["before"])
        for image in undo
        if UUID(image["id"]) in rows
    ]


def _lock_books(session: Session, ids: Mapping[str, Sequence[UUID]]) -> None:
    copied = select(Copy.book_id).where(Copy.id.in_(ids.get("copies", ())))
    held = select(Hold.book_id).where(Hold.id.in_(ids.get("holds", ())))
    books = select(Book.id).where(or_(Book.id.in_(copied), Book.id.in_(held))).order_by(Book.id)
    session.execute(books.with_for_update(key_share=True)).all()


def _lock(session: Session, model: Any, ids: Iterable[UUID]) -> dict[UUID, Row]:
    found = select(model).where(model.id.in_(ids)).order_by(model.id)
    locked = found.with_for_update(key_share=True).execution_options(populate_existing=True)
    return {row.id: row for row in session.scalars(locked)}


def _raise_if_changed(session: Session, event: Event, images: Sequence[Image]) -> None:
    # Another may have taken it back while this one waited for the locks.
    _raise_if_reversed(session, event)
    gone = len(images) < len(event.undo or ())
    if gone or any(image.row.event_id != event.id for image in images):
        raise cannot_undo("changed", "Something that it changed has changed again since.")


def _raise_if_reversed(session: Session, event: Event) -> None:
    if session.scalar(select(Event.id).where(Event.undoes_id == event.id)) is not None:
        raise cannot_undo("reversed", "It was taken back already.")


def _restore(session: Session, deed: Deed, event: Event, images: Sequence[Image]) -> None:
    """Go back step by step, the last one first, so that each state on the way was one before."""
    _forget_notices(session, images)
    for image in reversed(images):
        if image.before is not None:
            _set_back(deed, image.row, image.before)
        elif not isinstance(image.row, Fee):
            nobodys = update(Fee).where(Fee.loan_id == image.row.id)
            session.execute(nobodys.values(loan_id=None, updated_at=Fee.updated_at))
            session.delete(image.row)
        session.flush()
    reverse_entries(session, deed, event.id)
    for image in images:
        if isinstance(image.row, Fee) and image.before is not None:
            # The ledger's own counter-entries are not the last word on the fee.
            _set_back(deed, image.row, {"event_id": image.before["event_id"]})
    session.flush()


def _forget_notices(session: Session, images: Sequence[Image]) -> None:
    """Delete what people were told of what never was: a loan, a fee, a copy that is ready."""
    told = [
        image.row.id
        for image in images
        if image.before is None or (isinstance(image.row, Hold) and image.row.status == "ready")
    ]
    session.execute(delete(Notice).where(Notice.subject_id.in_(told)))


def _set_back(deed: Deed, row: Row, before: JSON) -> None:
    if isinstance(row, Copy) and before.get("status", row.status) != row.status:
        # The table of states is for what happens; this is as if it had not.
        deed.data |= {"copy_id": str(row.id), "copy_status": [row.status, before["status"]]}
    for name in before.keys() - _LEDGERS_OWN:
        setattr(row, name, _revive(row, name, before[name]))


def _revive(row: Row, name: str, value: Any) -> Any:
    """The value of a column that `deeds.plain` has made JSON of."""
    kind = type(row).__table__.c[name].type
    if isinstance(kind, Hundredths):
        return value and Decimal(value)
    # A type of ours does not tell what its values are.
    revive = _FROM_JSON.get(datetime if isinstance(kind, UtcDateTime) else kind.python_type)
    return value if value is None or revive is None else revive(value)


def _write_down(session: Session, deed: Deed, event: Event) -> None:
    reversal = describe_event(
        deed.kind,
        event.subject_type,
        event.subject_id,
        now=deed.now,
        data=deed.data | {"kind": event.kind},
        event_id=deed.id,
        user_id=event.user_id,
        undoes_id=event.id,
    )
    record_events(session, [reversal])
    record(session, "event.reverse", "event", event.id, kind=event.kind)
