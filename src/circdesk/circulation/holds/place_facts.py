"""What a new hold depends on, in five statements; a sixth where the rows are locked."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from circdesk.accounts.models import User
from circdesk.catalog.books import find_book_id
from circdesk.catalog.branches import is_branch
from circdesk.catalog.copy_problems import book_key_in
from circdesk.catalog.models import Book, Branch, Copy
from circdesk.circulation.facts import (
    STAFF,
    Borrower,
    Standing,
    find_borrower,
    is_copy,
    is_user,
    load_standings,
    standing_columns,
    standing_of,
)
from circdesk.circulation.holds.keys import is_book, is_open_to
from circdesk.circulation.holds.recalls import Recall, find_recall
from circdesk.circulation.holds.titles import Place, Title, TitleCopy, load_copies, load_places
from circdesk.circulation.models import Hold, LoanPolicy
from circdesk.circulation.policies.calendars import Calendar
from circdesk.circulation.policies.matching import find_rules
from circdesk.contract.formats import parse_date
from circdesk.visits import Caller

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who wants what, and where; None is what there is not."""

    borrower: Borrower | None
    # As far as it could be read before anything was locked.
    standing: Standing | None
    book: Book | None
    copy: Copy | None
    pickup: Branch | None

    @property
    def ids(self) -> dict[str, UUID | None]:
        """What a decision is about."""
        return {
            "user_id": self.borrower.id if self.borrower else None,
            "book_id": self.book.id if self.book else None,
            "copy_id": self.copy.id if self.copy else None,
            "pickup_branch_id": self.pickup.id if self.pickup else None,
        }


@dataclass(frozen=True, slots=True)
class PlaceFacts:
    """Everything that decides whether a person may have a hold.

    Args:
        now: The present moment by the clock of circulation.
        copy: The one copy that is wanted; None for any copy of the title.
        pickup: Where it is picked up.
        suspended_until: The first day on which the hold is to take part in the queue.
        rule: The rule that decides; None where none matches.
        own: The person's active holds, on whichever title.
        title: The queue of the title, without the new hold, and its copies.
    """

    now: datetime
    borrower: Borrower
    standing: Standing
    book: Book
    copy: Copy | None
    pickup: Branch
    suspended_until: date | None
    rule: LoanPolicy | None
    own: list[Place]
    title: Title

    @property
    def calendar(self) -> Calendar:
        """The calendar of the pickup branch."""
        return Calendar.of(self.pickup)

    @property
    def material_type(self) -> str:
        """The kind of what is wanted, which the rule is for."""
        return (self.copy or self.book).material_type

    @property
    def new_place(self) -> Place:
        """The place that the new hold will have, at the end of the queue, under no real id."""
        return Place(
            hold_id=uuid4(),
            user_id=self.borrower.id,
            book_id=self.book.id,
            copy_id=None if self.copy is None else self.copy.id,
            pickup_branch_id=self.pickup.id,
            material_type=self.material_type,
            status="waiting",
            rank=0,
            suspended_until=self.suspended_until,
            time_zone=self.pickup.time_zone,
        )

    def wanted_copies(self) -> Iterator[TitleCopy]:
        """The copies that the hold is content with."""
        return (c for c in self.title.copies if self.copy is None or c.copy_id == self.copy.id)

    def free_copies(self) -> list[TitleCopy]:
        """The copies that are there for the new hold, because nobody before it waits for them."""
        there = [c for c in self.wanted_copies() if c.status == "available" and c.loanable]
        waiting = [place for place in self.title.queue if place.waits(self.now)]
        return there if len(there) > len(waiting) else []

    def find_recall(self) -> Recall | None:
        """The loan that is asked back for the new hold; None where there is no need or no way."""
        if self.free_copies() or self.new_place.is_suspended(self.now):
            return None
        return find_recall(self.wanted_copies(), self.now)


def find_subject(
    session: Session, caller: Caller | None, question: JSON, now: datetime, *, locking: bool
) -> Subject:
    """Who wants what, in two statements; with `locking`, the user's and the book's rows are locked.

    Raises:
        IsbnInvalid: The book is named by what is no ISBN.
        IsbnAmbiguous: Several books have the ISBN.
    """
    borrower, standing = _find_borrower(session, caller, question["user"], now, locking=locking)
    found = _title(question)
    if locking:
        wanted = [Book, Copy] if "copy" in question else [Book]
        found = found.with_for_update(key_share=True, of=wanted)
    rows = session.execute(found.execution_options(populate_existing=locking)).all()
    if len(rows) > 1:
        with book_key_in("body", "/book"):
            find_book_id(session, question["book"])
    book, pickup, *copy = rows[0] if rows else (None, None)
    return Subject(borrower, standing, book, copy[0] if copy else None, pickup)


def load_facts(session: Session, subject: Subject, question: JSON, now: datetime) -> PlaceFacts:
    """What else there is to know about a subject of which all is known; three statements.

    Where the subject is locked, they see what was there when it was.
    """
    borrower, book, copy, pickup = subject.borrower, subject.book, subject.copy, subject.pickup
    assert borrower is not None and book is not None and pickup is not None  # noqa: S101, PT018 - who calls has seen to it.
    standing = subject.standing or load_standings(session, [borrower.id], now)[borrower.id]
    material_type = (copy or book).material_type
    rules = find_rules(session, borrower.category, material_type, pickup.id)
    places = load_places(session, or_(Hold.book_id == book.id, Hold.user_id == borrower.id))
    copies = load_copies(session, Copy.book_id == book.id)
    return PlaceFacts(
        now=now,
        borrower=borrower,
        standing=standing,
        book=book,
        copy=copy,
        pickup=pickup,
        suspended_until=_day(question.get("suspended_until")),
        rule=rules[0] if rules else None,
        own=[place for place in places if place.user_id == borrower.id],
        title=Title([place for place in places if place.book_id == book.id], copies[book.id]),
    )


def _find_borrower(
    session: Session, caller: Caller | None, key: str | UUID, now: datetime, *, locking: bool
) -> tuple[Borrower | None, Standing | None]:
    """The borrower and, where nothing is locked, the standing with it."""
    if locking:
        return find_borrower(session, caller, key, locking=True), None
    row = session.execute(
        select(
            User.id,
            User.category,
            User.status,
            User.expires_on,
            *standing_columns(User.id, now),
        ).where(User.status != "deleted", is_user(key), is_open_to(caller, STAFF, User.id))
    ).one_or_none()
    if row is None:
        return None, None
    return Borrower(row.id, row.category, row.status, row.expires_on), standing_of(row)


def _title(question: JSON) -> Select[*tuple[Any, ...]]:
    """The book, the pickup branch if there is one, and the copy if one is wanted."""
    pickup = is_branch(question["pickup_branch"])
    if "copy" in question:
        found = select(Book, Branch, Copy).join_from(Book, Copy, Copy.book_id == Book.id)
        return found.outerjoin(Branch, pickup).where(is_copy(question["copy"]))
    with book_key_in("body", "/book"):
        wanted = is_book(question["book"])
    return select(Book, Branch).outerjoin_from(Book, Branch, pickup).where(wanted)


def _day(value: date | str | None) -> date | None:
    """A day of a body that is one of several, of which the contract leaves the dates as text."""
    return parse_date(value) if isinstance(value, str) else value
