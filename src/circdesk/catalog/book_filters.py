"""What books can be filtered by, in lists and in facets alike."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, exists, select
from sqlalchemy.orm import InstrumentedAttribute

from circdesk.catalog.branches import CODE
from circdesk.catalog.checks import checked_isbn, checked_language
from circdesk.catalog.models import (
    NO_YEAR,
    Book,
    BookAuthor,
    BookISBN,
    BookSubject,
    Branch,
    Copy,
    Subject,
)
from circdesk.catalog.text_queries import TextQuery, parse
from circdesk.db.direct import Values
from circdesk.db.pagination import PageQuery
from circdesk.db.rows import MOST_KEPT
from circdesk.db.text import sort_key

Condition = ColumnElement[bool]


class BookFilters(TypedDict):
    """The filters; a book must match all that are given."""

    q: str | None
    title: str | None
    author: str | None
    subject: str | None
    isbn: str | None
    language: str | None
    year_from: int | None
    year_to: int | None
    material_type: str | None
    branch: str | None
    available: bool | None


class BookQuery(PageQuery, BookFilters):
    """What the list of books is asked with."""


def text_query(filters: BookFilters) -> TextQuery | None:
    """What the filters leave to full-text search, if anything."""
    by_name = None if _as_id(filters["author"]) else filters["author"]
    return parse((filters["q"], None), (filters["title"], "title"), (by_name, "people"))


class Wanted(NamedTuple):
    """What is wanted of books, apart from what full-text search finds.

    Attributes:
        filters: Which filters there are. On them alone depend the conditions, so that a statement
            with these can be kept for the next request.
        values: Those of the parameters of the conditions.
    """

    filters: tuple[str, ...]
    values: Values

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions on books, always the same ones for the same filters."""
        return conditions(self.filters)


def wanted(filters: BookFilters, operation_id: str) -> Wanted:
    """What all filters want but those for full-text search.

    Raises IsbnInvalid, which suggests `operation_id` with the right ISBN, and LanguageUnknown.
    """
    values = dict(_values(filters, operation_id))
    availability = {None: (), True: ("available",), False: ("unavailable",)}
    return Wanted((*values, *availability[filters["available"]]), values)


def _values(filters: BookFilters, operation_id: str) -> Iterator[tuple[str, Any]]:
    """The values of what is asked for, by the names of the parameters."""
    if author := _as_id(filters["author"]):
        yield "author_id", author
    if (subject := filters["subject"]) is not None:
        identity = _as_id(subject)
        yield ("subject_id", identity) if identity else ("subject_name", sort_key(subject))
    if (isbn := filters["isbn"]) is not None:
        yield "isbn", checked_isbn(isbn, operation_id, "query", "isbn")
    if (language := filters["language"]) is not None:
        yield "language", checked_language(language)
    for name in ("material_type", "year_from", "year_to"):
        if filters[name] is not None:
            yield name, filters[name]
    if (branch := filters["branch"]) is not None:
        identity = _as_id(branch)
        yield ("branch_id", identity) if identity else ("branch_code", branch.removeprefix(CODE))


def _planned(name: str, column: InstrumentedAttribute[Any]) -> BindParameter[Any]:
    """A value that stands in the statement itself, quoted by SQLAlchemy.

    A list in a rare language wants another plan than one in a frequent language. PostgreSQL plans
    a statement that it has prepared without looking at its parameters.
    """
    return bindparam(name, type_=column.type, literal_execute=True)


def _is_planned(column: InstrumentedAttribute[Any], name: str) -> Condition:
    is_it: Condition = column == _planned(name, column)
    return is_it


_SUBJECT_ID = (
    select(Subject.id).where(Subject.sort_name == bindparam("subject_name")).scalar_subquery()
)
_ABOUT_THE_BOOK: Mapping[str, Condition] = {
    # Whoever wrote them, they are few beside all books, and one plan is right for all authors.
    "author_id": Book.id.in_(
        select(BookAuthor.book_id).where(BookAuthor.author_id == bindparam("author_id"))
    ),
    "subject_id": Book.id.in_(
        select(BookSubject.book_id).where(_is_planned(BookSubject.subject_id, "subject_id"))
    ),
    "subject_name": Book.id.in_(
        select(BookSubject.book_id).where(BookSubject.subject_id == _SUBJECT_ID)
    ),
    "isbn": Book.id.in_(select(BookISBN.book_id).where(BookISBN.isbn == bindparam("isbn"))),
    "language": _is_planned(Book.language, "language"),
    "material_type": _is_planned(Book.material_type, "material_type"),
    "year_from": Book.sort_year >= _planned("year_from", Book.sort_year),
    "year_to": and_(
        Book.sort_year <= _planned("year_to", Book.sort_year), Book.sort_year > NO_YEAR
    ),
}


@lru_cache(MOST_KEPT)
def conditions(filters: tuple[str, ...]) -> tuple[Condition, ...]:
    """The conditions of these filters, which `Wanted` names."""
    about_the_book = [_ABOUT_THE_BOOK[name] for name in filters if name in _ABOUT_THE_BOOK]
    return (*about_the_book, *_about_its_copies(filters))


def _about_its_copies(filters: tuple[str, ...]) -> Iterator[Condition]:
    of_book = Copy.book_id == Book.id
    available = of_book & (Copy.status == "available") & Copy.loanable
    branches = {"branch_id": Branch.id, "branch_code": Branch.code}
    for name in branches.keys() & set(filters):
        branch = select(Branch.id).where(branches[name] == bindparam(name)).scalar_subquery()
        here = Copy.branch_id == branch
        available &= here
        if "available" not in filters:
            yield exists().where(of_book & here)
    if "available" in filters:
        yield exists().where(available)
    if "unavailable" in filters:
        yield ~exists().where(available)


def _as_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text is not None else None
    except ValueError:
        return None
