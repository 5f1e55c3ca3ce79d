"""Full-text search of books: the one seam between what people type and the two engines.

Everything searched is folded, so both engines only ever see letters, digits and blanks; each word
is quoted besides, so nothing that is typed can be an operator or a fault.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Double,
    Executable,
    FromClause,
    Integer,
    Row,
    Text,
    TextualSelect,
    bindparam,
    column,
    func,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from circdesk.catalog.book_rows import shown_books
from circdesk.catalog.models import Book, BookText
from circdesk.catalog.text_queries import Term, TextQuery
from circdesk.db.direct import AnySelect
from circdesk.db.rows import MOST_KEPT, engine_of
from circdesk.db.text import fold_for_search

# A relevance is worked out for so many books; the order of the others cannot matter to anybody.
CANDIDATES = 10_000

_INDEXED_AT_ONCE = 500

Condition = ColumnElement[bool]


class Ranked(NamedTuple):
    """The books that match: the first 10,001 of them.

    Attributes:
        books: Selects them: `id` and `total`, which is how many they are, the same in each row.
        book_id: Their ids.
        rank: How well they match, the better the higher.
    """

    books: AnySelect
    book_id: ColumnElement[UUID]
    rank: ColumnElement[float]


def values_of(query: TextQuery, engine: str) -> dict[str, str | int]:
    """The values of the parameters of what this module selects for the query."""
    strict, looser = query.terms, query.looser
    parts = {
        "strict": strict,
        "strict_first": strict[:1],
        "strict_rest": strict[1:],
        "looser": looser,
        "looser_first": looser[:1],
        "looser_rest": looser[1:],
    }
    texts = {name: _render(terms, engine) for name, terms in parts.items()}
    return {**texts, "most_candidates": CANDIDATES + 1}


def ranked(query: TextQuery, engine: str, conditions: tuple[Condition, ...]) -> Ranked:
    """The books that match and meet the conditions; to be executed with `values_of` the query."""
    return _ranked(_matches(query, engine, is_filtered=bool(conditions)), conditions)


@lru_cache(MOST_KEPT)
def _ranked(matches: TextualSelect, conditions: tuple[Condition, ...]) -> Ranked:
    """The same objects for all searches of a kind, so that how they are compiled is known."""
    candidates = _candidates(matches, conditions)
    found = select(candidates, func.count().over().label("total")).subquery("ranked").c
    return Ranked(select(found.book_id.label("id"), found.total), found.book_id, found.rank)


def counted(query: TextQuery, engine: str, conditions: Sequence[Condition]) -> AnySelect:
    """How many books match and meet the conditions, up to 10,001, and whether only loosely.

    It is to be executed with `values_of` the query.
    """
    candidates = _candidates(_matches(query, engine, is_filtered=bool(conditions)), conditions)
    is_looser = func.coalesce(func.max(candidates.c.looser), 0)
    return select(func.count().label("total"), is_looser.label("is_looser")).select_from(candidates)


def holding(engine: str) -> AnySelect:
    """The ids of the books that have all terms, as `book_id`; for books in another order.

    It is to be executed with `values_held`. The words stand in the statement itself, so that it is
    planned for how frequent they are.
    """
    words: ColumnElement[str] = bindparam("held", type_=Text, literal_execute=True)
    book_ids: AnySelect = select(BookText.book_id)
    if engine == "postgresql":
        simple: ColumnElement[Any] = literal_column("'simple'::regconfig")
        return book_ids.where(literal_column("document").op("@@")(func.to_tsquery(simple, words)))
    book_search = table("book_search", column("rowid"))
    matches = literal_column("book_search").op("MATCH")(words)
    return book_ids.join(book_search, book_search.c.rowid == BookText.id).where(matches)


def values_held(terms: Iterable[Term], engine: str) -> dict[str, str]:
    """The value of the parameter of `holding`, for these terms."""
    return {"held": _render(terms, engine)}


def _candidates(found: TextualSelect, conditions: Sequence[Condition]) -> FromClause:
    # Materialized, it is planned as if all matches were wanted, which is right for rare words,
    # and yet read no further than the limit, which is right for frequent ones.
    matches = found.cte("matches").prefix_with("MATERIALIZED")
    candidates = select(matches)
    if conditions:
        candidates = candidates.join(Book, Book.id == matches.c.book_id).where(*conditions)
    most = bindparam("most_candidates", type_=Integer)
    return candidates.limit(most).subquery("candidates")


def _matches(query: TextQuery, engine: str, *, is_filtered: bool) -> TextualSelect:
    if not query:
        return _NOTHING
    if engine == "sqlite" or is_filtered or not _can_be_split(query.terms):
        return _SQL[engine]
    return _POSTGRESQL_SPLIT


def _can_be_split(terms: Sequence[Term]) -> bool:
    """Whether there are two parts, each with a word that PostgreSQL takes for one.

    In some locales it passes over letters that it does not know; a part of nothing else would
    find nothing, where the whole query does without them.
    """
    return len(terms) > 1 and all(term.word.isascii() for term in terms)


def _render(terms: Iterable[Term], engine: str) -> str:
    if engine == "postgresql":
        return " & ".join(term.postgresql() for term in terms)
    return " AND ".join(term.sqlite() for term in terms)


def _sql(statement: str) -> TextualSelect:
    return text(statement).columns(
        BookText.book_id, column("rank", Double), column("looser", Integer)
    )


_NOTHING = _sql("SELECT book_id, 0.0 AS rank, 0 AS looser FROM book_texts WHERE false")

# The looser query runs only where the strict one found nothing. Weights are those of D to A; 1
# divides the rank by the logarithm of the document's length, so that a short title counts for more.
_RANKED_MATCHES = """
    WITH whole AS MATERIALIZED (
        SELECT book_id, ts_rank('{{0.1, 0.2, 0.4, 1.0}}', document, query, 1) AS rank
        FROM book_texts, to_tsquery('simple', :strict) AS query
        WHERE {strict}
    )
    SELECT book_id, rank, 0 AS looser FROM whole
    UNION ALL
    SELECT book_id, ts_rank('{{0.1, 0.2, 0.4, 1.0}}', document, query, 1), 1
    FROM book_texts, to_tsquery('simple', :looser) AS query
    WHERE {looser} AND NOT EXISTS (SELECT FROM whole)
