"""What can be done with copies."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from circdesk.catalog.books import find_book_id
from circdesk.catalog.branches import is_branch
from circdesk.catalog.copy_problems import (
    ENDED_BY_RETURN,
    KEPT_BY_LOAN,
    barcode_taken,
    book_key_in,
    raise_if_away,
    raise_if_managed,
    still_lent,
    unknown_reference,
    waited_for,
)
from circdesk.catalog.copy_states import raise_if_refused
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.models import Hold, Loan
from circdesk.circulation.time import now as desk_now
from circdesk.contract.requests import NotFound
from circdesk.db.errors import raises_on
from circdesk.db.versions import raise_if_known, raise_if_modified, show_alone
from circdesk.events.recording import describe_event, record_events

JSON = dict[str, Any]

_KEY = "barcode:"


def create_copy(session: Session, content: JSON) -> JSON:
    """Add a copy of the book that `book_id` names.

    Raises BarcodeTaken, CopyStatusManaged, ReferenceUnknown for its book or branch, and
    IsbnInvalid and IsbnAmbiguous for a book that is named by its ISBN.
    """
    return _store(session, Copy(), content, _book_in_body(session, content))


def create_book_copy(session: Session, book_key: str, content: JSON) -> JSON:
    """Add a copy of this book. Raises NotFound for the book, and else as `create_copy`."""
    return _store(session, Copy(), content, find_book(session, book_key))


def read_copy(session: Session, key: str) -> JSON:
    """One copy, by its id or `barcode:` and its barcode. Raises NotFound."""
    raise_if_known(session, Copy, _is_copy(key))
    copy = find_copy(session, key)
    show_alone(session, copy)
    return present(copy)


def replace_copy(session: Session, key: str, content: JSON) -> JSON:
    """Replace everything that a caller can set.

    Raises NotFound, PreconditionFailed, and else as `create_copy`.
    """
    copy = find_copy(session, key, changing=True)
    return _store(session, copy, content, _book_in_body(session, content))


def patch_copy(session: Session, key: str, changes: JSON) -> JSON:
    """Apply a merge patch (RFC 7396).

    Raises NotFound, PreconditionFailed, and else as `create_copy`.
    """
    copy = find_copy(session, key, changing=True)
    content = present(copy) | changes
    return _store(session, copy, content, _book_in_body(session, content))


def delete_copy(session: Session, key: str) -> None:
    """Delete a copy.

    Raises NotFound, PreconditionFailed, and CopyInUse where somebody has it or waits for it.
    """
    copy = find_copy(session, key, changing=True)
    raise_if_away(copy.status)
    waiting = exists().where(Hold.copy_id == copy.id, Hold.ended_at.is_(None))
    if session.scalar(select(waiting)):
        raise waited_for(copy.id)
    session.delete(copy)


def find_book(session: Session, key: str | UUID) -> tuple[UUID, str]:
    """The id of the book with this key, and its material type.

    Raises NotFound, IsbnInvalid and IsbnAmbiguous.
    """
    book_id = find_book_id(session, key)
    kind = session.scalar(select(Book.material_type).where(Book.id == book_id))
    if kind is None:
        raise NotFound(f"No book has the id {book_id}.")
    return book_id, kind


def present(copy: Copy) -> JSON:
    """A copy as the contract shows it."""
    return {
        "id": copy.id,
        "book_id": copy.book_id,
        "branch_id": copy.branch_id,
        "barcode": copy.barcode,
        "status": copy.status,
        "shelf_mark": copy.shelf_mark,
        "material_type": copy.material_type,
        "loanable": copy.loanable,
        "created_at": copy.created_at,
        "updated_at": copy.updated_at,
    }


def _is_copy(key: str) -> ColumnElement[bool]:
    if key.startswith(_KEY):
        return Copy.barcode == key.removeprefix(_KEY)
    return Copy.id == UUID(key)


def find_copy(session: Session, key: str, *, changing: bool = False) -> Copy:
    """The copy; with `changing`, locked, so that its status stays what it was seen to be.

    Raises NotFound, and PreconditionFailed where one to change has a version that the caller does
    not know.
    """
    found = select(Copy).where(_is_copy(key))
    copy = session.scalar(found.with_for_update() if changing else found)
    if copy is None:
        raise NotFound(f"No copy has the key {key}.")
    if changing:
        raise_if_modified(session, copy)
    return copy


def _store(session: Session, copy: Copy, content: JSON, book: tuple[UUID, str]) -> JSON:
    raise_if_managed(copy.status, content["status"])
    if copy.status is not None:
        _raise_if_not_to_be(session, copy, content["status"])
    _raise_if_taken(session, copy, content["barcode"])
    branch_id = _branch_id(session, content["branch_id"])
    copy.book_id, kind = book
    copy.branch_id = branch_id
    copy.barcode = content["barcode"]
    _set_status(session, copy, content["status"])
    copy.shelf_mark = content["shelf_mark"]
    copy.material_type = content["material_type"] or kind
    copy.loanable = content["loanable"]
    session.add(copy)
    with (
        # Between the checks and this, another transaction may have taken or deleted something.
        raises_on("uq_copies_barcode", barcode_taken(content["barcode"])),
        raises_on("fk_copies_book_id_books", unknown_reference("book", book[0])),
        raises_on(
            "fk_copies_branch_id_branches", unknown_reference("branch", content["branch_id"])
        ),
    ):
        session.flush()
    return present(copy)


def _raise_if_not_to_be(session: Session, copy: Copy, status: str) -> None:
    """Hold a change of status by hand against the table, and against who has the copy."""
    raise_if_refused(copy.status, status, "hand", pointer="/status")
    if copy.status in ENDED_BY_RETURN and status not in KEPT_BY_LOAN:
        lent = exists().where(Loan.copy_id == copy.id, Loan.returned_at.is_(None))
        if session.scalar(select(lent)):
            raise still_lent(copy.id)


def _set_status(session: Session, copy: Copy, status: str) -> None:
    """Set the status, which an event tells where it is another one than before."""
    before, copy.status = copy.status, status
    if before not in (None, status):
        # Whatever the desk did before can only be taken back as long as this is not so.
        event = describe_event(
            "copy.status_change",
            "copy",
            copy.id,
            now=desk_now(session),
            data={"copy_id": str(copy.id), "copy_status": [before, status]},
        )
        record_events(session, [event])
        copy.event_id = event.values["id"]


def _raise_if_taken(session: Session, copy: Copy, barcode: str | None) -> None:
    if barcode is None:
        return
    holder = session.scalar(select(Copy.id).where(Copy.barcode == barcode))
    if holder not in (None, copy.id):
        raise barcode_taken(barcode)


def _book_in_body(session: Session, content: JSON) -> tuple[UUID, str]:
    try:
        with book_key_in("body", "/book_id"):
            return find_book(session, content["book_id"])
    except NotFound:
        raise unknown_reference("book", content["book_id"]) from None


def _branch_id(session: Session, key: str | UUID) -> UUID:
    branch_id = session.scalar(select(Branch.id).where(is_branch(key)))
    if branch_id is None:
        raise unknown_reference("branch", key)
    return branch_id
