"""What a person says about a book: checked as far as the contract cannot, and stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from circdesk.catalog import search
from circdesk.catalog.authors import AUTHORS
from circdesk.catalog.checks import isbn_fault, language_fault, suggestion
from circdesk.catalog.identifiers import InvalidIsbnError, language_code, normalize_isbn
from circdesk.catalog.models import NO_YEAR, Book, BookAuthor, BookISBN, BookSubject
from circdesk.catalog.subjects import SUBJECTS
from circdesk.contract.problems import Problem
from circdesk.db.text import sort_key

JSON = dict[str, Any]

# All that a person can set, in the order of the contract.
FIELDS = (
    "title",
    "subtitle",
    "authors",
    "isbns",
    "publisher",
    "year",
    "language",
    "subjects",
    "summary",
    "material_type",
    "edition",
)
_PLAIN = ("title", "subtitle", "publisher", "year", "summary", "material_type", "edition")


class BookInvalid(Problem):
    """The body is well-formed and still cannot be true of a book."""

    code = "book_invalid"
    status = 422
    title = "A book cannot be like this."
    advice = (
        "Mend every entry of `details`; `allowed` has the ISBN that was most likely meant, and "
        "`suggestions` the same call with it, where nothing else is wrong."
    )


@dataclass(frozen=True, slots=True)
class Call:
    """The call that brought the contents, for suggesting a better one."""

    operation_id: str
    parameters: JSON
    body: JSON


@dataclass(slots=True)
class _Facts:
    """What the contents say, in the form that is stored, and what is wrong with it."""

    isbns: list[str] = field(default_factory=list)
    language: str | None = None
    authors: list[UUID] = field(default_factory=list)
    subjects: list[UUID] = field(default_factory=list)
    faults: list[JSON] = field(default_factory=list)


def store(session: Session, book: Book, call: Call, now: datetime) -> None:
    """Set what the body of the call names, and have the book found by it.

    The book was updated now if any of it is new.

    Raises:
        BookInvalid: An ISBN, the language, an author or a subject is impossible.
    """
    facts = _read(session, call)
    has_new_columns = _fill(book, call.body, facts)
    session.add(book)
    session.flush()
    has_new_lists = _store_lists(session, book.id, call.body, facts)
    if has_new_columns or has_new_lists:
        book.updated_at = now
        search.index_books(session, [book.id])


def _read(session: Session, call: Call) -> _Facts:
    body, facts = call.body, _Facts()
    for place, text in enumerate(body.get("isbns") or ()):
        _read_isbn(text, place, facts)
    if body.get("language") is not None:
        facts.language = language_code(body["language"])
        if facts.language is None:
            facts.faults.append(language_fault("body", "/language", body["language"]))
    if facts.faults:
        raise _invalid(call, facts)
    facts.authors, unknown = AUTHORS.find_or_create(session, body.get("authors") or ())
    facts.subjects, more = SUBJECTS.find_or_create(session, body.get("subjects") or ())
    facts.faults += unknown + more
    if facts.faults:
        raise _invalid(call, facts)
    return facts


def _read_isbn(text: str, place: int, facts: _Facts) -> None:
    try:
        isbn = normalize_isbn(text)
    except InvalidIsbnError as error:
        facts.faults.append(isbn_fault("body", f"/isbns/{place}", error))
    else:
        # The same ISBN in its short and its long form is said twice, not had twice.
        if isbn not in facts.isbns:
            facts.isbns.append(isbn)


def _invalid(call: Call, facts: _Facts) -> BookInvalid:
    suggestions = []
    if all(entry["rule"] == "isbn" and "allowed" in entry for entry in facts.faults):
        mended = {int(f["pointer"].rpartition("/")[2]): f["allowed"] for f in facts.faults}
        isbns = [mended.get(place, text) for place, text in enumerate(call.body["isbns"])]
        body = call.body | {"isbns": [*dict.fromkeys(isbns)]}
        reason = "The check digits are right here; see whether these are the ISBNs that were meant."
        suggestions = [suggestion(call.operation_id, call.parameters, body=body, reason=reason)]
    count = len(facts.faults)
    message = "The book has a fault." if count == 1 else f"The book has {count} faults."
    return BookInvalid(message, details=facts.faults, suggestions=suggestions)


def _fill(book: Book, body: JSON, facts: _Facts) -> bool:
    """Set the columns of the book that the body names, and tell whether any has changed."""
    given = {name: body[name] for name in _PLAIN if name in body}
    if "language" in body:
        given["language"] = facts.language
    changed = {name: value for name, value in given.items() if getattr(book, name) != value}
    for name, value in changed.items():
        setattr(book, name, value)
    book.sort_title = sort_key(book.title)
    book.sort_year = NO_YEAR if book.year is None else book.year
    return bool(changed)


def _store_lists(session: Session, book_id: UUID, body: JSON, facts: _Facts) -> bool:
    """Write the lists that the body names anew, and tell whether any has changed."""
    lists: tuple[tuple[str, Any, str, Sequence[Any]], ...] = (
        ("isbns", BookISBN, "isbn", facts.isbns),
        ("authors", BookAuthor, "author_id", facts.authors),
        ("subjects", BookSubject, "subject_id", facts.subjects),
    )
    changed = [
        _store_list(session, book_id, table, column, values)
        for name, table, column, values in lists
        if name in body
    ]
    return any(changed)


def _store_list(
    session: Session, book_id: UUID, table: Any, column: str, values: Sequence[Any]
) -> bool:
    stored = select(getattr(table, column)).where(table.book_id == book_id)
    if session.scalars(stored.order_by(table.position)).all() == values:
        return False
    session.execute(delete(table).where(table.book_id == book_id))
    rows = [
        {"book_id": book_id, "position": place, column: value} for place, value in enumerate(values)
    ]
    if rows:
        session.execute(insert(table), rows)
    return True
