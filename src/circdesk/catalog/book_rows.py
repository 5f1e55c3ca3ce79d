"""Books as they are read: one query shows each of them whole, its lists made by the database."""

from functools import cache
from typing import Any

from sqlalchemy import JSON, ColumnElement, FromClause, Integer, Row, literal_column, select

from circdesk.catalog.models import Book
from circdesk.db.direct import AnySelect

# Here is all that the engines write differently: how JSON is made, and an id within it.
_JSON_LIST = {"postgresql": "json_agg", "sqlite": "json_group_array"}
_JSON_OBJECT = {"postgresql": "json_build_object", "sqlite": "json_object"}
_ID = {
    "postgresql": "id",
    "sqlite": "substr(id, 1, 8) || '-' || substr(id, 9, 4) || '-' || substr(id, 13, 4) || '-'"
    " || substr(id, 17, 4) || '-' || substr(id, 21)",
}

_ISBNS = """(
    SELECT {json_list}(isbn) FROM (
        SELECT isbn FROM book_isbns WHERE book_id = books.id ORDER BY position
    ) AS isbns
)"""
_NAMES = """(
    SELECT {json_list}({json_object}('id', {id}, 'name', name)) FROM (
        SELECT {names}.id, {names}.name
        FROM book_{names} JOIN {names} ON {names}.id = book_{names}.{name}_id
        WHERE book_id = books.id ORDER BY position
    ) AS names
)"""
_COPIES = "(SELECT count(*) FROM copies WHERE book_id = books.id{condition})"


@cache
def shown_books(engine: str) -> AnySelect:
    """Select what `present` shows of books, one row for each, and its version."""
    shown: AnySelect = select(
        Book.id,
        Book.title,
        Book.subtitle,
        _list(engine, "authors", _NAMES, names="authors", name="author"),
        _list(engine, "isbns", _ISBNS),
        Book.publisher,
        Book.year,
        Book.language,
        _list(engine, "subjects", _NAMES, names="subjects", name="subject"),
        Book.summary,
        Book.material_type,
        Book.edition,
        _copies("copies_total", ""),
        _copies("copies_available", " AND status = 'available' AND loanable"),
        Book.created_at,
        Book.updated_at,
        Book.version,
    )
    return shown


def show_books(engine: str, part: FromClause) -> AnySelect:
    """Select what `present` shows of the books whose ids a part of a list has."""
    return shown_books(engine).join(part, part.c.id == Book.id)


def present(book: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    """A book as the contract shows it."""
    # PostgreSQL aggregates nothing to null.
    return {
        "id": book.id,
        "title": book.title,
        "subtitle": book.subtitle,
        "authors": book.authors or [],
        "isbns": book.isbns or [],
        "publisher": book.publisher,
        "year": book.year,
        "language": book.language,
        "subjects": book.subjects or [],
        "summary": book.summary,
        "material_type": book.material_type,
        "edition": book.edition,
        "copies_total": book.copies_total,
        "copies_available": book.copies_available,
        "created_at": book.created_at,
        "updated_at": book.updated_at,
    }


def _list(engine: str, label: str, sql: str, **names: str) -> ColumnElement[Any]:
    parts = {"json_list": _JSON_LIST[engine], "json_object": _JSON_OBJECT[engine]}
    return literal_column(sql.format(**parts, id=_ID[engine], **names), JSON).label(label)


def _copies(label: str, condition: str) -> ColumnElement[int]:
    return literal_column(_COPIES.format(condition=condition), Integer).label(label)
