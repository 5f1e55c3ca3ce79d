"""Books of made-up words, any number of them, put into PostgreSQL as fast as it takes them.

The same number of books is always the same books. Their titles have two to eight words out of a
vocabulary of 100,000, drawn by Zipf's law with the short words in front, as in a language: the
most frequent word stands in about one title of three, most words in hardly any.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any
from uuid import UUID

import psycopg
from stdnum import ean

VOCABULARY = 100_000
LANGUAGES = ("eng", "eng", "eng", "eng", "ger", "ger", "fre", "spa", "rus", "ice")
MATERIALS = ("book",) * 8 + ("ebook", "map")
BATCH = 50_000

_ONSETS = ("b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "st", "tr")
_NUCLEI = ("a", "e", "i", "o", "u", "an", "el", "or", "un", "is")
_BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)

TABLES = {
    "authors": ("id", "name", "sort_name", "created_at", "updated_at"),
    "subjects": ("id", "name", "sort_name", "created_at", "updated_at"),
    "branches": (
        "id", "code", "name", "sort_name", "time_zone", "opening_hours", "closed_days",
        "created_at", "updated_at",
    ),
    "books": (
        "id", "title", "sort_title", "sort_year", "publisher", "year", "language",
        "material_type", "edited_fields", "created_at", "updated_at",
    ),
    "book_isbns": ("book_id", "isbn", "position"),
    "book_authors": ("book_id", "author_id", "position"),
    "book_subjects": ("book_id", "subject_id", "position"),
    "book_texts": ("book_id", "title", "people", "subjects", "rest", "variants"),
    "copies": (
        "id", "book_id", "branch_id", "barcode", "status", "material_type", "loanable",
        "created_at", "updated_at",
    ),
}  # fmt: skip

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]


@dataclass(slots=True)
class Library:
    """A made-up library of `size` books; `titles` remembers a sample for queries."""

    size: int
    titles: list[str] = field(default_factory=list)
    _random: Random = field(default_factory=lambda: Random(2026))

    def rows(self) -> Iterator[Rows]:
        """All rows, in batches that keep to the order of foreign keys."""
        words = made_up_words(self._random)
        weights = [*accumulate(1 / rank for rank in range(1, VOCABULARY + 1))]
        names = [" ".join(pair) for pair in zip(words[1000:], words[2000:], strict=False)]
        authors = names[: max(10, self.size // 4)]
        subjects = names[-max(10, min(2000, self.size // 100)) :]
        yield {
            "authors": [self._named(1, *entry) for entry in enumerate(authors)],
            "subjects": [self._named(2, *entry) for entry in enumerate(subjects)],
            "branches": [_branch(number) for number in range(5)],
        }
        for start in range(0, self.size, BATCH):
            rows: Rows = {table: [] for table in TABLES}
            for number in range(start, min(start + BATCH, self.size)):
                chosen = self._random.choices(
                    words, cum_weights=weights, k=self._random.randint(2, 8)
                )
                self._add_book(rows, number, " ".join(chosen), authors, subjects)
            yield rows

    def _named(self, kind: int, number: int, name: str) -> Row:
        return (made_up_id(kind, number), name.title(), name, _BEGINNING, _BEGINNING)

    def _add_book(
        self, rows: Rows, number: int, title: str, authors: Sequence[str], subjects: Sequence[str]
    ) -> None:
        book, moment = made_up_id(4, number), _BEGINNING + timedelta(seconds=number)
        year, draw = self._random.randint(1900, 2026), self._random.randrange
        # The square makes some authors and subjects far more frequent than others.
        author = int(len(authors) * self._random.random() ** 2)
        subject = int(len(subjects) * self._random.random() ** 3)
        digits = f"978{number:09}"
        isbn = digits + ean.calc_check_digit(digits)
        rows["books"].append(
            (book, title.capitalize(), title, year, "Bench Press", year,
             LANGUAGES[draw(10)], MATERIALS[draw(10)], "[]", moment, moment)
        )  # fmt: skip
        rows["book_isbns"].append((book, isbn, 0))
        rows["book_authors"].append((book, made_up_id(1, author), 0))
        rows["book_subjects"].append((book, made_up_id(2, subject), 0))
        rest = f"bench press {isbn}"
        rows["book_texts"].append((book, title, authors[author], subjects[subject], rest, ""))
        status = "available" if draw(4) else "withdrawn"
        rows["copies"].append(
            (made_up_id(5, number), book, made_up_id(3, draw(5)), f"B{number}", status, "book",
             True, moment, moment)
        )  # fmt: skip
        if number % max(1, self.size // 10_000) == 0:
            self.titles.append(title)


def made_up_words(random: Random) -> list[str]:
    """The vocabulary, the most frequent words first: roughly, the short ones."""
    words: dict[str, None] = {}
    while len(words) < VOCABULARY:
        syllables = random.choice((2, 2, 3, 3, 3, 4))
        words[
            "".join(random.choice(_ONSETS) + random.choice(_NUCLEI) for _ in range(syllables))
        ] = None
    return sorted(words, key=lambda word: len(word) + random.random() * 6)


def fill(connection: psycopg.Connection[Any], library: Library) -> None:
    """Put the library into an empty, migrated database, and let PostgreSQL take stock of it."""
    connection.execute("SET statement_timeout = 0")
    (index,) = connection.execute(
        "SELECT indexdef FROM pg_indexes WHERE indexname = 'ix_book_texts_document'"
    ).fetchone() or ("",)
    connection.execute("DROP INDEX ix_book_texts_document")
    for batch in library.rows():
        for table, rows in batch.items():
            _copy(connection, table, rows)
    connection.execute("SET maintenance_work_mem = '1GB'")
    connection.execute(index)
    connection.commit()
    connection.autocommit = True
    connection.execute("VACUUM (ANALYZE)")


def _copy(connection: psycopg.Connection[Any], table: str, rows: Iterable[Row]) -> None:
    statement = f"COPY {table} ({', '.join(TABLES[table])}) FROM STDIN"
    with connection.cursor().copy(statement.encode()) as copy:
        for row in rows:
            copy.write_row(row)


def _branch(number: int) -> Row:
    name = f"branch {number}"
    moments = (_BEGINNING, _BEGINNING)
    return (made_up_id(3, number), f"b{number}", name, name, "Europe/Berlin", "{}", "[]", *moments)


def made_up_id(kind: int, number: int) -> UUID:
    """An id in the form of a UUIDv7 that grows with the number."""
    return UUID(int=(0x019B << 112) | (number << 80) | (7 << 76) | (2 << 62) | kind)
