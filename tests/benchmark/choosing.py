"""What is asked of a library of made-up books: which of them, which pages, which words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

import psycopg
from lent_books import users  # type: ignore[import-not-found]  # It lies beside this file.
from search import two_words  # type: ignore[import-not-found]

# As many different requests of each kind; a cache has something to keep, and not everything.
PATHS = 50
# Copies that are lent in turn, none of a book that is read by its id.
COPIES = 400
# Most searches find few books; those that find thousands are a matter of the database alone.
_MOST_FOUND = 100

# Authors with somewhat more books than a page has, so that there is a total to be counted, and as
# many for all of them.
_AUTHORS = """
    SELECT author_id FROM book_authors JOIN books ON books.id = book_id
    WHERE sort_year >= 1930 AND EXISTS (
      SELECT FROM copies WHERE copies.book_id = books.id AND status = 'available' AND loanable)
    GROUP BY author_id ORDER BY abs(count(*) - 30), author_id LIMIT %s
"""
_BOOKS = "SELECT id, sort_title FROM books ORDER BY md5(id::text), id"
_FOUND = "SELECT count(*) FROM book_texts WHERE document @@ plainto_tsquery('simple', %s)"
_COPIES = """
    SELECT id FROM copies WHERE status = 'available' AND loanable AND book_id <> ALL(%s)
    ORDER BY md5(id::text) LIMIT %s
"""


@dataclass(frozen=True)
class Asked:
    """The paths of each reading operation, and copies with who borrows them."""

    book: Sequence[str]
    page: Sequence[str]
    search: Sequence[str]
    borrowers: Mapping[UUID, UUID]


def choose(connection: psycopg.Connection[Any]) -> Asked:
    """The same for the same library, each time."""
    authors = connection.execute(_AUTHORS, [PATHS]).fetchall()
    books = connection.execute(_BOOKS).fetchmany(20 * PATHS)
    read = [book for book, _ in books[:PATHS]]
    copies = connection.execute(_COPIES, [read, COPIES]).fetchall()
    page = "/api/books?author={}&available=true&year_from=1930&sort=-year&per_page=20"
    return Asked(
        book=[f"/api/books/{book}" for book in read],
        page=[page.format(author) for (author,) in authors],
        search=[f"/api/books?q={words}" for words in _searches(connection, [t for _, t in books])],
        borrowers={copy: user for (copy,), user in zip(copies, users(), strict=False)},
    )


def _searches(connection: psycopg.Connection[Any], titles: Sequence[str]) -> Sequence[str]:
    searches = []
    for words in _pairs(titles):
        (found,) = connection.execute(_FOUND, [" ".join(words)]).fetchone() or (0,)
        if 0 < found <= _MOST_FOUND:
            searches.append("+".join(words))
        if len(searches) == PATHS:
            break
    return searches


def _pairs(titles: Sequence[str]) -> Iterator[list[str]]:
    """Two words of a title, again and again."""
    rng = Random(7)
    while True:
        yield two_words(rng, titles)
