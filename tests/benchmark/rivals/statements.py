"""The statements that Circdesk sends for its reads, in psycopg's style.

From `circdesk.catalog.book_rows`, `book_lists` and `search`, as SQLAlchemy renders them.
"""

import re
from functools import cache
from typing import Any, NamedTuple

_SHOWN = """
    SELECT books.id, books.title, books.subtitle, (
        SELECT json_agg(json_build_object('id', id, 'name', name)) FROM (
            SELECT authors.id, authors.name
            FROM book_authors JOIN authors ON authors.id = book_authors.author_id
            WHERE book_id = books.id ORDER BY position
        ) AS names
    ) AS authors, (
        SELECT json_agg(isbn) FROM (
            SELECT isbn FROM book_isbns WHERE book_id = books.id ORDER BY position
        ) AS isbns
    ) AS isbns, books.publisher, books.year, books.language, (
        SELECT json_agg(json_build_object('id', id, 'name', name)) FROM (
            SELECT subjects.id, subjects.name
            FROM book_subjects JOIN subjects ON subjects.id = book_subjects.subject_id
            WHERE book_id = books.id ORDER BY position
        ) AS names
    ) AS subjects, books.summary, books.material_type, books.edition,
    (SELECT count(*) FROM copies WHERE book_id = books.id) AS copies_total,
    (SELECT count(*) FROM copies WHERE book_id = books.id AND status = 'available' AND loanable)
        AS copies_available,
    books.created_at, books.updated_at, books.version
"""
BOOK = f"{_SHOWN} FROM books WHERE books.id = %(book_id)s"

_SORTS = {
    "title": "books.sort_title, books.id",
    "-title": "books.sort_title DESC, books.id DESC",
    "year": "books.sort_year, books.id",
    "-year": "books.sort_year DESC, books.id DESC",
}
_FILTERS = {
    "author": "books.id IN (SELECT book_id FROM book_authors WHERE author_id = %(author)s)",
    "available": "EXISTS (SELECT FROM copies WHERE copies.book_id = books.id"
    " AND copies.status = 'available' AND copies.loanable)",
    "unavailable": "NOT EXISTS (SELECT FROM copies WHERE copies.book_id = books.id"
    " AND copies.status = 'available' AND copies.loanable)",
    "year_from": "books.sort_year >= %(year_from)s",
}
SEARCH = f"""
    WITH matches AS MATERIALIZED (
        WITH whole AS MATERIALIZED (
            SELECT book_id, ts_rank('{{0.1, 0.2, 0.4, 1.0}}', document, query, 1) AS rank
            FROM book_texts, to_tsquery('simple', %(strict)s) AS query
            WHERE document @@ to_tsquery('simple', %(strict_first)s)
              AND document @@ to_tsquery('simple', %(strict_rest)s)
        )
        SELECT book_id, rank, 0 AS looser FROM whole
        UNION ALL
        SELECT book_id, ts_rank('{{0.1, 0.2, 0.4, 1.0}}', document, query, 1), 1
        FROM book_texts, to_tsquery('simple', %(looser)s) AS query
        WHERE document @@ to_tsquery('simple', %(looser_first)s)
          AND document @@ to_tsquery('simple', %(looser_rest)s)
          AND NOT EXISTS (SELECT FROM whole)
    )
    {_SHOWN}, part.total
    FROM books JOIN (
        SELECT ranked.book_id AS id, ranked.total, ranked.rank FROM (
            SELECT candidates.book_id, candidates.rank, count(*) OVER () AS total
            FROM (SELECT matches.book_id, matches.rank FROM matches LIMIT 10001) AS candidates
        ) AS ranked ORDER BY ranked.rank DESC, ranked.book_id DESC
        LIMIT %(limit)s OFFSET %(skipped)s
    ) AS part ON part.id = books.id ORDER BY part.rank DESC, part.id DESC
"""


class List(NamedTuple):
    """A list that was asked for: the statement of its page, that of its total, and parameters."""

    page: str
    total: str | None
    values: dict[str, Any]


def listing(query: dict[str, Any]) -> List:
    """The statements of a list; one more row than fits tells whether there is another page."""
    place = {"limit": query["per_page"] + 1, "skipped": (query["page"] - 1) * query["per_page"]}
    if query["q"] is not None:
        return List(SEARCH, None, place | _terms(query["q"]))
    given = {name: query[name] for name in ("author", "year_from") if query[name] is not None}
    filters = {*given}
    if query["available"] is not None:
        filters.add("available" if query["available"] else "unavailable")
    page, total = _page(frozenset(filters), query["sort"] or "title")
    return List(page, total, place | given)


@cache
def _page(filters: frozenset[str], sort: str) -> tuple[str, str]:
    conditions = " AND ".join(_FILTERS[name] for name in sorted(filters)) or "true"
    found = f"SELECT books.id, sort_title, sort_year FROM books WHERE {conditions}"
    part = f"{found} ORDER BY {_SORTS[sort]} LIMIT %(limit)s OFFSET %(skipped)s"
    order = _SORTS[sort].replace("books.", "part.")
    return (
        f"{_SHOWN} FROM books JOIN ({part}) AS part ON part.id = books.id ORDER BY {order}",
        f"SELECT count(*) AS total FROM ({found} LIMIT 10001) AS found",
    )


def _terms(text: str) -> dict[str, str]:
    """All words, of which there must be two; where no book has them, the last as a beginning."""
    words = [f"'{word}'" for word in re.findall(r"\w+", text.lower())]
    looser = [*words[:-1], f"{words[-1]}:*"]
    return {
        f"{name}{part}": " & ".join(chosen)
        for name, terms in (("strict", words), ("looser", looser))
        for part, chosen in (("", terms), ("_first", terms[:1]), ("_rest", terms[1:]))
    }


class Numbered(NamedTuple):
    """A statement with `$1`, as asyncpg takes it, and the names of its parameters in order."""

    text: str
    names: tuple[str, ...]


@cache
def numbered(statement: str) -> Numbered:
    """A statement in psycopg's style as asyncpg takes it."""
    names = tuple(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${names.index(found[1]) + 1}", statement)
    return Numbered(text, names)
