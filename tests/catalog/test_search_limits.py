"""On SQLite a search for a frequent word reads no more of the catalogue than one for a rarer word.

What is counted is the steps of SQLite's virtual machine, which no other load changes.
"""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session
from uuid_utils.compat import uuid7

from circdesk.catalog.book_filters import BookFilters, BookQuery
from circdesk.catalog.book_lists import list_books
from circdesk.catalog.facets import count_facets
from circdesk.catalog.models import Book, BookText
from circdesk.catalog.search import text_row

FEW, MANY, CANDIDATES = 40, 800, 20
# The books that are shown differ, and with them how many steps the indexes take to find them.
NOISE = 1.1

pytestmark = [
    pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session"),
    pytest.mark.usefixtures("few_candidates", "own_connection"),
]


@pytest.fixture
def few_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("circdesk.catalog.search.CANDIDATES", CANDIDATES)


@pytest.fixture
def own_connection(session: Session) -> None:
    """The count takes the place of the engine's deadline, so no other test has the connection."""
    session.connection().detach()


def add(session: Session, count: int, title: str) -> None:
    ids = [uuid7() for _ in range(count)]
    book = {"title": title, "sort_title": title, "sort_year": 1969, "language": "eng"}
    session.execute(insert(Book), [{"id": each, "material_type": "book", **book} for each in ids])
    texts = text_row(title, None, (), (), ())
    session.execute(insert(BookText), [{"book_id": each, **texts} for each in ids])


def steps(session: Session, deed: Callable[[], object]) -> int:
    """How many steps SQLite takes for it."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1

    driver: Any = session.connection().connection.dbapi_connection
    deed()  # Whatever is read once for each connection has been read.
    driver.set_progress_handler(step, 1)
    deed()
    driver.set_progress_handler(None, 0)
    return count


def of_list(session: Session, q: str, **asked: Any) -> int:
    query: Any = dict.fromkeys(BookQuery.__annotations__)
    query |= {"page": 1, "per_page": 5, "q": q} | asked
    return steps(session, lambda: list_books(session, query))


def of_facets(session: Session, q: str) -> int:
    filters: Any = dict.fromkeys(BookFilters.__annotations__)
    return steps(session, lambda: count_facets(session, filters | {"q": q}))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"sort": "-relevance"},
        {"page": 2},
        {"language": "eng"},
        {"language": "eng", "year_from": 1950},
        {"q": "{} book"},
        {"q": "{}*"},
        {"q": "{:.5}"},
    ],
    ids=str,
)
def test_no_more_is_read_than_may_be_ranked(session: Session, asked: dict[str, Any]) -> None:
    add(session, FEW, "autumn book")
    add(session, MANY, "winter book")
    few, many = (
        of_list(session, **{"q": "{}"} | asked | {"q": asked.get("q", "{}").format(word)})
        for word in ("autumn", "winter")
    )
    assert many <= few * NOISE


def test_no_more_is_read_than_facets_are_counted_of(session: Session) -> None:
    add(session, FEW, "autumn book")
    add(session, MANY, "winter book")
    assert of_facets(session, "winter") <= of_facets(session, "autumn") * NOISE


def test_beginnings_are_not_read_where_whole_words_are_found(session: Session) -> None:
    add(session, 5, "autumn")
    add(session, 5, "winter")
    add(session, MANY, "wintergreen")
    assert of_list(session, "winter") <= of_list(session, "autumn") * NOISE


def test_in_another_order_nothing_but_numbers_is_read_of_what_matches(session: Session) -> None:
    add(session, FEW, "autumn book")
    add(session, MANY, "winter book")
    few, many = (of_list(session, q, sort="title") for q in ("autumn", "winter"))
    # A number takes some five steps to be gathered; a row that is looked up and sorted, fifty.
    assert many - few < 10 * (MANY - FEW)
