"""The first 10,001 books that a search matches, with their relevance, as each engine finds them."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Integer,
    String,
    TextualSelect,
    bindparam,
    case,
    column,
    exists,
    literal_column,
    select,
    table,
    text,
    union_all,
)

from circdesk.catalog.models import Book, BookText
from circdesk.catalog.text_queries import Term, TextQuery
from circdesk.db.direct import AnySelect
from circdesk.db.rows import MOST_KEPT

Condition = ColumnElement[bool]

_MOST = bindparam("most_candidates", type_=Integer)

# FTS5 has a hidden column of the name of its table, by which it is searched.
BOOK_SEARCH = table("book_search", column("rowid", Integer), column("book_search", String))


def candidates(query: TextQuery, engine: str, conditions: tuple[Condition, ...]) -> FromClause:
    """The first books that match and meet the conditions: `book_id`, `rank` and `looser`.

    The rank is the higher the better; looser is 1 where no book matched the strict terms. It is to
    be executed with `values_of` the query. It is the same object for all searches of a kind, so
    that how they are compiled is known.
    """
    if not query:
        return _NOTHING
    if engine == "sqlite":
        return _of_sqlite(conditions) if conditions else _SQLITE
    if conditions:
        return _of_postgresql(_POSTGRESQL_WHOLE, conditions)
    return _POSTGRESQL_SPLIT if _can_be_split(query.terms) else _POSTGRESQL


def matches_on_sqlite(query: ColumnElement[str]) -> Condition:
    """Whether a row of `BOOK_SEARCH` matches what is written in the language of FTS5."""
    return BOOK_SEARCH.c.book_search.bool_op("MATCH")(query)


def _can_be_split(terms: Sequence[Term]) -> bool:
    """Whether there are two parts, each with a word that PostgreSQL takes for one.

    In some locales it passes over letters that it does not know; a part of nothing else would
    find nothing, where the whole query does without them.
    """
    return len(terms) > 1 and all(term.word.isascii() for term in terms)


@lru_cache(MOST_KEPT)
def _of_postgresql(found: TextualSelect, conditions: tuple[Condition, ...]) -> FromClause:
    # Materialized, it is planned as if all matches were wanted, which is right for rare words,
    # and yet read no further than the limit, which is right for frequent ones.
    matches = found.cte("matches").prefix_with("MATERIALIZED")
    chosen = select(matches)
    if conditions:
        chosen = chosen.join(Book, Book.id == matches.c.book_id).where(*conditions)
    return chosen.limit(_MOST).subquery("candidates")


@lru_cache(MOST_KEPT)
def _of_sqlite(conditions: tuple[Condition, ...]) -> FromClause:
    """Both queries end at the limit, as neither is gathered before it is applied.

    SQLite would read whatever is materialized to its end, and materializes what is referred to
    twice; so the question whether the strict query finds anything is written out. Asked in the
    second MATCH, it spares the looser query, which may be long, where its answer is yes: the
    empty phrase matches nothing.
    """
    strict, looser = bindparam("strict", type_=String), bindparam("looser", type_=String)
    whole = select(BOOK_SEARCH.c.rowid).where(matches_on_sqlite(strict)).correlate(None).exists()
    instead = case((whole, literal_column("'\"\"'")), else_=looser)
    arms = (_arm(strict, 0, conditions), _arm(instead, 1, conditions))
    return union_all(*arms).limit(_MOST).subquery("candidates")


def _arm(query: ColumnElement[str], looser: int, conditions: tuple[Condition, ...]) -> AnySelect:
    # The weights are those of the columns; bm25() is the better the lower it is.
    arm: AnySelect = (
        select(
            BookText.book_id,
            literal_column("-bm25(book_search, 10, 4, 2, 1, 1)", Double).label("rank"),
            literal_column(str(looser), Integer).label("looser"),
        )
        .join(BOOK_SEARCH, BOOK_SEARCH.c.rowid == BookText.id)
        .where(matches_on_sqlite(query))
    )
    # Not as a join, whose order SQLite might turn round, and search anew for each book.
    return (
        arm.where(exists().where(Book.id == BookText.book_id, *conditions)) if conditions else arm
    )


def _sql(statement: str) -> TextualSelect:
    return text(statement).columns(
        BookText.book_id, column("rank", Double), column("looser", Integer)
    )


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

_POSTGRESQL_WHOLE = _sql(
    _RANKED_MATCHES.format(strict="document @@ query", looser="document @@ query")
)
_POSTGRESQL = _of_postgresql(_POSTGRESQL_WHOLE, ())
# The same in two conditions, for searches without filters. Of one unknown condition PostgreSQL
# expects so much that, among a million books, it plans the statement anew for each search, which
# takes it as long as most searches. Of two it expects little, and keeps the plan. With filters
# the plan depends on how frequent the words are.
_POSTGRESQL_SPLIT = _of_postgresql(
    _sql(_RANKED_MATCHES.format(strict=_SPLIT.format("strict"), looser=_SPLIT.format("looser"))),
    (),
)
_SQLITE = _of_sqlite(())
_NOTHING = _sql("SELECT book_id, 0.0 AS rank, 0 AS looser FROM book_texts WHERE false").subquery(
    "candidates"
)
