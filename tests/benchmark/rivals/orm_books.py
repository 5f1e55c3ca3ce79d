"""Reads through SQLAlchemy's ORM, as its documentation shows: entities, lists loaded eagerly."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, func, literal_column, select
from sqlalchemy.orm import Session, selectinload

from rivals.books import tag_of
from rivals.catalog_models import Author, Book, BookText, Copy

JSON = dict[str, Any]

_EAGERLY = (
    selectinload(Book.authors),
    selectinload(Book.subjects),
    selectinload(Book.isbn_rows),
)
_SIMPLE = literal_column("'simple'::regconfig")
_SORTS = {
    "title": (Book.sort_title, Book.id),
    "-title": (Book.sort_title.desc(), Book.id.desc()),
    "year": (Book.sort_year, Book.id),
    "-year": (Book.sort_year.desc(), Book.id.desc()),
}


def find_book(session: Session, book_id: UUID) -> Book | None:
    """One book with its lists."""
    return session.get(Book, book_id, options=_EAGERLY)


def list_books(session: Session, query: JSON) -> JSON:
    """A page of books with their lists, and how many there are."""
    found, order = _found(query)
    ids = found.with_only_columns(Book.id)
    total = session.scalar(select(func.count()).select_from(ids.subquery()))
    skipped = (query["page"] - 1) * query["per_page"]
    page = found.options(*_EAGERLY).order_by(*order).limit(query["per_page"]).offset(skipped)
    items = session.scalars(page).all()
    return {"items": items, "page": query["page"], "per_page": query["per_page"], "total": total}


def _found(query: JSON) -> tuple[Select[tuple[Book]], Sequence[Any]]:
    """The books that match, and their order."""
    found = select(Book)
    if query["q"] is not None:
        words = func.plainto_tsquery(_SIMPLE, query["q"])
        found = found.join(BookText, BookText.book_id == Book.id)
        found = found.where(BookText.document.op("@@")(words))
        return found, (func.ts_rank(BookText.document, words, 1).desc(), Book.id.desc())
    if query["author"] is not None:
        found = found.join(Book.authors).where(Author.id == query["author"])
    if query["available"] is not None:
        there = Book.copies.any(and_(Copy.status == "available", Copy.loanable))
        found = found.where(there if query["available"] else ~there)
    if query["year_from"] is not None:
        found = found.where(Book.year >= query["year_from"])
    return found, _SORTS[query["sort"] or "title"]


def tag(book: Book) -> str:
    """The entity tag of a book, for frameworks that make none themselves."""
    names = [(name.id, name.name) for name in (*book.authors, *book.subjects)]
    counts = (book.copies_total, book.copies_available)
    return tag_of([book.id, book.updated_at, *counts, *names])
