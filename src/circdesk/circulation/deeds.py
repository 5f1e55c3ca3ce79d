"""Deeds: what an action changes, written down as one event with the way back."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk import clock
from circdesk.catalog.copy_states import raise_if_refused
from circdesk.catalog.models import Copy
from circdesk.circulation.models import Block, Fee, Hold, LedgerEntry, Loan
from circdesk.db.plain_rows import Write, is_plain, write_rows
from circdesk.events.recording import describe_event

JSON = dict[str, Any]
Row = Copy | Loan | Hold | Fee
# What an event can be about; a block changes nothing else and is lifted by a call of its own.
Subject = Row | Block

# How long an action can be taken back.
UNDO_WINDOW = timedelta(minutes=30)


class Deed:
    """One action at the desk: what it makes and changes, and how that was before.

    Args:
        kind: What is done, as `noun.verb`: `loan.check_out`.
        now: The present moment by the clock of circulation.
        user_id: Whose loan, hold or fee it is.
        undoable: Whether it can be taken back.
    """

    def __init__(
        self, kind: str, *, now: datetime, user_id: UUID | None = None, undoable: bool = True
    ) -> None:
        self.id: UUID = uuid7()
        self.kind = kind
        self.now = now
        self.user_id = user_id
        self.undo_until = now + UNDO_WINDOW if undoable else None
        # More about it, of ids, codes and numbers; never who somebody is.
        self.data: JSON = {}
        self._images: list[JSON] = []

    def add(self, session: Session, row: Row) -> None:
        """Store a new row; taking it back deletes it, but for a fee, which is then cancelled."""
        self.makes(row)
        session.add(row)

    def makes(self, row: Row) -> None:
        """Tell of a new row that is stored by another way; see `add`."""
        row.event_id = self.id
        self._images.append({"table": row.__tablename__, "row": row, "before": None})

    def change(self, row: Row, **values: Any) -> None:
        """Change columns of a row, and remember them as they were before the deed."""
        image = next((image for image in self._images if image["row"] is row), None)
        if image is None:
            image = {"table": row.__tablename__, "row": row, "before": {}}
            self._images.append(image)
            values = {**values, "event_id": self.id}
        if is_plain(row):
            row.updated_at = clock.now()
        for name, value in values.items():
            if image["before"] is not None:
                image["before"].setdefault(name, plain(getattr(row, name)))
            setattr(row, name, value)

    def changes_copy(self, copy: Copy, status: str) -> None:
        """Change the status of a copy, which the event tells.

        Raises:
            CopyStateRefused: The desk cannot bring a copy from its status into that one.
        """
        raise_if_refused(copy.status, status, "desk")
        if status != copy.status:
            self.data |= {"copy_id": str(copy.id), "copy_status": [copy.status, status]}
        self.change(copy, status=status)

    def present_compensation(self) -> JSON | None:
        """The call that takes it back, and until when."""
        if self.undo_until is None:
            return None
        return {
            "operation_id": "reverse_event",
            "parameters": {"event_id": str(self.id)},
            "deadline": self.undo_until,
        }

    def writes(self) -> list[Write]:
        """How those of the rows are to be stored that no session knows."""
        return [_write(image) for image in self._images if is_plain(image["row"])]

    def as_event(self, subject: Subject) -> Write:
        """The event; the rows must have been flushed, for new ones have ids then."""
        images = [
            {"table": image["table"], "id": str(image["row"].id), "before": image["before"]}
            for image in self._images
        ]
        return describe_event(
            self.kind,
            _NOUNS[subject.__tablename__],
            subject.id,
            now=self.now,
            data=self.data,
            event_id=self.id,
            user_id=self.user_id,
            undo=images if self.undo_until else None,
            undo_until=self.undo_until,
        )


_NOUNS = {"copies": "copy", "loans": "loan", "holds": "hold", "fees": "fee", "blocks": "block"}


def record_deeds(session: Session, deeds: Sequence[tuple[Deed, Subject]], *entries: Write) -> None:
    """Store what the deeds did and the event of each, in as few statements as there can be.

    Args:
        session: A writing unit of work.
        deeds: Each with what its event is about.
        entries: What is to be stored with them, as `audit.entries.describe_entry` makes it.
    """
    ledger = _take_ledger_entries(session)
    session.flush()
    rows = [write for deed, _ in deeds for write in deed.writes()]
    events = [deed.as_event(subject) for deed, subject in deeds]
    write_rows(session, [*rows, *ledger, *events, *entries])


def _take_ledger_entries(session: Session) -> list[Write]:
    """The entries of the ledger that the session has yet to store, which it does no more."""
    pending = [row for row in session.new if isinstance(row, LedgerEntry)]
    for entry in pending:
        session.expunge(entry)
    pending.sort(key=lambda entry: entry.id)
    table = cast("Table", LedgerEntry.__table__)
    columns = [column.key for column in table.c]
    return [Write(table, {n: getattr(entry, n) for n in columns}) for entry in pending]


def _write(image: JSON) -> Write:
    before = image["before"]
    return Write.of(image["row"], None if before is None else [*before, "updated_at"])


def plain(value: Any) -> Any:
    """A column's value as JSON holds it."""
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID | Decimal) else value
