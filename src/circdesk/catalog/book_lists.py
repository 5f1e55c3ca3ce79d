"""Lists of books: the catalogue by filters and search, and the books of one author."""

from functools import lru_cache, partial
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import false, select
from sqlalchemy.orm import Session

from circdesk.catalog import book_rows, search
from circdesk.catalog.book_filters import BookQuery, Wanted, conditions, text_query, wanted
from circdesk.catalog.models import Author, Book
from circdesk.catalog.text_queries import TextQuery
from circdesk.contract.requests import NotFound
from circdesk.db.direct import AnySelect, Values
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.rows import MOST_KEPT, engine_of, read_rows


class AuthorBooksQuery(PageQuery):
    """What the list of an author's books is asked with; the author is part of its cursors."""

    author_id: UUID


def list_books(session: Session, query: BookQuery) -> Page:
    """One page of the books that match, by relevance or by a field.

    Raises IsbnInvalid and LanguageUnknown, and what `paginate` raises.
    """
    text = text_query(query)
    query = {**query, "sort": _sort(query)}
    filters = wanted(query, "list_books")
    if text is None:
        return _by_field(session, query, filters, "list_books")
    if query["sort"].endswith("relevance"):
        return _by_relevance(session, query, text, filters)
    return _found_by_field(session, query, text, filters)


def list_books_by(session: Session, query: AuthorBooksQuery) -> Page:
    """One page of the books of an author. Raises NotFound, and what `paginate` raises."""
    author_id = query["author_id"]
    theirs = Wanted(("author_id",), {"author_id": author_id})
    page = _by_field(session, query, theirs, "list_author_books")
    if not page.items and session.get(Author, author_id) is None:
        raise NotFound(f"No author has the id {author_id}.")
    return page


def _sort(query: BookQuery) -> str:
    """The sort that was asked for; where there is nothing to be relevant to, that by title."""
    sort = query["sort"] or "relevance"
    return sort if query["q"] is not None else sort.replace("relevance", "title")


def _by_field(session: Session, query: PageQuery, filters: Wanted, operation_id: str) -> Page:
    statement = _filtered(filters.filters)
    return _sorted(session, query, statement, Book, scope=operation_id, values=filters.values)


@lru_cache(MOST_KEPT)
def _filtered(filters: tuple[str, ...]) -> AnySelect:
    """The same object for all lists with these filters, so that it is known how it is compiled."""
    return select(Book.id).where(*conditions(filters))


def _sorted(
    session: Session,
    query: PageQuery,
    statement: AnySelect,
    books: Any,
    *,
    scope: str,
    values: Values,
    total: int | None = None,
) -> Page:
    """One page of the books that a statement selects from `books`, which has their sort keys."""
    return paginate(
        session,
        statement,
        sorts={
            "title": (books.sort_title,),
            "year": (books.sort_year,),
            "created_at": (books.created_at,),
        },
        query=query,
        present=book_rows.present,
        values=values,
        unique=books.id,
        scope=scope,
        show=partial(book_rows.show_books, engine_of(session)),
        total=total,
    )


def _found_by_field(session: Session, query: BookQuery, text: TextQuery, filters: Wanted) -> Page:
    """What is found, sorted by a field: asks first how much that is.

    Up to 10,000 books are gathered and sorted. If there are more, so many books match that it is
    faster to walk the index of the sort and ask of each book whether it does.
    """
    engine = engine_of(session)
    values = {**search.values_of(text, engine), **filters.values}
    counted = search.counted(text, engine, filters.conditions)
    ((total, is_looser),) = read_rows(session, counted, values)
    terms = text.looser if is_looser else text.terms
    values = {**filters.values, **search.values_held(terms, engine)}
    found = _Found(filters.filters, engine, is_any=bool(terms))
    statement, books = (_walked(found), Book) if total > search.CANDIDATES else _gathered(found)
    return _sorted(session, query, statement, books, scope="list_books", values=values, total=total)


class _Found(NamedTuple):
    """What a statement depends on that finds books; `is_any` is false where nothing is to be."""

    filters: tuple[str, ...]
    engine: str
    is_any: bool


@lru_cache(MOST_KEPT)
def _walked(found: _Found) -> AnySelect:
    return select(Book.id).where(search.holds(found.engine), *conditions(found.filters))


@lru_cache(MOST_KEPT)
def _gathered(found: _Found) -> tuple[AnySelect, Any]:
    """What is found, gathered, and the columns of that."""
    holding = Book.id.in_(search.holding(found.engine)) if found.is_any else false()
    keys = select(Book.id, Book.sort_title, Book.sort_year, Book.created_at)
    keys = keys.where(holding, *conditions(found.filters))
    gathered = keys.cte("gathered").prefix_with("MATERIALIZED").c
    return select(gathered.id), gathered


def _by_relevance(session: Session, query: BookQuery, text: TextQuery, filters: Wanted) -> Page:
    engine = engine_of(session)
    ranked = search.ranked(text, engine, filters.conditions)
    return paginate(
        session,
        ranked.books,
        values={**search.values_of(text, engine), **filters.values},
        sorts={"relevance": (ranked.order,)},
        query=query,
        present=book_rows.present,
        unique=ranked.book_id,
        scope="list_books",
        without_cursor={"relevance": "title"},
        show=partial(book_rows.show_books, engine),
        total="total",
    )