"""
_SPLIT = """
    document @@ to_tsquery('simple', :{0}_first) AND document @@ to_tsquery('simple', :{0}_rest)
"""

_POSTGRESQL = _sql(_RANKED_MATCHES.format(strict="document @@ query", looser="document @@ query"))
# The same in two conditions, for searches without filters. Of one unknown condition PostgreSQL
# expects so much that, among a million books, it plans the statement anew for each search, which
# takes it as long as most searches. Of two it expects little, and keeps the plan. With filters
# the plan depends on how frequent the words are.
_POSTGRESQL_SPLIT = _sql(
    _RANKED_MATCHES.format(strict=_SPLIT.format("strict"), looser=_SPLIT.format("looser"))
)

# bm25() takes a weight for each column, and is the better the lower it is.
_SQLITE = _sql("""
    WITH whole AS MATERIALIZED (
        SELECT book_id, -bm25(book_search, 10, 4, 2, 1, 1) AS rank
        FROM book_search JOIN book_texts ON book_texts.id = book_search.rowid
        WHERE book_search MATCH :strict
    )
    SELECT book_id, rank, 0 AS looser FROM whole
    UNION ALL
    SELECT book_id, -bm25(book_search, 10, 4, 2, 1, 1), 1
    FROM book_search JOIN book_texts ON book_texts.id = book_search.rowid
    WHERE book_search MATCH :looser AND NOT EXISTS (SELECT 1 FROM whole)
""")

_SQL = {"postgresql": _POSTGRESQL, "sqlite": _SQLITE}


def text_row(
    title: str,
    subtitle: str | None,
    people: Iterable[str],
    subjects: Iterable[str],
    rest: Iterable[str | None],
    variants: Iterable[str] = (),
) -> dict[str, str]:
    """The columns of `book_texts` but for its keys, for a book with these facts.

    `rest` is whatever else the book is found by; `variants` are titles and names in other scripts.
    """
    return {
        "title": fold_for_search(f"{title} {subtitle or ''}"),
        "people": fold_for_search(" ".join(people)),
        "subjects": fold_for_search(" ".join(subjects)),
        "rest": fold_for_search(" ".join(filter(None, rest))),
        "variants": fold_for_search(" ".join(variants)),
    }


def index_books(session: Session, book_ids: Sequence[UUID]) -> None:
    """Write anew what these books are found by, after anything that it is made of has changed."""
    engine = engine_of(session)
    for start in range(0, len(book_ids), _INDEXED_AT_ONCE):
        some = book_ids[start : start + _INDEXED_AT_ONCE]
        books = session.execute(shown_books(engine).where(Book.id.in_(some))).all()
        if books:
            session.execute(_upsert(engine), [{"book_id": b.id, **_row(b)} for b in books])


def _row(book: Row[*tuple[Any, ...]]) -> dict[str, str]:
    return text_row(
        book.title,
        book.subtitle,
        [author["name"] for author in book.authors or ()],
        [subject["name"] for subject in book.subjects or ()],
        [book.publisher, book.edition, *(book.isbns or ()), book.summary],
    )


@cache
def _upsert(engine: str) -> Executable:
    insert = postgresql.insert if engine == "postgresql" else sqlite.insert
    statement = insert(BookText)
    made = ("title", "people", "subjects", "rest")
    return statement.on_conflict_do_update(
        index_elements=[BookText.book_id],
        # Variants are known to imports alone, and stay.
        set_={name: statement.excluded[name] for name in made},
    )
