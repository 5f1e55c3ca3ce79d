"""What books can be filtered by, in lists and in facets alike."""

from collections.abc import Iterator
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import BindParameter, ColumnElement, bindparam, exists, select

from circdesk.catalog.branches import is_branch
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
from circdesk.db.pagination import PageQuery
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


def conditions(filters: BookFilters, operation_id: str) -> list[Condition]:
    """The conditions on books for all other filters.

    Raises IsbnInvalid, which suggests `operation_id` with the right ISBN, and LanguageUnknown.
    """
    return [*_about_the_book(filters, operation_id), *_about_its_copies(filters)]


def _about_the_book(filters: BookFilters, operation_id: str) -> Iterator[Condition]:
    if author := _as_id(filters["author"]):
        yield Book.id.in_(
            select(BookAuthor.book_id).where(BookAuthor.author_id == _planned(author))
        )
    if filters["subject"] is not None:
        yield _under_subject(filters["subject"])
    if filters["isbn"] is not None:
        isbn = checked_isbn(filters["isbn"], operation_id, "query", "isbn")
        yield Book.id.in_(select(BookISBN.book_id).where(BookISBN.isbn == isbn))
    if filters["language"] is not None:
        yield Book.language == _planned(checked_language(filters["language"]))
    if filters["material_type"] is not None:
        yield Book.material_type == _planned(filters["material_type"])
    if filters["year_from"] is not None:
        yield Book.sort_year >= _planned(filters["year_from"])
    if filters["year_to"] is not None:
        yield Book.sort_year <= _planned(filters["year_to"])
        yield Book.sort_year > NO_YEAR


def _under_subject(subject: str) -> Condition:
    named = select(Subject.id).where(Subject.sort_name == sort_key(subject)).scalar_subquery()
    identity = _as_id(subject)
    wanted = BookSubject.subject_id == (_planned(identity) if identity else named)
    return Book.id.in_(select(BookSubject.book_id).where(wanted))


def _about_its_copies(filters: BookFilters) -> Iterator[Condition]:
    if filters["branch"] is None and filters["available"] is None:
        return
    of_book = Copy.book_id == Book.id
    available = of_book & (Copy.status == "available") & Copy.loanable
    if filters["branch"] is not None:
        branch = select(Branch.id).where(is_branch(filters["branch"])).scalar_subquery()
        here = Copy.branch_id == branch
        available &= here
        if not filters["available"]:
            yield exists().where(of_book & here)
    if filters["available"] is not None:
        found = exists().where(available)
        yield found if filters["available"] else ~found


def _planned(value: Any) -> BindParameter[Any]:
    """A value that stands in the statement itself, quoted by SQLAlchemy.

    A list in a rare language wants another plan than one in a frequent language. PostgreSQL plans
    a statement that it has prepared without looking at its parameters.
    """
    return bindparam(None, value, unique=True, literal_execute=True)


def _as_id(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text is not None else None
    except ValueError:
        return None
