"""Books as they are answered, made of the rows that our statements find."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

_FIELDS = (
    "id", "title", "subtitle", "authors", "isbns", "publisher", "year", "language", "subjects",
    "summary", "material_type", "edition", "copies_total", "copies_available", "created_at",
    "updated_at",
)  # fmt: skip
_LISTS = ("authors", "isbns", "subjects")


def present(row: Row) -> dict[str, Any]:
    """A book; PostgreSQL aggregates nothing to null."""
    book = {name: row[name] for name in _FIELDS}
    for name in _LISTS:
        if book[name] is None:
            book[name] = []
    return book


def present_page(rows: Sequence[Row], total: int | None, query: Row) -> dict[str, Any]:
    """A page of a list, of which one more row was asked for than fits.

    `total` is None where the rows tell it, each of them or by being all there are.
    """
    shown = rows[: query["per_page"]]
    if total is None:
        skipped = (query["page"] - 1) * query["per_page"]
        total = rows[0]["total"] if rows and "total" in rows[0] else skipped + len(rows)
    items = [present(row) for row in shown]
    return {"items": items, "page": query["page"], "per_page": query["per_page"], "total": total}


def is_last(rows: Sequence[Row], query: Row) -> bool:
    """Whether no more rows follow, so that the total need not be asked for."""
    return len(rows) <= query["per_page"]


def tag_of(shown: Iterable[Any]) -> str:
    """A strong entity tag of what is shown, for frameworks that make none themselves."""
    return f'"{hashlib.blake2b(repr([*shown]).encode(), digest_size=8).hexdigest()}"'
