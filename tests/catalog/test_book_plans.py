"""How SQLite, which has no statistics, finds the copies of the books that it lists."""

from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from circdesk.catalog.book_filters import BookFilters, BookQuery
from circdesk.catalog.book_lists import list_books

NO_FILTERS: BookFilters = {
    "q": None, "title": None, "author": None, "subject": None, "isbn": None, "language": None,
    "year_from": None, "year_to": None, "material_type": None, "branch": None, "available": None,
}  # fmt: skip
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True, scope="session")


def ways_to_copies(session: Session, **asked: Any) -> list[str]:
    """The steps of SQLite's plans for a list of books that look for copies."""
    query: BookQuery = {"page": 1, "per_page": 20, "cursor": None, "sort": "title", **NO_FILTERS}
    statements: list[tuple[str, Any]] = []

    def listen(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(session.get_bind(), "before_cursor_execute", listen)
    list_books(session, query | asked)  # type: ignore[arg-type]
    event.remove(session.get_bind(), "before_cursor_execute", listen)
    connection = session.connection()
    plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p) for s, p in statements]
    return [step.detail for plan in plans for step in plan if "copies" in step.detail]


@on_sqlite
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"available": True},
        {"available": False},
        {"branch": "code:central"},
        {"available": True, "branch": "code:central"},
    ],
    ids=str,
)
def test_copies_are_found_by_their_book_and_never_by_their_status_alone(
    session: Session, asked: dict[str, Any]
) -> None:
    steps = ways_to_copies(session, **asked)
    assert steps
    assert [step for step in steps if "(book_id=?" not in step] == []
