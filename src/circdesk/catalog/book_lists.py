"""Lists of books: the catalogue by filters and search, and the books of one author."""

from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import false, select
from sqlalchemy.orm import Session

from circdesk.catalog import book_rows, search
from circdesk.catalog.book_filters import BookQuery, Condition, conditions, text_query
from circdesk.catalog.models import Author, Book, BookAuthor
from circdesk.catalog.text_queries import TextQuery
from circdesk.contract.requests import NotFound
from circdesk.db.pagination import Page, PageQuery, paginate
from circdesk.db.rows import AnySelect, engine_of


class AuthorBooksQuery(PageQuery):
    """What the list of an author's books is asked with; the author is part of its cursors."""

    author_id: UUID


def list_books(session: Session, query: BookQuery) -> Page:
    """One page of the books that match, by relevance or by a field.

    Raises IsbnInvalid and LanguageUnknown, and what `paginate` raises.
    """
    text = text_query(query)
    query = {**query, "sort": _sort(query)}
    wanted = conditions(query, "list_books")
    if text is None:
        return _by_field(session, query, wanted, "list_books")
    if query["sort"].endswith("relevance"):
        return _by_relevance(session, query, text, wanted)
    return _found_by_field(session, query, text, wanted)


def list_books_by(session: Session, query: AuthorBooksQuery) -> Page:
    """One page of the books of an author. Raises NotFound, and what `paginate` raises."""
    author_id = query["author_id"]
    theirs = Book.id.in_(select(BookAuthor.book_id).where(BookAuthor.author_id == author_id))
    page = _by_field(session, query, [theirs], "list_author_books")
    if not page.items and session.get(Author, author_id) is None:
        raise NotFound(f"No author has the id {author_id}.")
    return page


def _sort(query: BookQuery) -> str:
    """The sort that was asked for; where there is nothing to be relevant to, that by title."""
    sort = query["sort"] or "relevance"
    return sort if query["q"] is not None else sort.replace("relevance", "title")


def _by_field(
    session: Session, query: PageQuery, wanted: list[Condition], operation_id: str
) -> Page:
    return _sorted(session, query, select(Book.id).where(*wanted), Book, scope=operation_id)


def _sorted(
    session: Session,
    query: PageQuery,
    statement: AnySelect,
    books: Any,
    *,
    scope: str,
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
        unique=books.id,
        scope=scope,
        show=partial(book_rows.show_books, engine_of(session)),
        total=total,
    )


def _found_by_field(
    session: Session, query: BookQuery, text: TextQuery, wanted: list[Condition]
) -> Page:
    """What is found, sorted by a field: asks first how much that is.

    Up to 10,000 books are gathered and sorted. If there are more, so many books match that it is
    faster to walk the index of the sort and ask of each book whether it does.
    """
    engine = engine_of(session)
    values = search.values_of(text, engine)
    total, is_looser = session.execute(search.counted(text, engine, wanted), values).one()
    terms = text.looser if is_looser else text.terms
    if total > search.CANDIDATES:
        found = select(Book.id).where(search.holds(terms, engine), *wanted)
        return _sorted(session, query, found, Book, scope="list_books", total=total)
    found = select(Book.id).where(
        Book.id.in_(search.holding(terms, engine)) if terms else false(), *wanted
    )
    keys = found.add_columns(Book.sort_title, Book.sort_year, Book.created_at)
    gathered = keys.cte("gathered").prefix_with("MATERIALIZED").c
    found = select(gathered.id)
    return _sorted(session, query, found, gathered, scope="list_books", total=total)


def _by_relevance(
    session: Session, query: BookQuery, text: TextQuery, wanted: list[Condition]
) -> Page:
    engine = engine_of(session)
    ranked = search.ranked(text, engine, wanted)
    return paginate(
        session,
        ranked.books,
        values=search.values_of(text, engine),
        sorts={"relevance": (ranked.rank.desc(),)},
        query=query,
        present=book_rows.present,
        unique=ranked.book_id,
        scope="list_books",
        without_cursor={"relevance": "title"},
        show=partial(book_rows.show_books, engine),
        total="total",
    )
