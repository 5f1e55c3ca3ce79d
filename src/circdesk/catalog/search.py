"""Full-text search of books: the one seam between what people type and the two engines.

Everything searched is folded, so both engines only ever see letters, digits and blanks; each word
is quoted besides, so nothing that is typed can be an operator or a fault.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Executable,
    FromClause,
    Row,
    Text,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from circdesk.catalog.book_rows import shown_books
from circdesk.catalog.matches import BOOK_SEARCH, Condition, candidates, matches_on_sqlite
from circdesk.catalog.models import Book, BookText
from circdesk.catalog.text_queries import Term, TextQuery
from circdesk.db.direct import AnySelect
from circdesk.db.rows import MOST_KEPT, engine_of
from circdesk.db.text import fold_for_search

# A relevance is worked out for so many books; the order of the others cannot matter to anybody.
CANDIDATES = 10_000

_INDEXED_AT_ONCE = 500

_CONJUNCTIONS = {"postgresql": " & ", "sqlite": " AND "}

_WORDS: BindParameter[str] = bindparam("held", type_=Text, literal_execute=True)


class Ranked(NamedTuple):
    """The books that match: the first 10,001 of them.

    Attributes:
        books: Selects them: `id` and `total`, which is how many they are, the same in each row.
        book_id: Their ids.
        order: By how well they match, the best first.
    """

    books: AnySelect
    book_id: ColumnElement[UUID]
    order: ColumnElement[float]


def values_of(query: TextQuery, engine: str) -> dict[str, str | int]:
    """The values of the parameters of what this module selects for the query."""
    strict, looser = _rendered(query.terms, engine), _rendered(query.looser, engine)
    conjunction = _CONJUNCTIONS[engine]
    return {
        "strict": conjunction.join(strict),
        "strict_first": conjunction.join(strict[:1]),
        "strict_rest": conjunction.join(strict[1:]),
        "looser": conjunction.join(looser),
        "looser_first": conjunction.join(looser[:1]),
        "looser_rest": conjunction.join(looser[1:]),
        "most_candidates": CANDIDATES + 1,
    }


def ranked(query: TextQuery, engine: str, conditions: tuple[Condition, ...]) -> Ranked:
    """The books that match and meet the conditions; to be executed with `values_of` the query."""
    return _ranked(candidates(query, engine, conditions))


@lru_cache(MOST_KEPT)
def _ranked(first: FromClause) -> Ranked:
    """The same objects for all searches of a kind, as the candidates are."""
    found = select(first, func.count().over().label("total")).subquery("ranked").c
    return Ranked(select(found.book_id.label("id"), found.total), found.book_id, found.rank.desc())


def counted(query: TextQuery, engine: str, conditions: tuple[Condition, ...]) -> AnySelect:
    """How many books match and meet the conditions, up to 10,001, and whether only loosely.

    It is to be executed with `values_of` the query.
    """
    return _counted(candidates(query, engine, conditions))


@lru_cache(MOST_KEPT)
def _counted(found: FromClause) -> AnySelect:
    is_looser = func.coalesce(func.max(found.c.looser), 0)
    return select(func.count().label("total"), is_looser.label("is_looser")).select_from(found)


def holding(engine: str) -> AnySelect:
    """The ids of the books that have all terms, as `book_id`; for books in another order.

    It is to be executed with `values_held`. The words stand in the statement itself, so that it is
    planned for how frequent they are.
    """
    book_ids: AnySelect = select(BookText.book_id)
    if engine == "postgresql":
        simple: ColumnElement[Any] = literal_column("'simple'::regconfig")
        return book_ids.where(literal_column("document").op("@@")(func.to_tsquery(simple, _WORDS)))
    book_ids = book_ids.join(BOOK_SEARCH, BOOK_SEARCH.c.rowid == BookText.id)
    return book_ids.where(matches_on_sqlite(_WORDS))


def holds(engine: str) -> Condition:
    """Whether a book has all terms; for a walk through books in an order, of which many have them.

    SQLite, which cannot know that they are many, is left no other way: it gathers the numbers of
    all that match, and reads nothing else of them.
    """
    if engine == "postgresql":
        return Book.id.in_(holding(engine))
    number = select(BookText.id).where(BookText.book_id == Book.id).scalar_subquery()
    matches = matches_on_sqlite(_WORDS)
    return number.in_(select(BOOK_SEARCH.c.rowid).where(matches))


def values_held(terms: Iterable[Term], engine: str) -> dict[str, str]:
    """The value of the parameter of `holding` and of `holds`, for these terms."""
    return {"held": _CONJUNCTIONS[engine].join(_rendered(terms, engine))}


def _rendered(terms: Iterable[Term], engine: str) -> list[str]:
    return [term.postgresql() if engine == "postgresql" else term.sqlite() for term in terms]


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
