"""Facets: how many of the books that match are under each subject, language, year and kind."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    FromClause,
    Select,
    Text,
    cast,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import Session

from circdesk.catalog import search
from circdesk.catalog.book_filters import BookFilters, Condition, Wanted, text_query, wanted
from circdesk.catalog.models import Book, BookSubject, Subject
from circdesk.catalog.text_queries import TextQuery
from circdesk.db.base import Base
from circdesk.db.rows import engine_of

JSON = dict[str, Any]
AnySelect = Select[*tuple[Any, ...]]

# So many of the matches are counted; of more, a sample of this size.
SAMPLE = 10_000
_MOST = 100


def count_facets(session: Session, filters: BookFilters) -> JSON:
    """The most frequent values of each facet, in one statement.

    Raises IsbnInvalid and LanguageUnknown.
    """
    engine = engine_of(session)
    text = text_query(filters)
    wished = wanted(filters, "get_book_facets")
    matches = _matches(engine, wished, text).cte("matching")
    book, is_match = _looked_up(engine, Book, lambda book: book.c.id == matches.c.book_id)
    books = (
        select(book.c.id, book.c.language, book.c.year, book.c.material_type)
        .select_from(matches.join(book, is_match))
        .limit(SAMPLE)
        .cte("counted")
    )
    total, counted = 0, {facet: list[JSON]() for facet in _VALUES}
    values = {**wished.values, **(search.values_of(text, engine) if text is not None else {})}
    for facet, identity, value, count in session.execute(_counts(engine, matches, books), values):
        if facet == "total":
            total = count
        else:
            shown = {"value": _VALUES[facet](value), "count": count}
            counted[facet].append(shown if identity is None else {"id": UUID(identity), **shown})
    return {
        "total": min(total, SAMPLE),
        "total_relation": "exact" if total <= SAMPLE else "at_least",
        "sampled": total > SAMPLE,
        **counted,
    }


# The facets, and what makes their values of text, which is what their rows have in common.
_VALUES: dict[str, Callable[[str], Any]] = {
    "subjects": str,
    "languages": str,
    "years": int,
    "material_types": str,
}


def _matches(engine: str, filters: Wanted, text: TextQuery | None) -> AnySelect:
    """The ids of the first 10,001 books that match, as `book_id`."""
    if text is not None:
        return select(search.ranked(text, engine, filters.conditions).book_id)
    return select(Book.id.label("book_id")).where(*filters.conditions).limit(SAMPLE + 1)


def _looked_up(
    engine: str, model: type[Base], condition: Callable[[FromClause], Condition]
) -> tuple[FromClause, Condition]:
    """A table and the condition of its join, by which it is read through an index, row by row.

    For ten thousand rows PostgreSQL would rather read the whole of a table, which takes it ten
    times as long, however many rows the table has.
    """
    table = model.__table__
    if engine == "sqlite":
        return table, condition(table)
    return select(table).where(condition(table)).offset(0).lateral(), true()


def _counts(engine: str, matches: FromClause, books: CTE) -> Any:
    nothing = cast(null(), Text)
    total = select(literal("total"), nothing, nothing, func.count()).select_from(matches)
    return union_all(total, *(select(facet.subquery()) for facet in _facets(engine, books)))


def _facets(engine: str, books: CTE) -> Iterator[AnySelect]:
    member, of_book = _looked_up(engine, BookSubject, lambda member: member.c.book_id == books.c.id)
    # Counted before names are joined, so that each name is read once.
    tally = (
        select(member.c.subject_id, _COUNT)
        .select_from(books.join(member, of_book))
        .group_by(member.c.subject_id)
        .subquery()
    )
    subject, counted = _looked_up(engine, Subject, lambda s: s.c.id == tally.c.subject_id)
    yield (
        select(*_columns("subjects", cast(subject.c.id, Text), subject.c.name, tally.c.count))
        .select_from(tally.join(subject, counted))
        .order_by(tally.c.count.desc(), subject.c.sort_name)
        .limit(_MOST)
    )
    for facet, column in (
        ("languages", books.c.language),
        ("years", books.c.year),
        ("material_types", books.c.material_type),
    ):
        yield (
            select(*_columns(facet, cast(null(), Text), cast(column, Text), _COUNT))
            .where(column.is_not(None))
            .group_by(column)
            .order_by(_COUNT.desc(), column)
            .limit(_MOST)
        )


_COUNT = func.count().label("count")


def _columns(
    facet: str, identity: ColumnElement[Any], value: Any, count: ColumnElement[int]
) -> tuple[ColumnElement[Any], ...]:
    """What the rows of all facets have in common."""
    return (literal(facet).label("facet"), identity.label("id"), value.label("value"), count)
